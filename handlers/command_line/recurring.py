"""``jobs recurring ...``: jobs that recur."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from django.utils import timezone

from handlers import told
from handlers.command_line import times
from handlers.command_line.answers import Exit
from handlers.command_line.enqueueing import add_arguments_of_job, read_job
from handlers.command_line.parsing import Parser, Subparsers, command
from handlers.command_line.people import who
from handlers.command_line.screen import Screen, age, moment
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.masking import mask, mask_context
from handlers.models import Misfire, Overlap, RecurringJob


def add(subparsers: Subparsers) -> None:
    """The commands of this module."""
    summary = "Jobs that recur: list, add, remove, trigger, backfill, pause, resume."
    parser = subparsers.add_parser("recurring", help=summary, description=summary)
    own: Subparsers = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    command(own, "list", run_list, "List them, by name.")
    added = command(own, "add", run_add, "Add one, or change one of that name.", acts=True)
    added.add_argument("name")
    _add_rule(added)
    add_arguments_of_job(added)
    for verb, text in (
        ("remove", "Let one run no more. Jobs that it has enqueued stay."),
        ("trigger", "Run one once now."),
        ("pause", "Let no occurrence come."),
        ("resume", "Let occurrences come again, from now on."),
    ):
        switched = command(own, verb, partial(run_verb, verb), text, acts=True)
        switched.add_argument("name")
        if verb == "pause":
            switched.add_argument("--until", type=times.ahead, metavar="TIME", help="when it goes on by itself")
    text = "Run each time of a span that is past and that no job was made for."
    backfill = command(own, "backfill", run_backfill, text, acts=True, dry=True)
    backfill.add_argument("name")
    backfill.add_argument(
        "--start", type=times.ago, required=True, metavar="TIME", help="after this: 2d is two days ago"
    )
    backfill.add_argument("--end", type=times.ago, metavar="TIME", help="up to this (default: now)")


def _add_rule(parser: argparse.ArgumentParser) -> None:
    rule = parser.add_mutually_exclusive_group(required=True)
    rule.add_argument("--cron", metavar="LINE", help='five fields, or six with seconds first: "0 6 * * 1-5"')
    rule.add_argument("--every", type=times.length, metavar="TIME", help="90s, 2h")
    parser.add_argument("--timezone", default="UTC", metavar="ZONE", help="of the cron line (default: UTC)")
    parser.add_argument("--start", type=times.moment, metavar="TIME", help="not before that")
    parser.add_argument("--end", type=times.moment, metavar="TIME", help="not after that")
    parser.add_argument("--jitter", type=times.length, metavar="TIME", help="up to so much later, spread by name")
    parser.add_argument(
        "--misfire", default=Misfire.ONE.value, choices=Misfire.values, help="what nobody fired in time"
    )
    parser.add_argument(
        "--overlap", default=Overlap.ALLOW.value, choices=Overlap.values, help="while the last one runs"
    )
    parser.add_argument("--queue", help="default: the type's own")
    parser.add_argument("--pause-after", type=int, default=0, metavar="N", help="so many failed jobs in a row")


def run_list(options: argparse.Namespace, screen: Screen) -> int:
    """All of them."""
    rows, now = list(RecurringJob.objects.using(database()).order_by("name")), timezone.now()
    if screen.as_json:
        for row in rows:
            screen.row(_facts(row))
    elif not rows:
        screen.say("no job recurs")
    else:
        lines = [
            (row.name, row.job_type, _rule(row), age(row.next_at, now), age(row.last_at, now), _state(row))
            for row in rows
        ]
        screen.table(("NAME", "TYPE", "WHEN", "NEXT", "LAST", "STATE"), lines)
    return Exit.DONE


def run_add(options: argparse.Namespace, screen: Screen) -> int:
    """Add or change one."""
    _, job = read_job(options)
    names = (
        "timezone", "every", "misfire", "overlap", "jitter", "start", "end", "queue", "pause_after", "reason",
    )  # fmt: skip
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    changed = job_scheduler.add_or_update_recurring(
        options.name, job, options.cron, keep_context=True, by=who(options.by), **given
    )
    row = RecurringJob.objects.using(database()).get(name=options.name)
    if screen.as_json:
        screen.row({**_facts(row), "done": changed})
    first = f"; the next time is {moment(row.next_at)} UTC" if row.next_at else ""
    screen.say(f"{options.name}: {'saved' if changed else 'it was so already'}{first}")
    return Exit.DONE if changed else Exit.NOT_ALL


def run_verb(verb: str, options: argparse.Namespace, screen: Screen) -> int:
    """Remove, trigger, pause or resume one."""
    method = getattr(job_scheduler, f"{verb}_recurring")
    given = {"until": options.until} if verb == "pause" else {}
    answer = method(options.name, by=who(options.by), reason=options.reason, **given)
    done = bool(answer)
    job_id = int(answer) if verb == "trigger" else None
    if screen.as_json:
        screen.row({"id": options.name, "did": verb, "done": done} | ({"job_id": job_id} if job_id else {}))
    elif job_id:
        screen.say(f"triggered {options.name}: job {job_id}")
    else:
        past = {"remove": "removed", "pause": "paused", "resume": "resumed"}[verb]
        screen.say(f"{past} {options.name}" if done else f"{options.name} was not {past}: {_why_not(verb)}")
    return Exit.DONE if done else Exit.NOT_ALL


def run_backfill(options: argparse.Namespace, screen: Screen) -> int:
    """Make up for what is missing of a span, or say what that is."""
    name, start, end = options.name, options.start, options.end or timezone.now()
    if options.dry_run:
        dues = job_scheduler.preview_backfill(name, start, end)
        for due in dues:
            if screen.as_json:
                screen.row({"id": name, "would": "backfill", "due": due})
            screen.say(moment(due))
        screen.say(f"{len(dues):,} occurrences of {name} would be run")
        return Exit.DONE if dues else Exit.NOT_ALL
    ids = job_scheduler.backfill_recurring(name, start, end, by=who(options.by), reason=options.reason)
    if screen.as_json:
        screen.row({"id": name, "did": "backfill", "done": bool(ids), "job_ids": ids})
    screen.say(f"backfilled {name}: {len(ids):,} jobs" if ids else f"{name} lacks no occurrence of that span")
    return Exit.DONE if ids else Exit.NOT_ALL


def _why_not(verb: str) -> str:
    return {"remove": "there is none of that name", "pause": "it is so already", "resume": "it is not paused"}[verb]


def _rule(row: RecurringJob) -> str:
    if row.every_seconds:
        return f"every {row.every_seconds:g} s"
    return row.cron if row.zone == "UTC" else f"{row.cron} {row.zone}"


def _state(row: RecurringJob) -> str:
    if row.paused_at is None or (row.paused_until is not None and row.paused_until <= timezone.now()):
        return "in the code" if row.in_code else ""
    return f"paused by {row.paused_by or 'a program'}{f' until {moment(row.paused_until)}' if row.paused_until else ''}"


def _facts(row: RecurringJob) -> dict[str, Any]:
    names = ("queue", "cron", "every_seconds", "misfire", "overlap", "pause_after", "in_code", "next_at", "last_at")
    return {
        "id": row.name,
        "type": row.job_type,
        "payload": mask(told.find_type(row.job_type), row.data),
        "context": mask_context(row.context or {}),
        **{name: getattr(row, name) for name in names},
        "timezone": row.zone,
        "last_job_id": row.last_job_id,
        "paused_at": row.paused_at,
        "paused_until": row.paused_until,
    }
