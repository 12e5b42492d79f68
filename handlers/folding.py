"""The fold: sums what batches appended into counts per minute, hour, day and for ever, and into failure groups.

Part of every scheduler; one folds at a time. What it sums it deletes in the same transaction, so nothing is lost or
counted twice, whatever dies in the middle.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from handlers import failure_groups
from handlers.group_life import Seen, with_versions
from handlers.lifecycle import database
from handlers.models import AttemptError, FailureGroup, JobCount, JobCountDelta
from handlers.models.count import BUCKET_FIELDS, EPOCH, Outcome, Period
from handlers.models.sql import add_up, database_now, is_postgresql
from handlers.writing import writing

LOCK = 0x6A6F6273  # "jobs": the advisory lock of whoever folds
KEEP = {
    Period.MINUTE: timedelta(hours=26),
    Period.HOUR: timedelta(days=9),
    Period.DAY: timedelta(days=400),
}
FOLD_SECONDS = 1.0  # of a long backlog at once: a scheduler's other duties wait meanwhile
PRUNE_ROWS = 5_000  # of each period in one go
# What is written of a group with its failures: its life is written where it changes.
COUNTED = ("exception", "frame", "message", "last_at", "count", "last_job_id", "versions", "last_version")
KEY = ("period", "at", "queue", "job_type", "outcome", "fingerprint")
COLUMNS = {
    "period": "text", "at": "time", "queue": "text", "job_type": "text", "outcome": "text", "fingerprint": "text",
    "count": "id", "seconds": "float", **dict.fromkeys(BUCKET_FIELDS, "id"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delta:
    """One row that a batch appended."""

    pk: int
    minute: datetime
    queue: str
    job_type: str
    outcome: str
    fingerprint: str
    version: str
    count: int
    seconds: float
    buckets: dict[str, int] | None


def fold(limit: int = 10_000) -> int:
    """Sum up to ``limit`` of the oldest rows that are waiting; how many there were. 0 while another folds."""
    alias = database()
    connection = connections[alias]
    with writing(alias):
        if not _alone(connection):
            return 0
        waiting = JobCountDelta.objects.using(alias).order_by("pk")
        if is_postgresql(connection):
            waiting = waiting.select_for_update(skip_locked=True)
        deltas = [Delta(*row) for row in waiting.values_list(*(each.name for each in fields(Delta)))[:limit]]
        if deltas:
            _erase(JobCountDelta, [delta.pk for delta in deltas], alias)
            add_up(connection, JobCount, COLUMNS, _sums(deltas), key=KEY)
            _group(deltas, alias)
    return len(deltas)


def fold_all(passes: int = 5) -> int:
    """Fold until little is left, or for FOLD_SECONDS; how many were folded."""
    limit, folded, until = 10_000, 0, time.monotonic() + FOLD_SECONDS
    if not JobCountDelta.objects.using(database()).exists():  # without the lock that a fold takes
        return 0
    for _ in range(passes):
        folded += (found := fold(limit))
        if found < limit or time.monotonic() >= until:
            break
    return folded


def prune(limit: int = PRUNE_ROWS) -> bool:
    """Erase up to ``limit`` counts of each period that are past their time; whether there may be more."""
    alias = database()
    now = database_now(connections[alias])
    more = False
    for period, keep in KEEP.items():
        old = JobCount.objects.using(alias).filter(period=period, at__lt=now - keep).order_by("at", "pk")
        ids = list(old.values_list("pk", flat=True)[:limit])
        _erase(JobCount, ids, alias)
        more |= len(ids) == limit
    return more


def _alone(connection: BaseDatabaseWrapper) -> bool:
    if not is_postgresql(connection):
        return True  # one writer at a time in any case
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _erase(model: type[JobCount | JobCountDelta], ids: Sequence[int], alias: str) -> None:
    for start in range(0, len(ids), 10_000):
        rows = model._default_manager.using(alias).filter(pk__in=ids[start : start + 10_000])
        rows._raw_delete(alias)


def _sums(deltas: Iterable[Delta]) -> list[tuple[Any, ...]]:
    """The rows of JobCount to add, in the order of their keys."""
    width = 2 + len(BUCKET_FIELDS)
    sums: defaultdict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0, 0.0, *[0] * len(BUCKET_FIELDS)])
    for delta in deltas:
        add = [0.0] * width
        add[0], add[1] = delta.count, delta.seconds
        buckets = json.loads(delta.buckets) if isinstance(delta.buckets, str) else delta.buckets
        for index, number in (buckets or {}).items():
            add[2 + int(index)] += number
        for key in _keys(delta):
            total = sums[key]
            for place, value in enumerate(add):
                if value:
                    total[place] += value
    return [
        (*key, int(total[0]), float(total[1]), *(int(value) for value in total[2:]))
        for key, total in sorted(sums.items())
    ]


def periods(minute: datetime) -> list[tuple[str, datetime]]:
    """The periods that ``minute`` (UTC) counts in, each with its beginning."""
    hour = minute.replace(minute=0)
    return [(Period.MINUTE.value, minute), (Period.HOUR.value, hour), (Period.DAY.value, hour.replace(hour=0))]


def _keys(delta: Delta) -> Iterator[tuple[Any, ...]]:
    """Of each row that it adds to, as KEY has it: its own, the total's, and its failure group's."""
    own = delta.queue, delta.job_type, delta.outcome, ""
    keys = [own, ("", "", delta.outcome, "")]
    if delta.fingerprint and delta.outcome in (Outcome.FAILED, Outcome.RETRIED):
        keys.append(("", delta.job_type, delta.outcome, delta.fingerprint))
    for period, at in periods(delta.minute):
        for key in keys:
            yield (period, at, *key)
    yield (Period.TOTAL.value, EPOCH, *own)


@dataclass(slots=True)
class _Failures:
    """What the deltas say of one group."""

    first: datetime  # minutes
    last: datetime
    count: int = 0
    types: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)

    def add(self, delta: Delta) -> None:
        self.first, self.last = min(self.first, delta.minute), max(self.last, delta.minute)
        self.count += delta.count
        self.types.add(delta.job_type)
        self.versions[delta.version] = self.versions.get(delta.version, 0) + delta.count


def _group(deltas: Iterable[Delta], alias: str) -> None:
    """Add to the failure groups. Few kinds of failure come at once, so each costs statements of its own."""
    found: dict[str, _Failures] = {}
    for delta in deltas:
        if delta.fingerprint and delta.outcome in (Outcome.FAILED, Outcome.RETRIED):
            found.setdefault(delta.fingerprint, _Failures(delta.minute, delta.minute)).add(delta)
    if not found:
        return
    groups = FailureGroup.objects.using(alias)
    rows = groups.filter(pk__in=list(found)).order_by("pk")
    if is_postgresql(connections[alias]):
        rows = rows.select_for_update()  # people may be about to put one away
    known = {group.pk: group for group in rows}
    now = database_now(connections[alias])
    for fingerprint, failures in sorted(found.items()):
        errors = AttemptError.objects.using(alias).filter(fingerprint=fingerprint).defer("traceback")
        newest = errors.order_by("-pk").first()
        group = known.get(fingerprint) or FailureGroup(pk=fingerprint)
        is_new = fingerprint not in known
        before = [(str(version), int(count)) for version, count in group.versions or ()]
        versions = [version for version in failures.versions if version]
        group.versions = with_versions(before, failures.versions) or None
        group.last_at = max(failures.last, newest.at) if newest else failures.last
        group.count += failures.count
        group.last_version = (newest.version if newest else "") or (versions[-1] if versions else group.last_version)
        if newest:
            group.exception, group.frame, group.message = newest.exception, newest.frame, newest.message[:500]
            group.last_job_id = newest.job_id
        if is_new:
            oldest = errors.order_by("pk").first()
            group.first_at = oldest.at if oldest else failures.first
            group.first_version = (oldest.version if oldest else "") or (versions[0] if versions else "")
            if newest and not newest.frame and len(failures.types) == 1:
                (group.job_type,) = failures.types
            group.save(using=alias, force_insert=True)
            failure_groups.appeared(group, now)
        else:
            group.save(using=alias, update_fields=COUNTED)
            if not group.is_open:
                seen = [Seen(version, _last(errors, version, failures.last)) for version in failures.versions]
                failure_groups.happened(group, seen, frozenset(version for version, _ in before), now)


def _last(errors: QuerySet[AttemptError], version: str, minute: datetime) -> datetime:
    """When a version failed last; where that is erased already, the minute's end."""
    at = errors.filter(version=version).order_by("-pk").values_list("at", flat=True).first()
    return at or minute + timedelta(minutes=1)
