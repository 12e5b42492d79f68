"""Several capped counts in one statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import connections, router
from django.db.models import QuerySet

from dashboard.limits import TookTooLong, time_limit
from dashboard.queries import CAP, RETRYING, STATES, Count
from handlers.models import JobRecord
from handlers.selection import Selection, stored_names
from handlers.states import State

TABS_SECONDS = 0.03  # a count that takes longer is not worth the wait
LOOK = 2_000  # jobs of one state among which those of a type or queue are counted


def capped_many(rows: Mapping[str, QuerySet[JobRecord]], cap: int = CAP) -> dict[str, Count]:
    """How many there are of each of ``rows``, looking at no more than ``cap`` + 1 of each."""
    using = router.db_for_read(JobRecord)
    parts, params = [], []
    for place, query in enumerate(rows.values()):
        sql, values = query.using(using).values("pk")[: cap + 1].query.get_compiler(using).as_sql()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted_{place})")  # noqa: S608 - the ORM's own
        params += values
    if not parts:
        return {}
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", params)
        found = cursor.fetchone()
    return {name: Count(min(value, cap), value > cap) for name, value in zip(rows, found, strict=True)}


def tab_counts(selection: Selection) -> dict[str, Count]:
    """Capped counts by state of what ``selection`` leaves; none where they cannot be had at once."""
    if selection.states or selection.looks_at_newest:
        return {}
    try:
        with time_limit(TABS_SECONDS):
            if _finds_few(selection):
                return _told_apart(selection)
            selection = selection.pinned()  # its times are looked up once
            direct = [state for state in STATES if _has_index(selection, state)]
            counts = capped_many({state: _of_state(selection, state) for state in direct})
            return counts | _among_newest(selection, [state for state in STATES if state not in counts])
    except TookTooLong:
        return {}


def _finds_few(selection: Selection) -> bool:
    """Whether what it asks for is on few jobs, each found by an index."""
    few = selection.arguments, selection.ids, selection.correlation
    return any(few) or selection.parent is not None or selection.operation is not None


def _told_apart(selection: Selection) -> dict[str, Count]:
    """Counts from one read of the jobs; of more than are read, the least there are."""
    rows = list(selection.rows().values_list("state", "failures")[: CAP + 1])
    counts = Counter(state for state, _ in rows)
    counts[RETRYING] = sum(1 for state, failures in rows if state == State.SCHEDULED and failures)
    more = len(rows) > CAP
    return {state: Count(min(counts[state], CAP), more) for state in STATES if counts[state] or not more}


def _has_index(selection: Selection, state: str) -> bool:
    if not selection.types and not selection.queues:
        return True
    return state == State.SUCCEEDED or (state == State.FAILED and not selection.queues)


def _of_state(selection: Selection, state: str) -> QuerySet[JobRecord]:
    rows = replace(selection, states=(state,)).rows()
    # The newest of a type or queue lie close together.
    by_name = state == State.SUCCEEDED and (selection.types or selection.queues)
    return rows.order_by("-arguments__pk") if by_name else rows


def _among_newest(selection: Selection, states: list[str]) -> dict[str, Count]:
    """Counts of a type or queue among the newest jobs of each state: no index tells them apart."""
    if not states:
        return {}
    using = router.db_for_read(JobRecord)
    names = sorted({stored for name in selection.types for stored in stored_names(name)})
    fits: list[str] = []
    chosen: list[Any] = []
    for column, values in (("job_type", names), ("queue", selection.queues)):
        if values:
            fits.append(f"{column} IN ({', '.join(['%s'] * len(values))})")
            chosen += values
    parts: list[str] = []
    params: list[Any] = []
    for place, state in enumerate(states):
        newest = replace(selection, types=(), queues=(), states=(state,)).rows(using).order_by("-pk")
        sql, values = newest.values("job_type", "queue")[: LOOK + 1].query.get_compiler(using).as_sql()
        counted = f"SELECT {place} AS place, COUNT(*), SUM(CASE WHEN {' AND '.join(fits)} THEN 1 ELSE 0 END)"
        parts.append(f"{counted} FROM ({sql}) AS newest_{place}")
        params += [*chosen, *values]
    with connections[using].cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), params)
        rows = cursor.fetchall()
    counts = {}
    for place, looked, found in rows:
        number, more = int(found or 0), looked > LOOK or (found or 0) > CAP
        if number or not more:
            counts[states[place]] = Count(min(number, CAP), more)
    return counts
