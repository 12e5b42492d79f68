"""The project's own site on this machine with one command: queue server, scheduler, worker and console."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import call_command

from handlers.one_machine.command import HOST, RunCommand
from jobsite.login import ADMIN, ensure_admin


class Command(RunCommand):
    """``manage.py run``; ``make run`` ends here. In place of the engine's command of that name."""

    help = "Migrate, then run the console, a worker, the scheduler and, where REDIS_URL is unset, a Valkey server."
    database_advice = "check DATABASE_URL"
    port_advice = "set PORT, as in PORT={port} make run"

    def set_up(self, options: dict[str, Any]) -> None:
        """All from the settings, which have it from the environment."""
        self.port, self.data, self.cwd = settings.PORT, settings.DATA, settings.BASE_DIR
        self.redis_url, self.starts_redis = settings.REDIS_URL, not os.environ.get("REDIS_URL")
        self.env = {name: value for name, value in os.environ.items() if name != "JOBSITE_ADMIN_PASSWORD"}
        self.env |= {"REDIS_URL": settings.REDIS_URL, "JOBSITE_DATA": str(settings.DATA)}

    def address(self) -> str:
        """Where the console is, below the site's path if it has one."""
        return f"{self._root()}/admin/"

    def prepare(self) -> Iterator[str]:
        """The admin's password, and static files for whitenoise."""
        password = ensure_admin(self.data)
        call_command("collectstatic", interactive=False, verbosity=0)
        if settings.DEMO:
            yield f"The demo shop is at http://{HOST}:{self.port}/shop/"
        yield f"Log in as {ADMIN}, password {password}"

    def web(self) -> list[str]:
        """A production web server on loopback. Threads, because pages wait for the database more than they compute."""
        options = ["--bind", f"{HOST}:{self.port}", "--workers", "2", "--threads", "4", "--graceful-timeout", "10"]
        # Its control socket would be one file in the home folder, shared by all runs of this user.
        quiet = ["--no-control-socket", "--log-level", "warning"]
        return [sys.executable, "-m", "gunicorn", *options, *quiet, "jobsite.wsgi"]

    def answers(self) -> bool:
        """Whether the web server does, over HTTP."""
        try:
            with urllib.request.urlopen(f"{self._root()}/healthz", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _root(self) -> str:
        return f"http://{HOST}:{self.port}{settings.FORCE_SCRIPT_NAME or ''}"
