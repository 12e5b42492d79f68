"""What the counts say: throughput, durations, rates, failure groups. Reads few rows, and never a job.

The counts are folded every few seconds, so the newest seconds are missing. Durations are known by bucket; inside one
they are taken as evenly spread.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import BooleanField, Q, QuerySet, Sum, Value
from django.db.models.expressions import RawSQL
from django.utils import timezone

from handlers.models import FailureGroup, GroupState, JobCount
from handlers.models.count import BUCKET_FIELDS, BUCKETS, Outcome, Period

# As the index jobs_count_group has it: of a parameter SQLite could not tell that it fits.
HAS_FINGERPRINT = RawSQL("NOT (fingerprint = '')", (), output_field=BooleanField())
ENDED = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.RETRIED)
# What puts a job on its queue. A scheduled one counts when it is created, not when it is due.
INCOMING = (Outcome.CREATED, Outcome.REVIVED, Outcome.RETRIED, Outcome.HANDED_BACK, Outcome.SNOOZED, Outcome.WAITED)
GROWS = 10  # jobs that wait: fewer come and go
NEAR = timedelta(hours=3)  # within which what is counted since a time is counted by the minute
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Span(NamedTuple):
    """A time until now, in whole periods of which the present one is the last, and the rows that are read for it.

    All that the console counts over a span it counts from ``began``, so that its numbers add up to each other.
    """

    length: timedelta
    whole: Period  # for sums over all of it, which begins with a whole one
    step: timedelta  # from point to point
    period: Period  # for points

    def began(self) -> datetime:
        """When it began."""
        unit = MINUTE if self.whole is Period.MINUTE else HOUR
        return _floor(timezone.now(), unit) - self.length + unit


SPANS = {
    "1h": Span(HOUR, Period.MINUTE, MINUTE, Period.MINUTE),
    "24h": Span(DAY, Period.HOUR, 15 * MINUTE, Period.MINUTE),
    "7d": Span(7 * DAY, Period.HOUR, 2 * HOUR, Period.HOUR),
}


class Point(NamedTuple):
    """How many attempts ended how in the time that began at ``at``."""

    at: datetime
    succeeded: int = 0
    failed: int = 0
    retried: int = 0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds within which so many of a hundred came; None where none was counted."""

    p50: float | None
    p95: float | None
    p99: float | None
    count: int


class Rate(NamedTuple):
    """Jobs a minute onto a queue, and attempts a minute that ended there."""

    in_per_minute: float
    out_per_minute: float

    def grows(self, waiting: int) -> bool:
        """Whether more comes than goes, of ``waiting`` jobs so many that it is not for a moment."""
        return waiting >= GROWS and self.in_per_minute > self.out_per_minute


class TypeStats(NamedTuple):
    """How a type's attempts ended in the last day; seconds of those that succeeded."""

    runs: int
    failures: int
    p50: float | None
    p95: float | None


class GroupCounts(NamedTuple):
    """Failed attempts of one group in the last hour, day and week, by hour over the last day, and of which types."""

    hour: int
    day: int
    day_again: int  # of those of the day: after which the job was to run again
    week: int
    sparkline: list[int]
    types: list[str]


class Ended(NamedTuple):
    """How attempts ended in a span, and beside it."""

    points: list[Point]  # evenly spaced, oldest first, zero where nothing did; the last one is still growing
    before: dict[str, int]  # by outcome, in the span of the same length before, by whole periods
    failed: dict[Period, dict[datetime, int]]  # for good: by minutes lately, by hours since the time that was asked for

    def failed_since(self, since: datetime) -> int:
        """How many failed for good since a time, which is not before the one that was asked for."""
        is_near = timezone.now() - since < NEAR
        unit, began = (Period.MINUTE, _floor(since, MINUTE)) if is_near else (Period.HOUR, _floor(since, HOUR))
        return sum(count for at, count in self.failed.get(unit, {}).items() if at >= began)


def throughput(span: str) -> list[Point]:
    """How attempts ended, evenly spaced, oldest first, zero where nothing did. The last point is still growing."""
    return ended(span).points


def ended(span: str, since: datetime | None = None) -> Ended:
    """The same, compared with the span before, and when what failed ``since`` a time did: in one statement."""
    length, whole, step, period = SPANS[span]
    first = SPANS[span].began()
    totals = JobCount.objects.filter(queue="", job_type="", fingerprint="")
    parts = [
        ("shown", totals.filter(period=period, outcome__in=ENDED, at__gte=first)),
        ("before", totals.filter(period=whole, outcome__in=ENDED, at__gte=first - length, at__lt=first)),
    ]
    if since is not None:
        near = timezone.now() - NEAR
        for unit, began in ((Period.MINUTE, _floor(max(since, near), MINUTE)), (Period.HOUR, _floor(since, HOUR))):
            if unit is Period.MINUTE or since <= near:
                parts.append((unit.value, totals.filter(period=unit, outcome=Outcome.FAILED, at__gte=began)))
    rows, *others = (
        some.order_by().annotate(part=Value(name)).values_list("part", "at", "outcome", "count") for name, some in parts
    )
    found: defaultdict[datetime, dict[str, int]] = defaultdict(dict)
    before: Counter[str] = Counter()
    failed: dict[Period, dict[datetime, int]] = {}
    for part, at, outcome, count in rows.union(*others, all=True):
        if part == "shown":
            place = found[first + (at - first) // step * step]
            place[outcome] = place.get(outcome, 0) + count
        elif part == "before":
            before[outcome] += count
        else:
            failed.setdefault(Period(part), {})[at] = count
    number = (timezone.now() - first) // step + 1
    points = [Point(at, **found.get(at, {})) for at in (first + place * step for place in range(number))]
    return Ended(points, dict(before), failed)


def ended_between(since: datetime, until: datetime) -> Point:
    """How attempts ended from ``since`` to ``until``: a day at most, by minutes or, from an hour on, by hours."""
    period = Period.HOUR if until - since >= HOUR else Period.MINUTE
    rows = JobCount.objects.filter(
        period=period, queue="", job_type="", fingerprint="", outcome__in=ENDED, at__gte=since, at__lt=until
    )
    return Point(since, **dict(rows.values_list("outcome").annotate(total=Sum("count"))))


def percentiles_by_outcome(span: str, outcomes: Collection[str]) -> dict[str, Percentiles]:
    """The durations that each of ``outcomes`` is counted with, of all types, in one statement."""
    chosen = SPANS[span]
    rows = JobCount.objects.filter(
        period=chosen.whole, fingerprint="", queue="", job_type="", outcome__in=outcomes, at__gte=chosen.began()
    )
    sums = rows.values_list("outcome").annotate(**{f"sum_{name}": Sum(name) for name in BUCKET_FIELDS})
    found: dict[str, list[int]] = {outcome: [value or 0 for value in values] for outcome, *values in sums}
    return {outcome: _shares(found.get(str(outcome), [0] * len(BUCKET_FIELDS))) for outcome in outcomes}


def percentiles(span: str, *, outcome: str = "succeeded", job_type: str | None = None) -> Percentiles:
    """Run times of what ``succeeded``, or waits on the queue of what ``started``, of all types or of one."""
    chosen = SPANS[span]
    rows = JobCount.objects.filter(period=chosen.whole, fingerprint="", outcome=outcome, at__gte=chosen.began())
    rows = rows.filter(queue="", job_type="") if job_type is None else rows.filter(job_type=job_type)
    sums = rows.aggregate(**{name: Sum(name) for name in BUCKET_FIELDS})
    buckets = [sums[name] or 0 for name in BUCKET_FIELDS]
    return _shares(buckets)


def _shares(buckets: list[int]) -> Percentiles:
    return Percentiles(quantile(buckets, 0.5), quantile(buckets, 0.95), quantile(buckets, 0.99), sum(buckets))


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """The seconds within which ``share`` of what ``buckets`` count came; None when they count nothing.

    The last bucket has no end: whatever falls into it is told as its beginning.
    """
    total = sum(buckets)
    if total <= 0:
        return None
    wanted, before = share * total, 0
    for place, count in enumerate(buckets):
        if count and before + count >= wanted:
            low = BUCKETS[place - 1] if place else 0.0
            if place == len(BUCKETS):
                return float(low)
            return float(low + (BUCKETS[place] - low) * (wanted - before) / count)
        before += count
    return float(BUCKETS[-1])


def queue_rates(minutes: int = 5) -> dict[str, Rate]:
    """How fast each queue fills and empties, over the last whole ``minutes``.

    In: created, revived, retried, handed back, snoozed and sent to wait for a signal,
    though what is scheduled or waits may come to its queue later.
    Out: attempts that succeeded or failed. A queue on which nothing happened is left out.
    """
    end = _floor(timezone.now(), timedelta(minutes=1))
    rows = (
        JobCount.objects.filter(
            period=Period.MINUTE, at__gte=end - timedelta(minutes=minutes), at__lt=end, fingerprint="",
            outcome__in={*INCOMING, *ENDED},
        )
        .exclude(queue="")
        .values_list("queue", "outcome")
        .annotate(total=Sum("count"))
    )  # fmt: skip
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for queue, outcome, total in rows:
        sums[queue][0] += total if outcome in INCOMING else 0
        sums[queue][1] += total if outcome in ENDED else 0
    return {queue: Rate(came / minutes, left / minutes) for queue, (came, left) in sums.items()}


def type_stats(only: Collection[str] | None = None) -> dict[str, TypeStats]:
    """How the attempts of each type, or of those of ``only``, ended in the last 24 hours, by whole hours."""
    rows = _of_types(only).annotate(total=Sum("count"), **{f"sum_{name}": Sum(name) for name in BUCKET_FIELDS})
    runs: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    buckets: dict[str, list[int]] = {}
    for job_type, outcome, total, *sums in rows:
        runs[job_type] += total
        if outcome == Outcome.SUCCEEDED:
            buckets[job_type] = sums
        else:
            failures[job_type] += total
    return {
        name: TypeStats(number, failures[name], *(quantile(buckets.get(name, []), share) for share in (0.5, 0.95)))
        for name, number in runs.items()
    }


class TypeCounts(NamedTuple):
    """How many attempts of a type ended in the last 24 hours, and how many of them failed."""

    runs: int
    failures: int

    @property
    def share(self) -> float:
        """Of the attempts that failed."""
        return self.failures / self.runs if self.runs else 0.0


def type_counts() -> dict[str, TypeCounts]:
    """The same of every type, without the durations, which are most of the work."""
    runs: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for job_type, outcome, total in _of_types().annotate(total=Sum("count")):
        runs[job_type] += total
        failures[job_type] += 0 if outcome == Outcome.SUCCEEDED else total
    return {name: TypeCounts(number, failures[name]) for name, number in runs.items()}


def _of_types(only: Collection[str] | None = None) -> QuerySet[JobCount, Any]:
    rows = JobCount.objects.exclude(job_type="") if only is None else JobCount.objects.filter(job_type__in=list(only))
    first = SPANS["24h"].began()
    if only is not None and len(only) == 1:
        when = Q(at__gte=first)  # an index leads to its rows; with hours by name PostgreSQL reads those of all types
    else:
        # Each hour by name: PostgreSQL takes what is after a time for many times the rows, and calls helpers to read
        # them. One more: the database's clock may be ahead of ours.
        when = Q(at__in=[first + HOUR * number for number in range(25)])
    rows = rows.filter(when, period=Period.HOUR, fingerprint="", outcome__in=ENDED)
    return rows.order_by().values_list("job_type", "outcome")


def group_counts(fingerprints: Collection[str]) -> dict[str, GroupCounts]:
    """The failures of each group of ``fingerprints``; zeros for one that did not fail lately."""
    hour, day, week = (SPANS[span].began() for span in ("1h", "24h", "7d"))
    rows = JobCount.objects.filter(HAS_FINGERPRINT, fingerprint__in=list(fingerprints))
    sparks = {fingerprint: [0] * 24 for fingerprint in fingerprints}
    again: Counter[str] = Counter()
    hourly = rows.filter(period=Period.HOUR, at__gte=day, at__lt=day + DAY).values_list("fingerprint", "at")
    retried = Sum("count", filter=Q(outcome=Outcome.RETRIED), default=0)
    for fingerprint, at, count, number in hourly.annotate(total=Sum("count"), again=retried):
        sparks[fingerprint][(at - day) // HOUR] += count
        again[fingerprint] += number
    hours: Counter[str] = Counter()
    types: defaultdict[str, Counter[str]] = defaultdict(Counter)
    latest = Q(period=Period.MINUTE, at__gte=hour)
    whole_day = _floor(week + DAY - HOUR, DAY)  # before it the week has hours only; days are fewer rows
    weekly = Q(period=Period.HOUR, at__gte=week, at__lt=whole_day) | Q(period=Period.DAY, at__gte=whole_day)
    sums = rows.filter(latest | weekly).values_list("fingerprint", "period", "job_type").annotate(total=Sum("count"))
    for fingerprint, period, job_type, count in sums:
        if period == Period.MINUTE:
            hours[fingerprint] += count
        else:
            types[fingerprint][job_type] += count
    return {
        fingerprint: GroupCounts(
            hours[fingerprint],
            sum(spark),
            again[fingerprint],
            types[fingerprint].total(),
            spark,
            sorted(types[fingerprint], key=lambda name: (-types[fingerprint][name], name)),
        )
        for fingerprint, spark in sparks.items()
    }


GROUP_SPANS = {"24h": (HOUR, Period.HOUR, 24), "30d": (DAY, Period.DAY, 30)}


class GroupCurve(NamedTuple):
    """The failed attempts of one group over a time: evenly spaced, oldest first; and how many of each type."""

    points: list[Point]
    types: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.types.values())


def group_curve(fingerprint: str, span: str) -> GroupCurve:
    """The last 24 hours by the hour, or the last 30 days by the day: the present one is the last, and still growing."""
    step, period, number = GROUP_SPANS[span]
    first = _floor(timezone.now(), step) - (number - 1) * step
    rows = JobCount.objects.filter(HAS_FINGERPRINT, fingerprint=fingerprint, period=period, at__gte=first)
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)
    types: Counter[str] = Counter()
    for at, outcome, job_type, count in rows.values_list("at", "outcome", "job_type", "count"):
        if (place := (at - first) // step) < number:
            found[place][outcome] += count
            types[job_type] += count
    points = [
        Point(first + place * step, failed=found[place][Outcome.FAILED], retried=found[place][Outcome.RETRIED])
        for place in range(number)
    ]
    return GroupCurve(points, dict(types.most_common()))


def failed_today(fingerprints: Collection[str]) -> dict[str, int]:
    """How many attempts of each group of ``fingerprints`` failed in the last 24 hours; those without are left out."""
    day = SPANS["24h"].began()
    rows = JobCount.objects.filter(
        HAS_FINGERPRINT, fingerprint__in=list(fingerprints), period=Period.HOUR, at__gte=day, at__lt=day + DAY
    )
    return dict(rows.order_by().values_list("fingerprint").annotate(total=Sum("count")))


def new_groups(since: datetime, limit: int = 5) -> list[FailureGroup]:
    """The newest groups whose first failure came after ``since``."""
    # last_at is never before first_at, and has an index.
    return list(
        FailureGroup.objects.filter(last_at__gte=since, first_at__gte=since).order_by("-last_at", "-pk")[:limit]
    )


def stirred_groups(since: datetime, limit: int = 50) -> list[FailureGroup]:
    """The newest open failure groups that began after ``since`` or came back, those seen last first."""
    began_or_back = Q(state=GroupState.OPEN, first_at__gte=since) | Q(state=GroupState.REGRESSED)
    return list(FailureGroup.objects.filter(began_or_back, last_at__gte=since).order_by("-last_at", "-pk")[:limit])


def _floor(at: datetime, step: timedelta) -> datetime:
    """The last multiple of ``step`` since midnight UTC that is not after ``at``."""
    at = at.astimezone(UTC)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (at - midnight) // step * step
