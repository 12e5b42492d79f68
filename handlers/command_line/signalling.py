"""``jobs signal``: answer a job that waits for a signal."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from handlers.command_line.answers import Exit, usage
from handlers.command_line.enqueueing import STDIN
from handlers.command_line.parsing import Subparsers, command, whole
from handlers.command_line.people import who
from handlers.command_line.screen import Screen
from handlers.gateway import job_scheduler


def add(subparsers: Subparsers) -> None:
    """The command of this module."""
    parser = command(subparsers, "signal", signal, "Give a job a signal: one that waits for it goes on.", acts=True)
    parser.add_argument("job", type=whole(1), metavar="JOB", help="its id")
    parser.add_argument("name", metavar="NAME", help="what it waits for, such as approval")
    parser.add_argument("--data", metavar="JSON", help=f"what is sent with it; {STDIN}: from standard input")


def signal(options: argparse.Namespace, screen: Screen) -> int:
    """Send it."""
    by, data = who(options.by), _data(options.data)
    done = job_scheduler.signal(options.job, options.name, data, by=by, reason=options.reason)
    if screen.as_json:
        screen.row({"id": options.job, "did": "signal", "done": done})
    elif done:
        screen.say(f"job {options.job} has got {options.name}")
    if not done:
        screen.warn(f"job {options.job} was not signalled: there is no such job")
    return Exit.DONE if done else Exit.NOT_ALL


def _data(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(sys.stdin.read() if text == STDIN else text)
    except (ValueError, RecursionError) as error:
        raise usage(f"--data: is no JSON: {error}") from None
