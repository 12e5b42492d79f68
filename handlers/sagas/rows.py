"""The SQL of sagas: many at once, in few statements. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from django.db import connections

from handlers.models import JobPayload, SagaKey, SagaRecord, SagaTimeout, SagaTurn
from handlers.models.sql import as_rows, fetch, insert, is_postgresql, prepared, rows_cte, to_time

SAGAS, KEYS, TIMEOUTS = SagaRecord._meta.db_table, SagaKey._meta.db_table, SagaTimeout._meta.db_table
Key = tuple[str, str]  # its name, and its value as JSON

NEW = {"place": "int", "saga_type": "text", "label": "text", "data": "json", "correlation": "text"}
KEY = {"saga_type": "text", "name": "text", "value": "text", "saga_id": "id"}
CHANGE = {
    "id": "id", "data": "json", "turns": "int", "stuck_at": "time", "completed": "bool", "error": "text",
    "unreadable": "text",
}  # fmt: skip
TURN = {
    "saga_id": "id", "at": "time", "kind": "text", "name": "text", "event_id": "id", "job_id": "id", "asked": "json",
    "before": "json", "after": "json", "error": "text", "actor": "text", "reason": "text",
}  # fmt: skip
TIMEOUT = {"saga_id": "id", "name": "text", "job_id": "id", "due_at": "time"}


class Row(NamedTuple):
    """A saga, ours until the transaction ends."""

    id: int
    data: str  # its state, as JSON text
    correlation: str
    turns: int
    is_complete: bool
    error: str
    unreadable: str


class NewTurn(NamedTuple):
    """A turn to be written down: as SagaTurn has it, in JSON text."""

    saga_id: int
    at: datetime
    kind: str
    name: str
    event_id: int | None
    job_id: int | None
    asked: str
    before: str | None
    after: str | None
    error: str = ""
    actor: str = ""
    reason: str = ""


def find(names: Sequence[str], keys: Iterable[Key], *, using: str) -> dict[Key, int]:
    """The sagas of these keys."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    params = [as_rows(connection, [(saga_type, *key, None) for key in sorted(keys) for saga_type in names])]
    return {(name, value): saga_id for name, value, saga_id in fetch(connection, _find_sql(postgresql), params)}


@cache
def _find_sql(postgresql: bool) -> str:
    return f"""
        WITH {rows_cte("v", KEY, postgresql=postgresql)}
        SELECT k.name, k.value, k.saga_id FROM v JOIN {KEYS} k
            ON k.saga_type = v.saga_type AND k.name = v.name AND k.value = v.value
        WHERE k.saga_id IS NOT NULL
    """


def lock(ids: Iterable[int], *, using: str) -> dict[int, Row]:
    """These sagas, ours until the transaction ends; locked by id, as everybody does."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    rows = fetch(connection, _lock_sql(postgresql), [as_rows(connection, [(saga_id,) for saga_id in sorted(ids)])])
    return {row[0]: Row._make((*row[:4], bool(row[4]), *row[5:])) for row in rows}


@cache
def _lock_sql(postgresql: bool) -> str:
    text, which = ("::text", "= ANY (ARRAY(SELECT id FROM v))") if postgresql else ("", "IN (SELECT id FROM v)")
    return f"""
        WITH {rows_cte("v", {"id": "id"}, postgresql=postgresql)}
        SELECT s.id, s.data{text}, s.correlation, s.turns, s.completed_at IS NOT NULL, s.error, s.unreadable
        FROM {SAGAS} s WHERE s.id {which} ORDER BY s.id {"FOR UPDATE OF s" if postgresql else ""}
    """


def add(sagas: Sequence[tuple[str, str, str, str]], now: datetime, stuck_at: datetime, *, using: str) -> list[int]:
    """Write new sagas (type, label, state, correlation); their ids in the same order."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    at = to_time(connection, now)
    values = [as_rows(connection, [(place, *each) for place, each in enumerate(sagas)])]
    rows = fetch(connection, _add_sql(postgresql), [*values, at, at, to_time(connection, stuck_at)])
    return sorted(saga_id for (saga_id,) in rows)  # in the order of the rows


@cache
def _add_sql(postgresql: bool) -> str:
    time = "::timestamptz" if postgresql else ""
    return f"""
        WITH {rows_cte("v", NEW, postgresql=postgresql)}
        INSERT INTO {SAGAS} (saga_type, label, data, correlation, turns, started_at, touched_at, stuck_at, completed_by,
                             error, unreadable)
        SELECT saga_type, label, data, correlation, 0, %s{time}, %s{time}, %s{time}, '', '', '' FROM v
        WHERE TRUE ORDER BY place
        RETURNING id
    """


def claim_keys(names: Sequence[str], keys: Mapping[Key, int | None], *, using: str) -> dict[Key, int | None]:
    """Give keys to sagas, or (None) to the one that is to start; those that are another one's, and whose.

    By all names of the type: a release that knows only the former is to find them, too. Who wants one that another
    transaction has given waits for its end, and finds out here.
    """
    connection = connections[using]
    rows = sorted((saga_type, *key, saga_id) for key, saga_id in keys.items() for saga_type in names)
    found = fetch(connection, _claim_sql(is_postgresql(connection)), [as_rows(connection, rows)])
    return {(name, value): saga_id for name, value, saga_id in found if saga_id != keys[name, value]}


@cache
def _claim_sql(postgresql: bool) -> str:
    return f"""
        WITH {rows_cte("v", KEY, postgresql=postgresql)}
        INSERT INTO {KEYS} (saga_type, name, value, saga_id) SELECT saga_type, name, value, saga_id FROM v
        WHERE TRUE ORDER BY saga_type, name, value
        ON CONFLICT (saga_type, name, value) DO UPDATE SET saga_id = COALESCE({KEYS}.saga_id, excluded.saga_id)
        RETURNING name, value, saga_id
    """


def change(changes: Sequence[Sequence[Any]], now: datetime, *, using: str) -> None:
    """Write down what has become of sagas (CHANGE) that are locked."""
    connection = connections[using]
    at = to_time(connection, now)
    with prepared(connection) as cursor:
        cursor.execute(_change_sql(is_postgresql(connection)), [as_rows(connection, changes), at, at, at])


@cache
def _change_sql(postgresql: bool) -> str:
    time = "::timestamptz" if postgresql else ""
    return f"""
        WITH {rows_cte("v", CHANGE, postgresql=postgresql)}
        UPDATE {SAGAS} SET data = v.data, turns = v.turns, touched_at = %s{time}, stuck_at = v.stuck_at,
            completed_at = CASE WHEN v.completed THEN %s{time} END,
            failed_at = CASE WHEN v.error <> '' THEN COALESCE(failed_at, %s{time}) END,
            error = v.error, unreadable = v.unreadable
        FROM v WHERE {SAGAS}.id = v.id
    """


def add_turns(turns: Sequence[NewTurn], *, using: str) -> None:
    """Write down turns."""
    insert(connections[using], SagaTurn, TURN, turns)


def may_cancel(saga_id: int | None, job_id: int, *, using: str) -> bool:
    """Whether the saga has asked for this job, or there is no such job any more.

    What it sends are children of the jobs that bring it something; where a unique job was there already, only what the
    saga is on record to have asked for knows of it.
    """
    rows = JobPayload.objects.using(using).filter(job_id=job_id).values_list("parent_id", flat=True)
    if not (parents := list(rows)):
        return True
    turns = SagaTurn.objects.using(using).filter(saga_id=saga_id)
    if parents[0] is not None and turns.filter(job_id=parents[0]).exists():
        return True
    return any(job_id in jobs_asked_for(asked) for asked in turns.values_list("asked", flat=True).iterator())


def jobs_asked_for(asked: Any) -> set[int]:
    """The jobs in what a turn has asked for, but those that it cancelled."""
    return {each["job"] for each in asked if each["do"] != "cancel" and "job" in each}


def timeouts_of(jobs: Sequence[int], *, using: str) -> dict[int, tuple[int, str]]:
    """Of which saga, and by which name, these jobs are the timeouts, where they are in force."""
    found = SagaTimeout.objects.using(using).filter(job_id__in=jobs).values_list("job_id", "saga_id", "name")
    return {job_id: (saga_id, name) for job_id, saga_id, name in found}


def replace_timeouts(timeouts: Sequence[tuple[int, str, int, datetime]], *, using: str) -> list[int]:
    """Write down timeouts (saga, name, job, time); the jobs of those whose places they take."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    rows = [(saga_id, name) for saga_id, name, *_ in timeouts]
    former = [job_id for (job_id,) in fetch(connection, _void_sql(postgresql), [as_rows(connection, rows)])]
    insert(connection, SagaTimeout, TIMEOUT, timeouts)
    return former


@cache
def _void_sql(postgresql: bool) -> str:
    return f"""
        WITH {rows_cte("v", {"saga_id": "id", "name": "text"}, postgresql=postgresql)}
        DELETE FROM {TIMEOUTS} WHERE (saga_id, name) IN (SELECT saga_id, name FROM v) RETURNING job_id
    """


def void_timeouts(*, jobs: Iterable[int] = (), sagas: Iterable[int] = (), using: str) -> list[int]:
    """Let these timeouts be over, by their jobs, or all of these sagas; their jobs."""
    found: list[int] = []
    for field, some in (("job_id__in", list(jobs)), ("saga_id__in", list(sagas))):
        if some:
            rows = SagaTimeout.objects.using(using).filter(**{field: some})
            found += rows.values_list("job_id", flat=True)
            rows.delete()
    return found
