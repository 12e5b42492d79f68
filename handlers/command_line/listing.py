"""``jobs list``, ``jobs show``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from django.utils import timezone

from handlers import told
from handlers.command_line import choosing, showing
from handlers.command_line.answers import Exit
from handlers.command_line.parsing import Subparsers, command, whole
from handlers.command_line.screen import Screen, moment
from handlers.job_ids import job_ids
from handlers.lifecycle import database
from handlers.models import JobRecord
from handlers.selection import WINDOW, Selection

CHUNK = 500
PAGE = 50


def add(subparsers: Subparsers) -> None:
    """The commands of this module."""
    listed = command(subparsers, "list", show_list, "List jobs, the newest first.")
    listed.add_argument("search", nargs="*", help=choosing.HELP)
    listed.add_argument(
        "--limit", type=whole(), default=PAGE, metavar="N", help=f"at most so many (default: {PAGE}); 0: all"
    )
    listed.add_argument("--before", type=whole(), metavar="ID", help="only older ones than this")
    shown = command(subparsers, "show", show, "Show jobs with their arguments, history and failures.")
    shown.add_argument("ids", nargs="+", metavar="ID")


def show_list(options: argparse.Namespace, screen: Screen) -> int:
    """The jobs that match."""
    selection = choosing.selection_of(options.search, empty=True)
    if selection.looks_at_newest:
        screen.warn(f"no index finds these: looking at the newest {WINDOW:,} jobs only, of those that the rest finds")
    now = timezone.now()
    if screen.as_json:
        for record in records(selection, options.limit, options.before):
            screen.row(told.facts(record))
        return Exit.DONE
    found = list(records(selection, options.limit, options.before))
    if found:
        screen.table(showing.HEADS, [showing.line(record, now) for record in found])
    else:
        screen.say("no job matches")
    if options.limit and len(found) == options.limit:
        screen.warn(f"there may be more: --before {found[-1].pk}, or --limit 0 for all")
    return Exit.DONE


def records(selection: Selection, limit: int, before: int | None = None) -> Iterator[JobRecord]:
    """At most ``limit`` jobs (0: all), the newest first, read a piece at a time."""
    selection, left = selection.pinned(), limit
    while True:
        size = min(CHUNK, left) if limit else CHUNK
        found = selection.page(size, before=before)
        yield from found
        left -= len(found)
        if len(found) < size or (limit and left <= 0):
            return
        before = found[-1].pk


def show(options: argparse.Namespace, screen: Screen) -> int:
    """Each of the jobs, whole."""
    known = JobRecord.objects.using(database()).in_bulk(job_ids(options.ids))
    missing = [given for given in options.ids if not any(pk in known for pk in job_ids([given]))]
    for number, record in enumerate(known.values()):
        found = {**told.facts(record), **told.details(record)}
        if screen.as_json:
            screen.row(found)
            continue
        if number:
            screen.say("")
        _tell(found, record, screen)
    for given in missing:
        screen.warn(f"there is no job {given}: it has aged out, or never was")
    return Exit.NOT_ALL if missing else Exit.DONE


def _tell(found: dict[str, Any], record: JobRecord, screen: Screen) -> None:
    screen.say(f"job {record.pk}  {record.job_type}  {showing.state_of(record)}")
    names = ("queue", "attempt", "failures", "crashes", "priority", "created_by", "worker", "parent_id", "workflow_id")
    rows = [(name, found[name]) for name in names if found[name]]
    times = ("created_at", "run_at", "started_at", "finished_at", "expires_at")
    rows += [(name, moment(found[name])) for name in times if found[name]]
    rows += [("waits_for", found["waits_for"])] if found["waits_for"] else []
    rows += [("tags", ", ".join(found["tags"]))] if found["tags"] else []
    rows += [("correlation", found["correlation"])] if found["correlation"] else []
    rows += [("context", json.dumps(found["context"], ensure_ascii=False))] if found["context"] else []
    rows.append(("payload", json.dumps(found["payload"], ensure_ascii=False)))
    if found["result"] is not None:
        rows.append(("result", json.dumps(found["result"], ensure_ascii=False)))
    screen.table(("", ""), [(f"  {name}", value) for name, value in rows], headless=True)
    if found["history"]:
        screen.say("history")
        steps = [
            (f"  {moment(step['at'])}", f"{step['from_state']} > {step['to_state']}", step["actor"], step["reason"])
            for step in found["history"]
        ]
        screen.table(("", "", "", ""), steps, headless=True)
    if found["failed_attempts"]:
        last = found["failed_attempts"][-1]
        screen.say(f"attempt {last['attempt']} failed at {moment(last['at'])}")
        screen.block(last["traceback"] or f"{last['exception']}: {last['message']}")
