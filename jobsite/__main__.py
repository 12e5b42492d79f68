"""Django's commands for this project: ``manage.py`` in a checkout, ``jobsite`` where the package is installed."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command that the arguments name. A wrong setting is one line, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobsite.settings")
    here = str(Path.cwd())
    if here not in sys.path:  # a script's path begins with its own folder, and JOBSITE_APPS may name a package here
        sys.path.insert(0, here)
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("error: Django is not installed for this Python: run 'make run' first, then use .venv/bin/python.")
    try:
        import axes  # noqa: F401 - of the extra that names what this site is made of
    except ImportError:
        sys.exit('error: this site needs more than a host site does: pip install "jobsite[site,embedded]".')
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
