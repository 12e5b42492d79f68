"""Where a job comes from and what it has brought about: its ancestors and its descendants, with their times, as a tree.

A job's parent is the one whose handler enqueued it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connections
from django.http import HttpRequest

from dashboard.kit.reach import seen
from handlers.models import JobPayload, JobRecord
from handlers.models.kept import database
from handlers.models.sql import from_time, is_postgresql
from handlers.selection import Reach
from handlers.states import State

UP, DOWN = 3, 2  # levels
MOST = 50  # jobs of a level
EACH = 10  # of one parent, on the lowest level: so that none takes the room of the others
JOBS, PAYLOADS = JobRecord._meta.db_table, JobPayload._meta.db_table
READ = ("pk", "state", "job_type", "queue", "failures", "started_at", "finished_at")


class _Row(NamedTuple):
    """A job as it is read: so many levels below the one, or above."""

    level: int
    parent_id: int
    record: JobRecord  # READ of it


@dataclass
class Kin:
    """One job of the tree."""

    record: JobRecord  # READ of it
    is_here: bool = False  # whose page this is
    children: list[Kin] = field(default_factory=list)
    more: bool = False  # whether it has children that are not shown

    @property
    def started_at(self) -> datetime | None:
        """When its last attempt began; None: none has."""
        return self.record.started_at

    @property
    def took(self) -> timedelta | None:
        """From there to its end."""
        record = self.record
        if record.started_at is None or record.finished_at is None or record.state not in (
            State.SUCCEEDED, State.FAILED, State.DELETED,
        ):  # fmt: skip
            return None
        return max(record.finished_at - record.started_at, timedelta(0))

    def runs_for(self, now: datetime) -> timedelta | None:
        """How long it has been running; None: it does not run."""
        record = self.record
        if record.state != State.PROCESSING or record.started_at is None:
            return None
        return max(now - record.started_at, timedelta(0))


@dataclass(frozen=True)
class Line:
    """A node as the page has it: the tree level by level, so that it can be read aloud."""

    kin: Kin
    runs_for: timedelta | None
    below: list[Line]


@dataclass(frozen=True)
class Lineage:
    """The tree from its top."""

    top: Line
    older: int | None = None  # the parent of the top, which is further up than is shown
    aged_out: int | None = None  # the parent of the top, which is gone


def lineage(request: HttpRequest, record: JobRecord, payload: JobPayload | None, now: datetime) -> Lineage | None:
    """Of ``record``, as far as this person may see it; None where it has neither parent nor children."""
    if payload is None:
        return None
    reach = seen(request)
    rows = _read(record.pk)
    here = Kin(record, is_here=True)
    _descend(reach, here, rows)
    above = {row.level: row for row in rows if row.level < 0}
    top, further, aged_out = here, payload.parent_id, None
    for level in range(-1, -UP - 2, -1):
        row = above.get(level)
        if further is None or (row is not None and not _covers(reach, row)):
            further = None
            break
        if row is None:  # nobody can tell any more whether one that aged out was within
            further, aged_out = None, further if reach.is_whole else None
            break
        if level == -UP - 1:
            break  # one more, which is named
        top, further = Kin(row.record, children=[top]), row.parent_id
    if top is here and not here.children and aged_out is None:
        return None
    return Lineage(_line(top, now), older=further, aged_out=aged_out)


def _covers(reach: Reach, row: _Row) -> bool:
    return reach.covers(row.record.job_type, row.record.queue)


def _descend(reach: Reach, here: Kin, rows: Sequence[_Row]) -> None:
    parents = {here.record.pk: here}
    for level in range(1, DOWN + 1):
        found: list[tuple[int, _Row]] = []
        seen_of: Counter[int] = Counter()
        for row in rows:
            if row.level == level and row.parent_id in parents:
                found.append((seen_of[row.parent_id], row))
                seen_of[row.parent_id] += 1
        below: dict[int, Kin] = {}
        for _, row in sorted(found, key=itemgetter(0)):  # each parent's newest first, then each one's second
            parent = parents[row.parent_id]
            if len(below) == MOST or (level == DOWN and len(parent.children) == EACH):
                parent.more = True
            elif _covers(reach, row):
                below[row.record.pk] = kin = Kin(row.record)
                parent.children.insert(0, kin)  # as they were enqueued
        parents = below


def _read(job_id: int) -> list[_Row]:
    """Its ancestors, one more than are shown, and its descendants, each level's newest first; in one statement."""
    connection = connections[database()]
    with connection.cursor() as cursor:
        cursor.execute(_sql(is_postgresql(connection)), [job_id, job_id])
        return [_Row(level, parent_id, _record(*values)) for level, parent_id, *values in cursor.fetchall()]


def _record(*values: Any) -> JobRecord:
    *plain, started_at, finished_at = values
    return JobRecord(**dict(zip(READ, (*plain, from_time(started_at), from_time(finished_at)), strict=True)))


@cache
def _sql(postgresql: bool) -> str:
    gather, spread, none = (
        ("jsonb_agg", "jsonb_array_elements_text", "'[]'::jsonb")
        if postgresql
        else ("json_group_array", "json_each", "'[]'")
    )
    newest = f"SELECT job_id FROM {PAYLOADS} WHERE parent_id = one.id ORDER BY job_id DESC LIMIT {EACH + 1}"  # noqa: S608
    children = f"{spread}(COALESCE((SELECT {gather}(x.job_id) FROM ({newest}) AS x), {none}))"  # noqa: S608
    value = "CAST(child.value AS bigint)" if postgresql else "child.value"
    # Read by keys and by the parents' index alone, whatever else there is.
    return f"""
        WITH RECURSIVE up (level, id, parent_id) AS (
            SELECT 0, job_id, parent_id FROM {PAYLOADS} WHERE job_id = %s
            UNION ALL
            SELECT up.level - 1, p.job_id, p.parent_id FROM up JOIN {PAYLOADS} p ON p.job_id = up.parent_id
            WHERE up.level >= {-UP}
        ),
        one (level, id, parent_id) AS (
            SELECT 1, job_id, parent_id FROM {PAYLOADS} WHERE parent_id = %s ORDER BY job_id DESC LIMIT {MOST + 1}
        ),
        two (level, id, parent_id) AS (
            SELECT 2, {value}, one.id FROM one CROSS JOIN {children} AS child {"(value)" if postgresql else ""}
        ),
        kin AS (SELECT * FROM up UNION ALL SELECT * FROM one UNION ALL SELECT * FROM two)
        SELECT kin.level, kin.parent_id, {", ".join(f"j.{name}" for name in ("id", *READ[1:]))}
        FROM kin JOIN {JOBS} j ON j.id = kin.id
        ORDER BY kin.level, kin.parent_id DESC, kin.id DESC
    """  # noqa: S608 - names and numbers of our own


def _line(kin: Kin, now: datetime) -> Line:
    return Line(kin, kin.runs_for(now), [_line(child, now) for child in kin.children])
