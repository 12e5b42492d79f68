"""Recurring jobs that the code declares, and how the database comes to know them: by each scheduler, at its start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from handlers import lifecycle
from handlers.audit import audit
from handlers.exceptions import InvalidJob, JobsError
from handlers.models import RecurringJob
from handlers.payloads import Command, Job
from handlers.recurrence.definition import Options, check_name, check_options, define
from handlers.recurrence.verbs import put
from handlers.registry import registry
from handlers.writing import writing

CODE = "code"  # who adds, changes and removes them


def recurring(
    name: str,
    job: Job | Command,
    cron: str | None = None,
    *,
    timezone: str = "UTC",
    every: timedelta | None = None,
    misfire: str = "one",
    catch_up: int = 100,
    catch_up_within: timedelta = timedelta(days=1),
    overlap: str = "allow",
    jitter: timedelta | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    queue: str | None = None,
    pause_after: int = 0,
    heartbeat_url: str = "",
) -> None:
    """Declare, in an app's ``jobs.py``, that ``job`` recurs: all as in ``job_scheduler.add_or_update_recurring``.

    Schedulers add, change and remove it as the code does; people can pause and trigger it. Raises InvalidJob when
    something does not fit, or the name is taken.
    """
    options = Options(
        timezone, every, misfire, catch_up, catch_up_within, overlap, jitter, start, end, queue, pause_after,
        heartbeat_url,
    )  # fmt: skip
    check_name(name)
    check_options(cron, options)
    if name in registry.recurring and registry.recurring[name] != (job, cron, options):
        raise InvalidJob(f"name: the code declares a recurring job {name!r} already: choose another", field="name")
    registry.recurring[name] = (job, cron, options)


def sync() -> int:
    """Make the database's those of the code; how many were added, changed or removed.

    What one of them lacks is raised as InvalidJob once the others are there.
    """
    moved = 0

    def keep(name: str, columns: dict[str, Any]) -> None:
        nonlocal moved
        # What is in force where a scheduler starts is none of theirs.
        moved += put(name, {**columns, "context": None}, by=CODE, in_code=True)

    wrong = _each(keep)
    moved += _remove_others()
    if wrong:
        raise InvalidJob("; ".join(wrong))
    return moved


def problems() -> list[str]:
    """What is wrong with those of the code, one line each."""
    return _each(lambda name, columns: None)


def _each(act: Callable[[str, dict[str, Any]], None]) -> list[str]:
    """Call ``act`` with each one's name and columns; what is wrong with those that cannot be, one line each."""
    wrong = []
    for name, (job, cron, options) in registry.recurring.items():
        try:
            act(name, define(name, job, cron, options))
        except JobsError as error:
            wrong.append(f"recurring job {name!r}: {error}")
    return wrong


def _remove_others() -> int:
    alias = lifecycle.database()
    with writing(alias):
        gone = RecurringJob.objects.using(alias).filter(in_code=True).exclude(name__in=registry.recurring)
        names = list(gone.values_list("name", flat=True))
        for name in names:
            audit(CODE, "remove_recurring", f"recurring {name}", 1, "the code declares it no more")
        gone.filter(name__in=names).delete()
    return len(names)
