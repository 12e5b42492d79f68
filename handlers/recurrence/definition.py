"""What a recurring job is to be, checked whole before anything is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from handlers import queues
from handlers.exceptions import InvalidJob
from handlers.models import Misfire, Overlap, RecurringJob
from handlers.outbound import check_url
from handlers.payloads import Command, Job
from handlers.recurrence.cron import Cron
from handlers.recurrence.times import SHORTEST, Times, check_moment, check_span, zone_of
from handlers.registry import registry
from handlers.wording import Figures, worded

LONGEST_NAME = 200
MOST_CATCH_UP, MOST_FAILURES = 10_000, 1_000
RULE = (
    "cron",
    "every_seconds",
    "zone",
    "start_at",
    "end_at",
    "jitter_seconds",
)  # columns: when they change, so do times


@dataclass(frozen=True)
class Options:
    """How a recurring job behaves; each as in ``job_scheduler.add_or_update_recurring``."""

    timezone: str = "UTC"
    every: timedelta | None = None
    misfire: str = Misfire.ONE.value
    catch_up: int = 100
    catch_up_within: timedelta = timedelta(days=1)
    overlap: str = Overlap.ALLOW.value
    jitter: timedelta | None = None
    start: datetime | None = None
    end: datetime | None = None
    queue: str | None = None
    pause_after: int = 0
    heartbeat_url: str = ""


def define(name: str, job: Job | Command, cron: str | None, options: Options) -> dict[str, Any]:
    """The columns of RecurringJob that say what is to be. Raises InvalidJob, naming the argument, or NoHandler."""
    job_type = registry.for_object(job)
    if options.queue is not None:
        queues.check_known(options.queue)
    columns = {"job_type": job_type.name, "data": json.loads(job_type.encode(job)), "queue": options.queue or ""}
    return columns | check_options(cron, options)


def check_options(cron: str | None, options: Options) -> dict[str, Any]:
    """Those of the columns that need no registry. Raises InvalidJob, naming the argument."""
    start = None if options.start is None else check_moment("start", options.start)
    end = None if options.end is None else check_moment("end", options.end)
    if start and end and end < start:
        raise InvalidJob(
            worded(
                "end: %(end)s lies before start, %(start)s",
                end=end.isoformat(),
                start=start.isoformat(),
            ),
            field="end",
        )
    zone_of(options.timezone)
    return {
        "cron": _cron(cron, options.every),
        "every_seconds": options.every and options.every.total_seconds(),
        "zone": options.timezone,
        "start_at": start,
        "end_at": end,
        "jitter_seconds": check_span("jitter", options.jitter or timedelta(0)).total_seconds(),
        "misfire": _choice("misfire", options.misfire, Misfire),
        "catch_up": _whole("catch_up", options.catch_up, 1, MOST_CATCH_UP),
        "catch_up_seconds": check_span("catch_up_within", options.catch_up_within).total_seconds(),
        "overlap": _choice("overlap", options.overlap, Overlap),
        "pause_after": _whole("pause_after", options.pause_after, 0, MOST_FAILURES),
        "heartbeat_url": check_url("heartbeat_url", options.heartbeat_url),
    }


def check_name(name: object) -> str:
    """``name``, which must be one. Raises InvalidJob."""
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= LONGEST_NAME
        or not name.isprintable()
        or name != name.strip()
    ):
        raise InvalidJob(
            worded(
                "name: must be 1 to %(longest_name)s printable characters without blanks at the ends, not %(name)s",
                longest_name=LONGEST_NAME,
                name=repr(str(name)[:100]),
            ),
            field="name",
        )
    return name


def times_of(name: str, columns: Mapping[str, Any]) -> Times:
    """When a recurring job with these columns is due."""
    every = columns["every_seconds"]
    return Times(
        name=name,
        cron=columns["cron"],
        every=None if every is None else timedelta(seconds=every),
        anchor=columns.get("anchor_at"),
        zone=columns["zone"],
        start=columns["start_at"],
        end=columns["end_at"],
        jitter=timedelta(seconds=columns["jitter_seconds"]),
    )


def check_times(columns: Mapping[str, Any], now: datetime) -> None:
    """Raise InvalidJob unless it is ever due after ``now``: within five years, for a cron line."""
    if columns["cron"]:
        moment = max(now, columns["start_at"] or now)
        Cron.parse(columns["cron"]).check(moment, zone_of(columns["zone"]))


def columns_of(row: RecurringJob) -> dict[str, Any]:
    """Those columns of a stored one."""
    return {name: getattr(row, name) for name in (*RULE, "anchor_at")}


def _cron(cron: object, every: object) -> str:
    if every is not None:
        if cron is not None and cron != "":
            raise InvalidJob(worded("every: give either a cron line or every=, not both"), field="every")
        check_span("every", every, least=SHORTEST)
        return ""
    if not isinstance(cron, str):
        raise InvalidJob(
            worded("cron: must be a line such as '0 9 * * MON-FRI', or give every=, not %(cron)s", cron=repr(cron)),
            field="cron",
        )
    return Cron.parse(cron).text


def _choice(field: str, value: object, choices: type[Misfire | Overlap]) -> str:
    if value not in choices.values:
        raise InvalidJob(
            worded(
                "%(field)s: must be one of %(values)s, not %(value)s",
                field=field,
                values=", ".join(choices.values),
                value=repr(value),
            ),
            field=field,
        )
    return str(value)


def _whole(field: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidJob(
            worded(
                "%(field)s: must be a whole number from %(least)s to %(most)s, not %(value)s",
                field=field,
                least=least,
                most=Figures(f"{most:,}"),
                value=repr(value),
            ),
            field=field,
        )
    return value
