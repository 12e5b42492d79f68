"""Where a wait ends: by its signal, or because its time is over."""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.db import connections

from handlers.exceptions import InvalidJob
from handlers.failures import clean
from handlers.lifecycle.moves import Applied, Change, Move, Step, apply
from handlers.lifecycle.verbs import locked_rows
from handlers.models import JobRecord, JobSignal, SignalStatus
from handlers.models.kept import database
from handlers.models.sql import LOCK_JOBS, database_now, fetch, is_postgresql, to_time
from handlers.states import FINAL, State
from handlers.transport import Message
from handlers.wording import worded
from handlers.writing import writing

JOBS = JobRecord._meta.db_table


def signal(
    job_id: int,
    name: str,
    data: bytes,
    *,
    actor: str,
    reason: str = "",
    expect: Mapping[int, str] | None = None,
) -> Applied | None:
    """Give a job its signal, with ``data`` (JSON): one that waits for it goes on, for any other it is kept.

    None: there is no such job, or it has moved on from ``expect``. Raises InvalidJob (``name``) for a job that has
    ended, that waits for another one, or that has not read its last one of this name.
    """
    alias = database()
    with writing(alias):
        rows = locked_rows([job_id], expect, alias)
        if not rows:
            return None
        row = rows[0]
        known = JobSignal.objects.using(alias).filter(job_id=row.pk)
        if row.state in FINAL:
            raise _refusal("name: job %(job)s is %(state)s: it waits for no signal", job=row.pk, state=row.state)
        if row.state == State.WAITING:
            awaited = known.filter(status=SignalStatus.WAITS).values_list("name", flat=True).first()
            if awaited != name:
                raise _refusal(
                    "name: job %(job)s waits for %(awaited)s, not for %(name)s", job=row.pk, awaited=repr(awaited),
                    name=repr(name),
                )  # fmt: skip
        elif known.filter(name=name, status=SignalStatus.CAME, attempt__gte=row.attempt).exists():
            raise _refusal(
                "name: job %(job)s has got %(name)s already, and has not read it: send another one once it has",
                job=row.pk,
                name=repr(name),
            )
        now = database_now(connections[alias])
        facts = {"status": SignalStatus.CAME, "attempt": row.attempt, "at": now, "data": json.loads(data)}
        known.update_or_create(job_id=row.pk, name=name, defaults={**facts, "by": clean(actor, 150)})
        if row.state != State.WAITING:
            return Applied()
        why = f"{name} came{': ' if reason else ''}{reason}"
        change = Change(State.WAITING, (Step(State.ENQUEUED, why, {"signal": name}),))
        return apply([Move(row.pk, row.token, change)], actor=actor, using=alias)


def _refusal(text: str, **values: object) -> InvalidJob:
    return InvalidJob(worded(text, **values), field="name")


def end_waits(limit: int = 500) -> list[Message]:
    """Move up to ``limit`` jobs whose signal did not come in time to their queues, earliest first."""
    alias = database()
    connection = connections[alias]
    with writing(alias):
        now = database_now(connection)
        # A literal state: only so SQLite sees that the partial index fits.
        due = f"SELECT id, token FROM {JOBS} WHERE state = 'waiting' AND run_at <= %s ORDER BY run_at, id LIMIT %s"
        lock = f" {LOCK_JOBS} SKIP LOCKED" if is_postgresql(connection) else ""
        rows = fetch(connection, due + lock, [to_time(connection, now), limit])
        if not rows:
            return []
        waits = JobSignal.objects.using(alias).filter(job_id__in=[pk for pk, _ in rows], status=SignalStatus.WAITS)
        names = dict(waits.values_list("job_id", "name"))
        changes = {name: _timed_out(name) for name in {*names.values(), ""}}
        moves = [Move(pk, token, changes[names.get(pk, "")]) for pk, token in rows]
        applied = apply(moves, actor="scheduler", using=alias)
        waits.filter(job_id__in=applied.moved).update(status=SignalStatus.TIMED_OUT, at=now)
        return applied.messages


def _timed_out(name: str) -> Change:
    return Change(State.WAITING, (Step(State.ENQUEUED, f"{name} did not come in time", {"signal": name}),))
