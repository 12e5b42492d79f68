"""Recurring jobs as the pages show them: where each stands, and what became of its last occurrences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.utils.safestring import SafeString

from dashboard.kit import catalogue
from dashboard.kit.reach import seen
from dashboard.kit.vocabulary import counted_state
from dashboard.recurring.rule import rule_words
from dashboard.recurring.strip import Mark, strip
from handlers.job_types import JobType
from handlers.models import How, JobRecord, Occurrence, RecurringJob
from handlers.recurrence.definition import columns_of, times_of
from handlers.recurrence.firing import ACTOR

STRIP = 12  # occurrences of each that a list shows
JOB_COLUMNS = ("id", "job_type", "queue", "state", "failures", "started_at", "finished_at")
LAST = (  # of one
    f"SELECT * FROM {Occurrence._meta.db_table} WHERE recurring_id = %s ORDER BY due_at DESC LIMIT {STRIP}"  # noqa: S608 - our table
)


@dataclass(frozen=True)
class Firing:
    """One occurrence, with what became of its job."""

    occurrence: Occurrence
    planned: datetime  # when it was to be fired: its time and its part of the jitter
    job: JobRecord | None  # None: skipped, aged out, or not for this person

    @property
    def is_skipped(self) -> bool:
        """Whether no job was made."""
        return self.occurrence.job_id is None

    @property
    def late(self) -> timedelta | None:
        """How late it was fired; None where nobody waited for the moment."""
        if self.occurrence.how not in (How.DUE, How.LATE, How.HELD):
            return None
        return max(self.occurrence.fired_at - self.planned, timedelta(0))

    @property
    def took(self) -> timedelta | None:
        """How long the job's last attempt ran."""
        if self.job is None or self.job.started_at is None or self.job.finished_at is None:
            return None
        return self.job.finished_at - self.job.started_at

    @property
    def outcome(self) -> str:
        """``skipped``, ``gone`` where the job has aged out, or the job's state."""
        if self.is_skipped:
            return "skipped"
        return self.job.state if self.job else "gone"

    @property
    def how(self) -> str:
        """How it came to be, in words."""
        words = How(self.occurrence.how).label
        skipped = self.occurrence.skipped
        return f"{words}: {counted_state('skipped', skipped)}" if skipped else str(words)


@dataclass(frozen=True)
class Entry:
    """One recurring job."""

    row: RecurringJob
    now: datetime
    job_type: JobType | None = None  # None: not registered here
    last_job: JobRecord | None = None
    firings: list[Firing] = field(default_factory=list)  # the last ones, the newest first

    @property
    def is_paused(self) -> bool:
        """Whether nothing comes of it for now."""
        return self.row.paused_at is not None and (self.row.paused_until is None or self.row.paused_until > self.now)

    @property
    def state(self) -> str:
        """``paused``, ``ended``, or ``active``."""
        if self.is_paused:
            return "paused"
        return "ended" if self.row.next_at is None else "active"

    @property
    def pauses_itself(self) -> bool:
        """Whether it was paused by failures, or because its rule could not be read."""
        return self.row.paused_by == ACTOR

    @property
    def is_overdue(self) -> bool:
        """Whether it should have been fired by now."""
        return self.state == "active" and self.row.next_at is not None and self.row.next_at <= self.now

    @property
    def rule(self) -> str:
        """When it is due, in words."""
        return rule_words(columns_of(self.row))

    @property
    def every(self) -> timedelta | None:
        """The interval, where it has one."""
        return None if self.row.every_seconds is None else timedelta(seconds=self.row.every_seconds)

    @property
    def late(self) -> timedelta | None:
        """How late the last one that was due was fired."""
        return next((firing.late for firing in self.firings if firing.late is not None), None)

    @property
    def strip(self) -> SafeString:
        """What became of the last occurrences, as a picture."""
        return strip([Mark(one.outcome, one.occurrence.due_at) for one in reversed(self.firings)])


def entries(request: HttpRequest, rows: Sequence[RecurringJob], now: datetime) -> list[Entry]:
    """``rows`` with what belongs to them, in two statements however many they are."""
    found = _last_occurrences([row.pk for row in rows])
    ids = [row.last_job_id for row in rows] + [one.job_id for some in found.values() for one in some]
    jobs = _jobs(request, ids)
    return [
        Entry(
            row,
            now,
            catalogue.find(row.job_type),
            jobs.get(row.last_job_id or 0),
            firings(request, row, found.get(row.pk, []), jobs),
        )
        for row in rows
    ]


def firings(
    request: HttpRequest, row: RecurringJob, occurrences: Iterable[Occurrence], jobs: dict[int, JobRecord] | None = None
) -> list[Firing]:
    """Occurrences of one with their jobs. ``jobs``: where the caller has read them."""
    occurrences = list(occurrences)
    if jobs is None:
        jobs = _jobs(request, [one.job_id for one in occurrences])
    planned = times_of(row.name, columns_of(row)).fired_at
    return [Firing(one, planned(one.due_at), jobs.get(one.job_id or 0)) for one in occurrences]


def _jobs(request: HttpRequest, ids: Iterable[int | None]) -> dict[int, JobRecord]:
    wanted = {job_id for job_id in ids if job_id}
    if not wanted:
        return {}
    reach = seen(request)  # a job may have been moved since
    rows = JobRecord.objects.filter(pk__in=wanted).only(*JOB_COLUMNS)
    return {job.pk: job for job in rows if reach.covers(job.job_type, job.queue)}


def _last_occurrences(ids: Sequence[int]) -> dict[int, list[Occurrence]]:
    """The last ones of each, the newest first: read from where an index ends, however many there are."""
    if not ids:
        return {}
    # Each in brackets of its own: SQLite takes no LIMIT in a part of a UNION.
    parts = [f"SELECT * FROM ({LAST}) AS part_{place}" for place, _ in enumerate(ids)]  # noqa: S608 - as LAST
    found: dict[int, list[Occurrence]] = {}
    for one in Occurrence.objects.raw(" UNION ALL ".join(parts), [*ids]):
        found.setdefault(one.recurring_id, []).append(one)
    for some in found.values():
        some.sort(key=lambda one: one.due_at, reverse=True)
    return found
