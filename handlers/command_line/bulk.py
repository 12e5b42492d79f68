"""``jobs bulk ...``: one verb for all jobs that match, by workers in the background."""

from __future__ import annotations

import argparse
import dataclasses
import time
from functools import partial
from typing import Any

from django.utils import timezone

from handlers import bulk, told
from handlers.command_line import choosing, showing
from handlers.command_line.answers import Exit, usage
from handlers.command_line.listing import records
from handlers.command_line.parsing import Parser, Subparsers, command, whole
from handlers.command_line.people import who
from handlers.command_line.screen import Screen, age
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.models import BulkOperation
from handlers.models.bulk import BulkState
from handlers.selection import Selection, hidden

SAMPLE, NEWEST = 10, 50
LOOK_SECONDS = 0.5
METHODS = {"pause": "pause_bulk", "try": "try_bulk", "resume": "resume_bulk", "cancel": "stop_bulk"}
OPTIONS = {
    "confirm_count": "--confirm",
    "queue": "--to",
    "rate_per_second": "--rate",
    "max_failed_share": "--max-failed",
}
NOT_DONE = {
    "pause": "was not paused", "try": "does not wait", "resume": "was not resumed", "cancel": "was not cancelled",
}  # fmt: skip
SHOWN = ("search", "queue", "username", "reason", "created_at", "finished_at", "moved_on")
WORDS = {
    "first_succeeded": "first attempt succeeded", "first_failed": "first attempt failed",
    "first_to_come": "first attempt to come", "first_never": "never ran", "succeeded": "succeeded", "failed": "failed",
    "waiting": "waiting", "running": "running", "deleted": "deleted", "gone": "aged out",
}  # fmt: skip
PAST = {"pause": "paused", "try": "tried more of", "resume": "resumed", "cancel": "cancelled"}


def add(subparsers: Subparsers) -> None:
    """The commands of this module."""
    summary = (
        "One verb for all jobs that match, in the background: preview, start, list, show, pause, try, resume, cancel."
    )
    parser = subparsers.add_parser("bulk", help=summary, description=summary)
    own: Subparsers = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    preview = command(own, "preview", run_preview, "Say how many jobs match, and show some.")
    start = command(own, "start", run_start, "Start it.", acts=True)
    for each in (preview, start):
        each.add_argument("what", choices=sorted(bulk.VERBS), metavar="VERB", help=", ".join(sorted(bulk.VERBS)))
        each.add_argument("search", nargs="*", help=choosing.HELP)
    start.add_argument("--to", metavar="QUEUE", help="of move: where they go")
    start.add_argument("--rate", type=float, metavar="N", help="at most so many jobs a second")
    start.add_argument("--canary", type=int, default=0, metavar="N", help="so many first; the rest if they succeed")
    start.add_argument("--max-failed", type=float, metavar="SHARE", help="pause above it, 0 to 1, of first attempts")
    start.add_argument("--confirm", type=whole(), metavar="N", help="where nothing narrows it: how many jobs there are")
    start.add_argument("--wait", action="store_true", help="until it has ended, with a bar on a terminal")
    command(own, "list", run_list, "List the newest.")
    show = command(own, "show", run_show, "Show some: how far each is, and what became of the jobs.")
    show.add_argument("operations", type=whole(1), nargs="+", metavar="ID")
    for verb, text in (
        ("pause", "Let it go no further."),
        ("try", "Of a paused one: let some more jobs go first, and the rest if they succeed."),
        ("resume", "Let it go on."),
        ("cancel", "End it for good; what it has done stays."),
    ):
        switched = command(own, verb, partial(run_switch, verb), text, acts=True)
        switched.add_argument("operation", type=whole(1), metavar="ID")
        if verb == "try":
            many = f"how many go first now (default {bulk.CANARY})"
            switched.add_argument("--jobs", type=whole(1), default=bulk.CANARY, metavar="N", help=many)


def run_preview(options: argparse.Namespace, screen: Screen) -> int:
    """What ``start`` would begin with."""
    fitting = bulk.narrowed(options.what, _selection(options))
    count = bulk.count_of(fitting)
    found = list(records(fitting, SAMPLE))
    number = "too many to count at once" if count is None else f"{min(count, bulk.COUNTED):,}"
    number += "+" if count is not None and count > bulk.COUNTED else ""
    if screen.as_json:
        for record in found:
            screen.row({**told.facts(record), "would": options.what, "of": count})
        return Exit.DONE if found else Exit.NOT_ALL
    if found:
        screen.table(showing.HEADS, [showing.line(record, timezone.now()) for record in found])
    screen.say(f"{number} jobs would be {bulk.VERBS[options.what].past}")
    return Exit.DONE if found else Exit.NOT_ALL


def run_start(options: argparse.Namespace, screen: Screen) -> int:
    """Start one."""
    selection, by = _selection(options), who(options.by)
    try:
        operation = job_scheduler.start_bulk(
            options.what, selection, queue=options.to, by=by, reason=options.reason, rate_per_second=options.rate,
            canary=options.canary, max_failed_share=options.max_failed, confirm_count=options.confirm,
        )  # fmt: skip
    except InvalidJob as error:
        option = OPTIONS.get(error.field or "")
        raise usage(f"{error}{f' ({option})' if option else ''}") from None
    if not options.wait:
        _tell(operation, screen)
        return Exit.DONE
    try:
        while (operation := _read(operation.pk)).state in bulk.LIVE:
            screen.progress(operation.moved + operation.moved_on, operation.count or None)
            time.sleep(LOOK_SECONDS)
    finally:
        screen.end_progress()
    _tell(operation, screen)
    return Exit.DONE if operation.state == BulkState.DONE and not operation.moved_on else Exit.NOT_ALL


def run_list(options: argparse.Namespace, screen: Screen) -> int:
    """The newest."""
    rows, now = list(BulkOperation.objects.using(database()).order_by("-pk")[:NEWEST]), timezone.now()
    if screen.as_json:
        for row in rows:
            screen.row(_facts(row))
    elif rows:
        lines = [
            (
                row.pk,
                row.state,
                row.verb,
                f"{row.moved:,} of {row.count:,}",
                age(row.created_at, now),
                row.username,
                row.note,
            )
            for row in rows
        ]
        screen.table(("ID", "STATE", "VERB", "DONE", "AGE", "BY", "NOTE"), lines)
    else:
        screen.say("no bulk operation")
    return Exit.DONE


def run_show(options: argparse.Namespace, screen: Screen) -> int:
    """Some, each with its receipt."""
    found = BulkOperation.objects.using(database()).in_bulk(options.operations)
    for pk in dict.fromkeys(options.operations):
        operation = found.get(pk)
        if operation is None:
            screen.warn(f"there is no bulk operation {pk}")
            continue
        receipt = dataclasses.asdict(bulk.receipt(operation))
        facts = _facts(operation)
        if screen.as_json:
            screen.row({**facts, "receipt": receipt})
            continue
        _tell(operation, screen)
        shown = {name: facts[name] for name in SHOWN if facts[name] not in (None, "")}
        screen.table(("", ""), [(f"  {name}", str(value)) for name, value in shown.items()], headless=True)
        looked_at = receipt.pop("looked_at")
        if looked_at:
            screen.say(f"  of the newest {looked_at:,} jobs:")
            screen.table(
                ("", ""), [(f"    {WORDS[name]}", f"{n:,}") for name, n in receipt.items() if n], headless=True
            )
    return Exit.DONE if len(found) == len(set(options.operations)) else Exit.NOT_ALL


def run_switch(verb: str, options: argparse.Namespace, screen: Screen) -> int:
    """Pause, try, resume or cancel one."""
    _read(options.operation)
    given: dict[str, Any] = {"jobs": options.jobs} if verb == "try" else {}
    act = getattr(job_scheduler, METHODS[verb])
    try:
        done: bool = act(options.operation, **given, by=who(options.by), reason=options.reason)
    except InvalidJob as error:
        raise usage(str(error)) from None
    state = _read(options.operation).state
    if screen.as_json:
        screen.row({"id": options.operation, "did": verb, "done": done, "state": state})
    named = f"bulk operation {options.operation}"
    screen.say(f"{PAST[verb]} {named}" if done else f"{named} {NOT_DONE[verb]}: it is {state}")
    return Exit.DONE if done else Exit.NOT_ALL


def _selection(options: argparse.Namespace) -> Selection:
    # That nothing narrows it the engine asks to be confirmed.
    return choosing.selection_of(options.search, empty=True)


def _read(operation_id: int) -> BulkOperation:
    row = BulkOperation.objects.using(database()).filter(pk=operation_id).first()
    if row is None:
        raise usage(f"there is no bulk operation {operation_id}: see manage.py jobs bulk list")
    return row


def _tell(operation: BulkOperation, screen: Screen) -> None:
    if screen.as_json:
        screen.row(_facts(operation))
    past, note = bulk.VERBS[operation.verb].past, f" {operation.note}" if operation.note else ""
    screen.say(
        f"bulk operation {operation.pk} is {operation.state}:"
        f" {operation.moved:,} of {operation.count:,} jobs {past}.{note}"
    )


def _facts(row: BulkOperation) -> dict[str, Any]:
    names = (
        "verb", "queue", "state", "held", "note", "count", "moved", "moved_on", "created_at", "finished_at", "username",
        "reason",
    )  # fmt: skip
    search = str(hidden(Selection.from_json(row.selection)))
    return {"id": row.pk, **{name: getattr(row, name) for name in names}, "search": search}
