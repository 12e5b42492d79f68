"""The counts on the job list's tabs: each bounded, all in one statement, or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from django.db import connections

from dashboard.kit import statements
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.queries import CAP, RETRYING, STATES, Count
from handlers.bounded import first
from handlers.models import JobRecord
from handlers.models.kept import database
from handlers.models.sql import to_time
from handlers.selection import Selection, stored_names
from handlers.states import State

LOOK = 1_000  # jobs of each state that are told apart by their names; of more, a count is the least there is
TABS_SECONDS = 0.03  # a count that takes longer is not worth the wait
INDEXED = {State.FAILED.value: "job_type", State.ENQUEUED.value: "queue"}  # by which an index tells the state's apart


def tab_counts(selection: Selection, listed: Sequence[JobRecord] | None = None) -> dict[str, Count]:
    """Capped counts by state of what ``selection`` leaves; none where they cannot be had at once.

    ``listed``: all of its jobs, where they are known already.
    """
    if listed is not None:
        return _told_apart((job.state, job.failures) for job in listed)
    if selection.states or selection.looks_at_newest:
        return {}
    try:
        with time_limit(TABS_SECONDS):
            if _finds_few(selection):
                rows = list(selection.rows().values_list("state", "failures")[: CAP + 1])
                return _told_apart(rows, more=len(rows) > CAP)
            is_by_name = selection.is_by_name and not selection.within
            return _of_names(selection) if is_by_name else _of_each_state(selection)
    except TookTooLong:
        return {}


def _finds_few(selection: Selection) -> bool:
    """Whether what it asks for is on few jobs, each found by an index."""
    few = selection.arguments, selection.ids, selection.correlation, selection.tags
    by_number = selection.parent, selection.operation, selection.workflow
    return any(few) or any(number is not None for number in by_number)


def _told_apart(rows: Iterable[tuple[str, int]], *, more: bool = False) -> dict[str, Count]:
    """Counts of ``rows``, which are state and failures; with ``more`` the least there are."""
    counts: Counter[str] = Counter()
    for state, failures in rows:
        counts[state] += 1
        counts[RETRYING] += bool(state == State.SCHEDULED and failures)
    return {state: Count.of(counts[state], more=more) for state in STATES if counts[state] or not more}


def _of_each_state(selection: Selection) -> dict[str, Count]:
    """Counts of what times or a failure group narrow, looking at no more than CAP + 1 jobs of each state."""
    using = database()
    selection = selection.pinned()  # its times are looked up once
    parts: list[str] = []
    params: list[Any] = []
    for place, state in enumerate(STATES):
        rows = replace(selection, states=(state,)).rows(using)
        sql, values = rows.values("pk")[: CAP + 1].query.get_compiler(using).as_sql()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted_{place})")  # noqa: S608 - the ORM's own
        params += values
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", params)
        found = cursor.fetchone()
    return {state: Count.of(number) for state, number in zip(STATES, found, strict=True)}


def _of_names(selection: Selection) -> dict[str, Count]:
    """Counts of types or queues among the first jobs of each state, where no index tells them apart.

    Without ``succeeded``: nearly all jobs are, so that the first of them say nothing.
    """
    connection = connections[database()]
    names = sorted({stored for name in selection.types for stored in stored_names(name)})
    conditions: dict[str, tuple[str, Sequence[Any]]] = {
        "job_type": (f"job_type IN ({_places(names)})", names),
        "queue": (f"queue IN ({_places(selection.queues)})", selection.queues),
        "since": ("created_at >= %s", [to_time(connection, selection.since)] if selection.since else ()),
        "until": ("created_at < %s", [to_time(connection, selection.until)] if selection.until else ()),
    }
    given = {name: (sql, values) for name, (sql, values) in conditions.items() if values}
    fits = " AND ".join(sql for sql, _ in given.values())
    chosen = [value for _, values in given.values() for value in values]
    parts: list[str] = []
    params: list[Any] = []
    for state in statements.STATES:
        named, values = given.get(INDEXED.get(state, ""), ("", ()))
        some = first(state, "job_type, queue, created_at", LOOK, named)
        counted = f"SELECT '{state}', COUNT(*), SUM(CASE WHEN {fits} THEN 1 ELSE 0 END)"
        parts.append(f"{counted} FROM ({some}) AS some_{state}")
        params += [*chosen, *values]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), params)
        rows = cursor.fetchall()
    counts = {}
    for state, looked, found in rows:
        number, more = int(found or 0), looked > LOOK
        if number or not more:
            counts[state] = Count.of(number, more=more)
    return counts


def _places(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))
