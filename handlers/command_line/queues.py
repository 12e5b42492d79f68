"""``jobs pause``, ``jobs resume`` and ``jobs stats``."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from handlers import fleet, queues, waiting
from handlers.command_line import times
from handlers.command_line.answers import Exit, usage
from handlers.command_line.parsing import Subparsers, command
from handlers.command_line.people import who
from handlers.command_line.screen import Screen, age, moment
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.limits import TookTooLong, time_limit
from handlers.models import JobRecord
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
    names = sorted(queues.known_queues() | set(waiting.queues()))
    rows = [_queue(name, paused, now) for name in names]
    states = {state: _count(JobRecord.objects.using(database()).filter(state=state)) for state in _SHOWN}
    retrying = _count(JobRecord.objects.using(database()).filter(state=State.SCHEDULED, failures__gt=0))
    live = fleet.live_processes()
    if screen.as_json:
        for row in rows:
            screen.row(row)
        return Exit.DONE
    screen.table(
        ("QUEUE", "WAITING", "OLDEST", "RUNNING", "STATE"),
        [(r["id"], _more(r["enqueued"]), age(r["oldest_at"], now), _more(r["processing"]), _state(r)) for r in rows],
    )
    told = [f"{_more(count)} {state}" for state, count in states.items()]
    screen.say(f"{', '.join(told)}, {_more(retrying)} of the scheduled ones retrying")
    kinds = [process.kind for process in live]
    screen.say(f"{kinds.count('worker')} worker processes, {kinds.count('scheduler')} schedulers")
    if trouble := job_scheduler.transport_trouble():
        screen.warn(f"queue server: {trouble}")
    return Exit.DONE


_SHOWN = (State.AWAITING, State.SCHEDULED, State.ENQUEUED, State.PROCESSING, State.FAILED)


def _queue(name: str, paused: dict[str, Any], now: datetime) -> dict[str, Any]:
    jobs = JobRecord.objects.using(database()).filter(queue=name)
    enqueued = jobs.filter(state=State.ENQUEUED)
    oldest = enqueued.order_by("enqueued_at", "pk").values_list("enqueued_at", flat=True).first()
    switch = paused.get(name)
    return {
        "id": name,
        "enqueued": _count(enqueued),
        "oldest_at": oldest,
        "oldest_seconds": None if oldest is None else round(max((now - oldest).total_seconds(), 0.0), 3),
        "processing": _count(jobs.filter(state=State.PROCESSING)),
        "paused": switch is not None,
        "paused_until": switch.until if switch else None,
        "paused_by": switch.by if switch else "",
    }


def _count(rows: QuerySet[JobRecord]) -> int | None:
    """How many, CAP + 1 standing for that many or more; None where counting takes too long."""
    try:
        with time_limit(SECONDS, database()):
            return rows.order_by().values("pk")[: CAP + 1].count()
    except TookTooLong:
        return None


def _more(count: int | None) -> str:
    return "?" if count is None else f"{CAP:,}+" if count > CAP else f"{count:,}"


def _state(row: dict[str, Any]) -> str:
    if not row["paused"]:
        return ""
    until = f" until {moment(row['paused_until'])} UTC" if row["paused_until"] else ""
    return f"paused by {row['paused_by'] or 'a program'}{until}"
