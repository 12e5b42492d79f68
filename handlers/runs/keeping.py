"""What runs write, each under its job's token: one that has lost its job writes nothing any more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Max
from django.utils import timezone

from handlers.exceptions import JobCancelled
from handlers.models import JobHistory, JobStep, RunState
from handlers.models.kept import database
from handlers.models.sql import as_rows, fetch, is_postgresql, rows_cte, to_time
from handlers.states import State

JOBS, STATES, STEPS = "jobs_jobrecord", RunState._meta.db_table, JobStep._meta.db_table
# What a run tells while it goes on.
TOLD = {"id": "id", "attempt": "int", "done": "float", "total": "float", "message": "text", "lines": "json"}


class Place(NamedTuple):
    """Which run writes: of which job, by which claim, and as what it is known outside."""

    job_id: int
    token: str
    key: str


class Former(NamedTuple):
    """What earlier attempts have left to this one."""

    checkpoint: Any  # a JSON value; None: there is none
    steps: dict[str, JobStep]


def former(place: Place) -> Former:
    """What attempts of the same arguments have left, since the job succeeded last. Two or three small queries."""
    alias = database()
    succeeded = JobHistory.objects.using(alias).filter(job_id=place.job_id, to_state=State.SUCCEEDED)
    since = succeeded.aggregate(last=Max("attempt"))["last"] or 0
    steps = JobStep.objects.using(alias).filter(job_id=place.job_id, key=place.key, attempt__gt=since)
    states = RunState.objects.using(alias).filter(job_id=place.job_id, key=place.key, checkpoint_attempt__gt=since)
    return Former(states.values_list("checkpoint", flat=True).first(), {step.name: step for step in steps})


def save_checkpoint(place: Place, value: bytes) -> None:
    """Keep ``value`` (JSON) for the next attempt. Raises JobCancelled when the job is no longer this run's."""
    _write(place, _checkpoint_sql, value=value.decode())


def begin_step(place: Place, name: str) -> None:
    """The step has begun. Raises JobCancelled when the job is no longer this run's."""
    save_step(place, name, None, is_done=False)


def save_step(place: Place, name: str, value: bytes | None, *, is_done: bool, rows: int | None = None) -> None:
    """The step is done, with ``value`` (JSON); or it has come so far. Raises JobCancelled as the others."""
    data = None if value is None else value.decode()
    _write(place, _step_sql, name=name, value=data, is_done=is_done, number=rows)


def _write(place: Place, sql: Any, **values: Any) -> None:
    connection = connections[database()]
    params = {**place._asdict(), **values, "now": to_time(connection, timezone.now())}
    if not fetch(connection, sql(is_postgresql(connection)), params):
        raise JobCancelled(f"job {place.job_id} is no longer this run's: what it wanted to keep is not kept")


# Each reads the job's row without a lock: a lease that is renewed must not wait for a handler's transaction. What a run
# that has just lost its job still writes was true of it, and none writes over what a later attempt has written.
@cache
def _checkpoint_sql(postgresql: bool) -> str:
    now, value = _now(postgresql), _json(postgresql)
    return f"""
        INSERT INTO {STATES} (job_id, attempt, message, key, checkpoint, checkpoint_attempt, checkpoint_at)
        SELECT j.id, j.attempt, '', %(key)s, {value}, j.attempt, {now} FROM {JOBS} j
        WHERE j.id = %(job_id)s AND j.token = %(token)s AND j.state = 'processing'
        ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, key = excluded.key,
            checkpoint = excluded.checkpoint, checkpoint_attempt = excluded.checkpoint_attempt,
            checkpoint_at = excluded.checkpoint_at
        WHERE {STATES}.attempt <= excluded.attempt
        RETURNING job_id
    """


@cache
def _step_sql(postgresql: bool) -> str:
    now, value = _now(postgresql), _json(postgresql)
    number = "%(number)s::bigint" if postgresql else "%(number)s"
    return f"""
        INSERT INTO {STEPS} (job_id, name, key, attempt, started_at, finished_at, data, rows)
        SELECT j.id, %(name)s, %(key)s, j.attempt, {now}, CASE WHEN %(is_done)s THEN {now} END, {value}, {number}
        FROM {JOBS} j
        WHERE j.id = %(job_id)s AND j.token = %(token)s AND j.state = 'processing'
        ON CONFLICT (job_id, name) DO UPDATE SET key = excluded.key, attempt = excluded.attempt,
            started_at = CASE WHEN {STEPS}.attempt = excluded.attempt THEN {STEPS}.started_at
                ELSE excluded.started_at END,
            finished_at = excluded.finished_at, data = excluded.data, rows = excluded.rows
        WHERE {STEPS}.attempt <= excluded.attempt
        RETURNING job_id
    """


def _now(postgresql: bool) -> str:
    return "statement_timestamp()" if postgresql else "%(now)s"


def _json(postgresql: bool) -> str:
    return "%(value)s::jsonb" if postgresql else "%(value)s"


class Told(NamedTuple):
    """What one run tells of itself."""

    job_id: int
    attempt: int
    done: float | None
    total: float | None
    message: str
    lines: Sequence[Any] | None


def save_told(told: Sequence[Told]) -> None:
    """Write what runs tell of themselves, all at once; of jobs that have another attempt by now nothing."""
    connection = connections[database()]
    rows = [(*each[:-1], None if each.lines is None else json.dumps(each.lines)) for each in told]
    params = {"rows": as_rows(connection, rows), "now": to_time(connection, timezone.now())}
    fetch(connection, _told_sql(is_postgresql(connection)), params)


@cache
def _told_sql(postgresql: bool) -> str:
    now = _now(postgresql)
    return f"""
        WITH {rows_cte("v", TOLD, postgresql=postgresql, rows="%(rows)s")}
        INSERT INTO {STATES} (job_id, attempt, done, total, message, at, lines, key)
        SELECT j.id, j.attempt, v.done, v.total, v.message, CASE WHEN v.done IS NOT NULL THEN {now} END, v.lines, ''
        FROM v JOIN {JOBS} j ON j.id = v.id AND j.attempt = v.attempt
        WHERE TRUE
        ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, done = excluded.done, total = excluded.total,
            message = excluded.message, at = excluded.at, lines = excluded.lines
        WHERE {STATES}.attempt <= excluded.attempt
        RETURNING job_id
    """
