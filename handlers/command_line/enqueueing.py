"""``jobs enqueue`` and ``jobs schedule``, and how arguments are typed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.db import transaction

from handlers.carried import context
from handlers.command_line import choosing, times
from handlers.command_line.answers import Exit, usage
from handlers.command_line.parsing import Subparsers, command
from handlers.command_line.people import who
from handlers.command_line.screen import Screen, moment
from handlers.gateway import job_scheduler
from handlers.job_types import JobType
from handlers.lifecycle import JobId, database
from handlers.masking import mask
from handlers.payloads import Command, Job
from handlers.writing import writing

STDIN = "-"


def add(subparsers: Subparsers) -> None:
    """The commands of this module."""
    enqueue = command(subparsers, "enqueue", run_enqueue, "Enqueue a job.", acts=True, dry=True)
    enqueue.add_argument("--delay", type=times.length, metavar="TIME", help="start it so long from now: 90s, 2h")
    schedule = command(subparsers, "schedule", run_schedule, "Enqueue a job for a time.", acts=True, dry=True)
    schedule.add_argument(
        "--at",
        required=True,
        type=times.moment,
        metavar="TIME",
        help="2026-12-24T18:00+01:00, UTC without a zone; or 2h",
    )
    for parser in (enqueue, schedule):
        add_arguments_of_job(parser)
        parser.add_argument("--queue", help="default: the type's own")
        parser.add_argument("--priority", type=int, metavar="N", help="from -100 to 100, default: the type's own")
        parser.add_argument("--expires", type=times.moment, metavar="TIME", help="not to be started after that")
        parser.add_argument(
            "--tag", action="append", default=[], dest="tags", metavar="TEXT", help="to find it by; as often as needed"
        )
        parser.add_argument("--correlation", metavar="TEXT", help="shared by what belongs together")
        parser.add_argument(
            "--context",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="for its handler's context; as often as needed; what is JSON is read as such",
        )
        parser.add_argument(
            "--not-unique", action="store_true", help="even if the type's rule says there is one already"
        )


def add_arguments_of_job(parser: argparse.ArgumentParser) -> None:
    """The job's type and its arguments."""
    parser.add_argument("type", help="its name, or the last part of it: shop.SendReceipt, SendReceipt")
    parser.add_argument("fields", nargs="*", metavar="NAME=VALUE", help="its arguments; what is no text, as JSON")
    parser.add_argument(
        "--payload", metavar="JSON", help=f"its arguments as one JSON object; {STDIN}: from standard input"
    )


def run_enqueue(options: argparse.Namespace, screen: Screen) -> int:
    """Enqueue it."""
    known, job = read_job(options)
    start = partial(_within(options)(job_scheduler.enqueue), job, delay=options.delay, **_options(options))
    if options.dry_run:
        return _dry_run(known, job, start, options, screen)
    return _told(start(), known, "enqueued", screen)


def run_schedule(options: argparse.Namespace, screen: Screen) -> int:
    """Schedule it."""
    known, job = read_job(options)
    start = partial(_within(options)(job_scheduler.schedule), job, options.at, **_options(options))
    if options.dry_run:
        return _dry_run(known, job, start, options, screen)
    return _told(start(), known, f"scheduled for {moment(options.at)} UTC", screen)


def read_job(options: argparse.Namespace) -> tuple[JobType, Job | Command]:
    """The job that is typed. Raises CommandError, and InvalidJob for arguments that do not fit its type."""
    known = choosing.type_named(options.type)
    return known, known.decode(_payload(known, options.fields, options.payload))


def _payload(known: JobType, fields: Sequence[str], text: str | None) -> Any:
    payload: Any = {}
    if text is not None:
        try:
            payload = json.loads(sys.stdin.read() if text == STDIN else text)
        except (ValueError, RecursionError) as error:
            raise usage(f"--payload: is no JSON: {error}") from None
        if not isinstance(payload, dict):
            raise usage('--payload: must be a JSON object, such as {"order_id": 7}')
    properties = known.schema().get("properties", {})
    for field in fields:
        name, is_given, value = field.partition("=")
        if not is_given or name not in properties:
            names = ", ".join(properties) or "none"
            raise usage(f"{name[:60]!r} is no argument of {known.name}: write NAME=VALUE; it has {names}")
        payload[name] = _value(properties[name], value)
    return payload


def _value(schema: dict[str, Any], text: str) -> Any:
    """Text for a field that holds text, else JSON; what is no JSON is text, of which the type says what is wrong."""
    if schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _options(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "queue": options.queue,
        "priority": options.priority,
        "expires": options.expires,
        "tags": options.tags,
        "correlation": options.correlation,
        "unique": False if options.not_unique else None,
        "by": who(options.by),
        "reason": options.reason,
    }


def _within(options: argparse.Namespace) -> context:
    """The context that is typed."""
    found = {}
    for text in options.context:
        name, is_given, value = text.partition("=")
        if not is_given:
            raise usage(f"--context: {text[:60]!r} is no NAME=VALUE")
        found[name] = _value({}, value)
    return context(**found)


def _told(job_id: JobId, known: JobType, did: str, screen: Screen) -> int:
    if screen.as_json:
        screen.row({"id": int(job_id), "type": known.name, "is_new": job_id.is_new})
    elif job_id.is_new:
        screen.say(f"{did}: job {job_id}, {known.name}")
    else:
        screen.say(f"job {job_id} is there already: of {known.name} with these arguments there is one at a time")
    return Exit.DONE if job_id.is_new else Exit.NOT_ALL


def _dry_run(
    known: JobType, job: Job | Command, start: Callable[[], JobId], options: argparse.Namespace, screen: Screen
) -> int:
    with writing(database()):  # so that it says no where the real one would
        made = start()
        transaction.set_rollback(True, using=database())
    if not made.is_new:
        return _told(made, known, "", screen)
    payload = mask(known, json.loads(known.encode(job)))
    queue = options.queue or known.queue
    if screen.as_json:
        screen.row({"id": None, "type": known.name, "queue": queue, "payload": payload})
    screen.say(f"dry run: {known.name} on {queue} with {json.dumps(payload, ensure_ascii=False)}")
    return Exit.DONE
