"""Scheduled jobs whose time has come."""

from __future__ import annotations

from django.db import connections, transaction

from handlers.lifecycle.moves import Move, Step, apply, database
from handlers.models import JobRecord
from handlers.models.sql import database_now, is_postgresql
from handlers.states import State
from handlers.transport import Message


def promote_due(limit: int = 500) -> list[Message]:
    """Move up to ``limit`` jobs whose ``run_at`` has come to their queues, earliest first. Tokens stay."""
    alias = database()
    with transaction.atomic(using=alias):
        now = database_now(connections[alias])
        due = JobRecord.objects.using(alias).filter(state=State.SCHEDULED, run_at__lte=now).order_by("run_at", "pk")
        if is_postgresql(connections[alias]):
            due = due.select_for_update(skip_locked=True)
        rows = list(due.values_list("pk", "token", "queue")[:limit])
        moves = [
            Move(job_id=pk, token=token, source=State.SCHEDULED, steps=(Step(State.ENQUEUED, "due"),), keep_token=True)
            for pk, token, _ in rows
        ]
        applied = apply(moves, actor="scheduler", using=alias)
    # In the order of their due times, not of their ids.
    return [Message(pk, token, queue) for pk, token, queue in rows if pk in applied.moved]


def seconds_until_due() -> float | None:
    """Seconds until the next scheduled job is due by the database's clock (not below 0); None when there is none."""
    alias = database()
    run_at = (
        JobRecord.objects.using(alias)
        .filter(state=State.SCHEDULED)
        .order_by("run_at", "pk")
        .values_list("run_at", flat=True)
        .first()
    )
    if run_at is None:
        return None
    return max((run_at - database_now(connections[alias])).total_seconds(), 0.0)
