"""The SQL of events and their deliveries: many at once, in few statements. It decides nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from django.db import connections

from handlers.models import Delivery, DeliveryState, EventRecord, JobRecord
from handlers.models.sql import (
    among,
    as_ids,
    as_rows,
    chunks,
    database_now,
    fetch,
    from_time,
    insert,
    is_postgresql,
    listed,
    prepared,
    rows_cte,
    to_time,
)

EVENTS, DELIVERIES, JOBS = EventRecord._meta.db_table, Delivery._meta.db_table, JobRecord._meta.db_table
CHUNK = 1_000
EVENT = {
    "event_type": "text", "data": "json", "correlation": "text", "job_id": "id", "context": "json", "release": "text",
}  # fmt: skip
DELIVERY = {
    "event_id": "id", "subscriber": "text", "stream": "text", "key": "text", "value": "text", "job_id": "id",
    "state": "text", "error": "text",
}  # fmt: skip
TAKEN = {"id": "id", "state": "text", "saga_id": "id", "error": "text"}


class NewEvent(NamedTuple):
    """An event to be. ``data``: its fields, as JSON text."""

    event_type: str
    data: str
    correlation: str
    job_id: int | None  # whose handler publishes it
    context: str | None  # what travels with it, as JSON text
    release: str


class NewDelivery(NamedTuple):
    """A delivery to be."""

    event_id: int
    subscriber: str
    stream: str
    key: str
    value: str
    job_id: int


class Coming(NamedTuple):
    """A delivery that is not over, with its event, ours until the transaction ends; and where its job is."""

    id: int
    event_id: int
    stream: str
    key: str
    value: str
    job_id: int
    state: str
    event_type: str
    data: str  # JSON text
    correlation: str
    context: str | None
    release: str
    published_at: datetime
    job_state: str | None  # None: the job is erased


class OfJob(NamedTuple):
    """A delivery, and where it is."""

    id: int
    subscriber: str
    stream: str
    state: str
    job_id: int
    key: str
    value: str


class Taken(NamedTuple):
    """What has become of a delivery: its state, the saga that has it, and why it failed."""

    id: int
    state: DeliveryState
    saga_id: int | None = None
    error: str = ""


def add_events(events: Sequence[NewEvent], *, using: str) -> list[int]:
    """Write events; their ids in the same order."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    ids: list[int] = []
    for some in chunks(events, CHUNK):
        params: list[Any] = [as_rows(connection, some)]
        if not postgresql:
            params.append(to_time(connection, database_now(connection)))
        # In the order of the rows, so that of the ids is the order in which they were published.
        ids += sorted(event_id for (event_id,) in fetch(connection, _add_events_sql(postgresql=postgresql), params))
    return ids


@cache
def _add_events_sql(*, postgresql: bool) -> str:
    names = ", ".join(EVENT)
    if postgresql:
        cte, now, order = rows_cte("v", EVENT, place="place"), "statement_timestamp()", "ORDER BY place"
    else:
        cte, now, order = rows_cte("v", EVENT, postgresql=False), "%s", "WHERE TRUE"
    return f"WITH {cte} INSERT INTO {EVENTS} ({names}, published_at) SELECT {names}, {now} FROM v {order} RETURNING id"


def add_deliveries(deliveries: Sequence[NewDelivery], *, using: str) -> None:
    """Write deliveries, none of which anybody has come to."""
    values = [(*each, DeliveryState.WAITING.value, "") for each in deliveries]
    insert(connections[using], Delivery, DELIVERY, values)


def lock_streams_of(names: Sequence[str], events: Sequence[int], each: int, *, using: str) -> list[Coming]:
    """The deliveries that are to come of the streams that these events belong to, each stream's first ``each``.

    To one subscriber (``names``: all it is or was called). By stream, and in order; whoever else wants one of them
    waits until the transaction ends.
    """
    return _lock_streams(names, each, using, {"events": events})


def lock_streams(names: Sequence[str], streams: Sequence[str], each: int, *, using: str) -> list[Coming]:
    """The same of streams that are known."""
    return _lock_streams(names, each, using, {"streams": streams})


def _lock_streams(names: Sequence[str], each: int, using: str, which: dict[str, Sequence[Any]]) -> list[Coming]:
    connection = connections[using]
    postgresql = is_postgresql(connection)
    sql = _streams_sql(postgresql=postgresql, is_one=len(names) == 1, by_event="events" in which)
    params = {"name": names[0], "names": _listed(names, postgresql), "each": each}
    params |= {name: _listed(values, postgresql) for name, values in which.items()}
    return [_coming(row) for row in fetch(connection, sql, params)]


def _listed(values: Sequence[Any], postgresql: bool) -> Any:
    return list(values) if postgresql else json.dumps(list(values))


def _within(name: str, kind: str, *, postgresql: bool) -> str:
    """The condition that a value is one of the parameter ``name``."""
    return f"= ANY (%({name})s::{kind}[])" if postgresql else f"IN (SELECT value FROM json_each(%({name})s))"


@cache
def _streams_sql(*, postgresql: bool, is_one: bool, by_event: bool) -> str:
    subscriber = "= %(name)s" if is_one else _within("names", "text", postgresql=postgresql)
    if by_event:
        streams = f"""SELECT DISTINCT stream FROM {DELIVERIES}
            WHERE event_id {_within("events", "bigint", postgresql=postgresql)} AND subscriber {subscriber}
            AND stream <> '' AND state IN ('waiting', 'failed') ORDER BY stream"""
    elif postgresql:
        streams = "SELECT stream FROM unnest(%(streams)s::text[]) AS stream ORDER BY stream"
    else:
        streams = "SELECT value AS stream FROM json_each(%(streams)s)"
    first = f"""FROM {DELIVERIES} d WHERE d.subscriber {subscriber} AND d.stream = v.stream
        AND d.state IN ('waiting', 'failed') ORDER BY d.id LIMIT %(each)s"""
    beside = f"JOIN {EVENTS} e ON e.id = d.event_id LEFT JOIN {JOBS} j ON j.id = d.job_id"
    if postgresql:
        # One stream after another, and each from its first on: so two that want the same wait for each other, and
        # not each for each.
        return f"""SELECT {_columns(postgresql=True)}
            FROM ({streams}) v CROSS JOIN LATERAL (SELECT d.* {first} FOR UPDATE) d {beside} ORDER BY d.stream, d.id"""
    return f"""SELECT {_columns(postgresql=False)}
        FROM ({streams}) v JOIN {DELIVERIES} d ON d.id IN (SELECT d.id {first}) {beside} ORDER BY d.stream, d.id"""


def lock_own(names: Sequence[str], events: Sequence[int], *, using: str) -> list[Coming]:
    """The deliveries of these events to one subscriber, in whatever state they are, by id; locked as well."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    params = {"names": _listed(names, postgresql), "events": _listed(events, postgresql)}
    return [_coming(row) for row in fetch(connection, _own_sql(postgresql=postgresql), params)]


@cache
def _own_sql(*, postgresql: bool) -> str:
    return f"""
        SELECT {_columns(postgresql=postgresql)}
        FROM {DELIVERIES} d JOIN {EVENTS} e ON e.id = d.event_id LEFT JOIN {JOBS} j ON j.id = d.job_id
        WHERE d.event_id {_within("events", "bigint", postgresql=postgresql)}
            AND d.subscriber {_within("names", "text", postgresql=postgresql)}
        ORDER BY d.id {"FOR UPDATE OF d" if postgresql else ""}
    """


def lock_early(names: Sequence[str], keys: Sequence[tuple[str, str]], *, using: str) -> list[Coming]:
    """The deliveries that wait for the sagas of these keys (name and value) to start, by id, and locked.

    But those that somebody else has: whoever that is looks for the saga last of all.
    """
    connection = connections[using]
    postgresql = is_postgresql(connection)
    params = [as_rows(connection, [(name, key, value) for name in names for key, value in keys])]
    return [_coming(row) for row in fetch(connection, _early_sql(postgresql=postgresql), params)]


@cache
def _early_sql(*, postgresql: bool) -> str:
    cte = rows_cte("v", {"subscriber": "text", "key": "text", "value": "text"}, postgresql=postgresql)
    return f"""
        WITH {cte}
        SELECT {_columns(postgresql=postgresql)}
        FROM v JOIN {DELIVERIES} d ON d.subscriber = v.subscriber AND d.key = v.key AND d.value = v.value
            AND d.state = 'early'
        JOIN {EVENTS} e ON e.id = d.event_id LEFT JOIN {JOBS} j ON j.id = d.job_id
        ORDER BY d.id {"FOR UPDATE OF d SKIP LOCKED" if postgresql else ""}
    """


def _columns(*, postgresql: bool) -> str:
    text = "::text" if postgresql else ""
    return f"""d.id, d.event_id, d.stream, d.key, d.value, d.job_id, d.state, e.event_type, e.data{text},
        e.correlation, e.context{text}, e.release, e.published_at, j.state"""


def _coming(row: Sequence[Any]) -> Coming:
    *before, published_at, job_state = row
    at = from_time(published_at)
    assert at is not None
    return Coming._make((*before, at, job_state))


def of_jobs(ids: Sequence[int], *, using: str) -> list[OfJob]:
    """The deliveries that these jobs bring, by id: none for nearly all jobs that are asked about."""
    connection = connections[using]
    sql = _jobs_sql(is_postgresql(connection))
    return [OfJob._make(row) for row in fetch(connection, sql, [as_ids(connection, listed(ids))])]


@cache
def _jobs_sql(postgresql: bool) -> str:
    return f"SELECT {', '.join(OfJob._fields)} FROM {DELIVERIES} WHERE job_id {among(postgresql)} ORDER BY id"


def keep(taken: Sequence[Taken], *, using: str) -> None:
    """Write down what has become of deliveries. What is over stays so, whoever comes late with something else."""
    if not taken:
        return
    connection = connections[using]
    postgresql = is_postgresql(connection)
    params = [as_rows(connection, [(each.id, each.state.value, each.saga_id, each.error) for each in taken])]
    if not postgresql:
        params.append(to_time(connection, database_now(connection)))
    with prepared(connection) as cursor:
        cursor.execute(_keep_sql(postgresql=postgresql), params)


@cache
def _keep_sql(*, postgresql: bool) -> str:
    now = "statement_timestamp()" if postgresql else "%s"
    return f"""
        WITH {rows_cte("v", TAKEN, postgresql=postgresql)}
        UPDATE {DELIVERIES} SET state = v.state, saga_id = v.saga_id, error = v.error,
            taken_at = CASE WHEN v.state IN ('waiting', 'early', 'failed') THEN NULL ELSE {now} END
        FROM v WHERE {DELIVERIES}.id = v.id AND {DELIVERIES}.state NOT IN ('done', 'ignored')
    """
