"""``jobs pause``, ``jobs resume`` and ``jobs stats``."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from handlers import bounded, fleet, queues
from handlers.command_line import times
from handlers.command_line.answers import Exit, usage
from handlers.command_line.parsing import Subparsers, command
from handlers.command_line.people import who
from handlers.command_line.screen import Screen, age, moment
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.limits import TookTooLong, time_limit
from handlers.models import QueueSwitch
from handlers.models.sql import database_now
from handlers.registry import registry
from handlers.states import State

CAP = 10_000  # jobs that are counted: more are "more"
SECONDS = 2.0


def add(subparsers: Subparsers) -> None:
    """The commands of this module."""
    pause = command(subparsers, "pause", run_pause, "Let no worker start jobs of a queue, or of a type.", acts=True)
    pause.add_argument("--until", type=times.ahead, metavar="TIME", help="when it goes on by itself: 2h, or a time")
    resume = command(subparsers, "resume", run_resume, "Let workers start them again.", acts=True)
    for parser in (pause, resume):
        parser.add_argument("queue", nargs="?", help="a queue")
        parser.add_argument("--type", dest="job_type", metavar="TYPE", help="a job type, in place of a queue")
    command(subparsers, "stats", run_stats, "Say what waits on which queue, how long, and who works.")


def run_pause(options: argparse.Namespace, screen: Screen) -> int:
    """Pause it."""
    what, name = _which(options)
    by, until = who(options.by), options.until
    act = job_scheduler.pause_queue if what == "queue" else job_scheduler.pause_type
    act(name, until, by=by, reason=options.reason)
    if screen.as_json:
        screen.row({"id": name, "did": f"pause_{what}", "done": True, "until": until})
    screen.say(f"paused {what} {name}{f' until {moment(until)} UTC' if until else ''}")
    return Exit.DONE


def run_resume(options: argparse.Namespace, screen: Screen) -> int:
    """Resume it."""
    what, name = _which(options)
    paused = job_scheduler.paused_queues() if what == "queue" else job_scheduler.paused_types()
    act = job_scheduler.resume_queue if what == "queue" else job_scheduler.resume_type
    act(name, by=who(options.by), reason=options.reason)
    if screen.as_json:
        screen.row({"id": name, "did": f"resume_{what}", "done": name in paused})
    screen.say(f"resumed {what} {name}" if name in paused else f"{what} {name} was not paused")
    return Exit.DONE if name in paused else Exit.NOT_ALL


def _which(options: argparse.Namespace) -> tuple[str, str]:
    if (options.queue is None) == (options.job_type is None):
        raise usage("name a queue, or a type with --type")
    return ("queue", options.queue) if options.queue is not None else ("type", _type_name(options.job_type))


def _type_name(name: str) -> str:
    """A type's name, also one that only stored jobs have: the switch tells whether it is known."""
    is_known = any(name in (known.name, *known.aliases) for known in registry.all())
    ends = [known for known in registry.all() if known.name.rpartition(".")[2].casefold() == name.casefold()]
    return name if is_known or len(ends) != 1 else ends[0].name


def run_stats(options: argparse.Namespace, screen: Screen) -> int:
    """Each queue, then the states and the workers."""
    now = database_now(connections[database()])
    paused = job_scheduler.paused_queues()
    try:
        with time_limit(SECONDS, database()):
            rows = _queues(paused, now)
            states = bounded.state_counts(_SHOWN, CAP)
    except TookTooLong:
        raise CommandError("the database took too long to count; nothing is known") from None
    live = fleet.live_processes()
    if screen.as_json:
        for row in rows:
            screen.row(row)
        return Exit.DONE
    screen.table(
        ("QUEUE", "WAITING", "OLDEST", "RUNNING", "STATE"),
        [(r["id"], _more(r["enqueued"]), age(r["oldest_at"], now), _more(r["processing"]), _state(r)) for r in rows],
    )
    told = [f"{_more(states[state])} {state}" for state in _SHOWN if state != bounded.RETRYING]
    screen.say(f"{', '.join(told)}, {_more(states[bounded.RETRYING])} of the scheduled ones retrying")
    kinds = [process.kind for process in live]
    screen.say(f"{kinds.count('worker')} worker processes, {kinds.count('scheduler')} schedulers")
    if trouble := job_scheduler.transport_trouble():
        screen.warn(f"queue server: {trouble}")
    return Exit.DONE


_SHOWN = (
    *(
        state.value
        for state in (State.AWAITING, State.SCHEDULED, State.ENQUEUED, State.PROCESSING, State.WAITING, State.FAILED)
    ),
    bounded.RETRYING,
)


def _queues(paused: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    """Each queue that is declared, paused, or has something to tell."""
    with connections[database()].cursor() as cursor:
        cursor.execute(bounded.by_queue(State.PROCESSING, CAP))
        running = {queue: number for _, queue, number in cursor.fetchall()}
    depths = bounded.depths({*queues.known_queues(), *paused, *running}, CAP)
    return [_queue(depth, running.get(depth.queue, 0), paused.get(depth.queue), now) for depth in sorted(depths)]


def _queue(depth: bounded.Depth, running: int, switch: QueueSwitch | None, now: datetime) -> dict[str, Any]:
    oldest = depth.since
    return {
        "id": depth.queue,
        "enqueued": depth.number,
        "oldest_at": oldest,
        "oldest_seconds": None if oldest is None else round(max((now - oldest).total_seconds(), 0.0), 3),
        "processing": running,
        "paused": switch is not None,
        "paused_until": switch.until if switch else None,
        "paused_by": switch.by if switch else "",
    }


def _more(count: int) -> str:
    return f"{CAP:,}+" if count > CAP else f"{count:,}"


def _state(row: dict[str, Any]) -> str:
    if not row["paused"]:
        return ""
    until = f" until {moment(row['paused_until'])} UTC" if row["paused_until"] else ""
    return f"paused by {row['paused_by'] or 'a program'}{until}"
