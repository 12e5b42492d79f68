"""The process of one measurement: sets up Django as the environment says, calls the function, prints what it returns.

Its arguments are the function's dotted name and a JSON object of options.
"""

from __future__ import annotations

import json
import signal
import sys
from importlib import import_module

import django


def main(name: str, options: str) -> None:
    """Print the figures of the function ``name`` as JSON, on the last line."""
    end_when_asked()
    django.setup()
    module, _, function = name.rpartition(".")
    print(json.dumps(getattr(import_module(module), function)(**json.loads(options))))


def end_when_asked() -> None:
    """Let SIGTERM and Ctrl-C end this process and whatever it started."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)


def _stop(number: int, frame: object) -> None:
    # Once: a second signal must not break off the ending.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
