"""Workers take jobs under leases, renew them, and lose them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Exists, OuterRef

from handlers.failures import Failure
from handlers.lifecycle.counting import Tally
from handlers.lifecycle.moves import HISTORY_COLUMNS, JOBS, PAYLOADS, Applied, Move, Step, apply, database
from handlers.models import JobHistory, JobRecord
from handlers.models.count import Outcome
from handlers.models.sql import database_now, from_time, insert, is_postgresql, rows_cte, to_time
from handlers.states import State
from handlers.transport import Message


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker may run now."""

    job_id: int
    token: str
    job_type: str
    queue: str
    attempt: int
    failures: int
    crashes: int
    payload: Any
    correlation: str = ""


def claim(messages: Sequence[Message], *, worker: str, lease: timedelta) -> list[Claim]:
    """Take those of ``messages`` that still hold, in their order, under a lease in the name of ``worker``.

    Left out are outdated tokens, jobs on a paused queue or of a paused type, and, unless it is the only message, a job
    that must run alone because a worker was lost over it (see ``must_run_alone``).
    """
    if not messages:
        return []
    alias = database()
    connection = connections[alias]
    postgresql = is_postgresql(connection)
    cte, params = rows_cte(
        connection, "v", {"id": "id", "token": "text"}, [(m.job_id, m.token) for m in dict.fromkeys(messages)]
    )
    company = "" if len(messages) == 1 else "AND NOT j.alone"
    with transaction.atomic(using=alias):
        now = database_now(connection)
        # `state || ''` keeps the planner on the primary key: with stale statistics it would walk the whole partial
        # index of enqueued jobs instead. SKIP LOCKED, because a second message for the same job must not wait.
        lock, state = ("FOR UPDATE OF j SKIP LOCKED", "j.state || ''") if postgresql else ("", "j.state")
        cast = "::timestamptz" if postgresql else ""
        sql = f"""
            WITH {cte}, picked AS (
                SELECT j.id FROM v JOIN {JOBS} j ON j.id = v.id AND j.token = v.token
                WHERE {state} = 'enqueued' {company} AND NOT EXISTS (
                    SELECT 1 FROM jobs_queueswitch s WHERE s.name = j.queue AND (s.until IS NULL OR s.until > %s{cast})
                ) AND NOT EXISTS (
                    SELECT 1 FROM jobs_typeswitch t
                    WHERE t.name = j.job_type AND (t.until IS NULL OR t.until > %s{cast})
                )
                ORDER BY j.id {lock}
            )
            UPDATE {JOBS} SET state = 'processing', attempt = attempt + 1, started_at = %s{cast},
                finished_at = NULL, lease_expires_at = %s{cast}, worker = %s
            WHERE id IN (SELECT id FROM picked)
            RETURNING id, token, job_type, queue, attempt, failures, crashes, enqueued_at
        """
        stamp = to_time(connection, now)
        with connection.cursor() as cursor:
            cursor.execute(sql, [*params, stamp, stamp, stamp, to_time(connection, now + lease), worker])
            rows = cursor.fetchall()
            if not rows:
                return []
            marks = ", ".join(["%s"] * len(rows))
            cursor.execute(
                f"SELECT job_id, data, correlation FROM {PAYLOADS} WHERE job_id IN ({marks})",
                [row[0] for row in rows],
            )
            beside = {
                job_id: (json.loads(data) if isinstance(data, str) else data, correlation)
                for job_id, data, correlation in cursor
            }
        history, tally = [], Tally(now)
        for job_id, _, job_type, queue, attempt, _, _, enqueued_at in rows:
            since = from_time(enqueued_at)
            latency = max((now - since).total_seconds(), 0.0) if since else 0.0
            data = json.dumps({"worker": worker, "latency_seconds": round(latency, 6)})
            history.append((job_id, State.ENQUEUED, State.PROCESSING, now, attempt, "claimed", worker[:150], data))
            tally.add(queue, job_type, Outcome.STARTED, seconds=latency)
        insert(connection, JobHistory, HISTORY_COLUMNS, history)
        tally.save(connection)
    position = {message.job_id: index for index, message in enumerate(messages)}
    rows.sort(key=lambda row: position[row[0]])
    return [
        Claim(job_id, token, job_type, queue, attempt, failures, crashes, *beside.get(job_id, (None, "")))
        for job_id, token, job_type, queue, attempt, failures, crashes, _ in rows
    ]


def must_run_alone(messages: Sequence[Message]) -> list[Message]:
    """Those of ``messages`` that ``claim`` refused only because they came in company."""
    wanted = {(m.job_id, m.token): m for m in messages}
    rows = JobRecord.objects.using(database()).filter(
        alone=True, pk__in=[m.job_id for m in messages], state=State.ENQUEUED
    )
    return [wanted[key] for key in rows.values_list("pk", "token") if key in wanted]


def renew(workers: Sequence[str], *, lease: timedelta) -> dict[int, str]:
    """Extend the leases of ``workers``; which jobs (id: worker) they still hold. A locked row waits its turn."""
    alias = database()
    with transaction.atomic(using=alias):
        now = database_now(connections[alias])
        held = JobRecord.objects.using(alias).filter(worker__in=workers, state=State.PROCESSING)
        if is_postgresql(connections[alias]):
            ids = list(held.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
            JobRecord.objects.using(alias).filter(pk__in=ids, state=State.PROCESSING).update(
                lease_expires_at=now + lease
            )
        else:
            held.update(lease_expires_at=now + lease)
        return dict(held.values_list("pk", "worker"))


def held_by(workers: Sequence[str]) -> dict[int, str]:
    """Which jobs (id: worker) ``workers`` hold at the moment."""
    held = JobRecord.objects.using(database()).filter(worker__in=workers, state=State.PROCESSING)
    return dict(held.values_list("pk", "worker"))


def claims_of(worker: str) -> list[Claim]:
    """What the database says that ``worker`` processes; without the payloads, since it is not to be run."""
    rows = JobRecord.objects.using(database()).filter(worker=worker, state=State.PROCESSING).order_by("pk")
    return [
        Claim(row.pk, row.token, row.job_type, row.queue, row.attempt, row.failures, row.crashes, None) for row in rows
    ]


def expire_leases(*, max_crashes: int, limit: int = 50) -> Applied:
    """Bring back the jobs of up to ``limit`` workers whose leases ran out.

    A job that its worker held alone was the one running: that counts as a crash. Of several held together nobody can
    tell which one ran, so none is counted, and each runs alone next time. So a worker's jobs come back together, once
    the lease of the last one is over.
    """
    alias = database()
    with transaction.atomic(using=alias):
        now = database_now(connections[alias])
        held = JobRecord.objects.using(alias).filter(state=State.PROCESSING)
        alive = held.filter(worker=OuterRef("worker"), lease_expires_at__gte=now)
        lost = held.filter(~Exists(alive), lease_expires_at__lt=now).order_by("worker")
        workers = list(lost.values_list("worker", flat=True).distinct()[:limit])
        if not workers:
            return Applied()
        # Counted before the rows are locked: another scheduler may be at some of them already.
        company = Counter(held.filter(worker__in=workers).values_list("worker", flat=True))
        expired = held.filter(worker__in=workers, lease_expires_at__lt=now).order_by("pk")
        if is_postgresql(connections[alias]):
            expired = expired.select_for_update(skip_locked=True)
        rows = list(expired)
        moves = [
            crash(row.pk, row.token, row.crashes, max_crashes=max_crashes, worker=row.worker)
            if company[row.worker] == 1
            else Move(
                job_id=row.pk,
                token=row.token,
                source=State.PROCESSING,
                steps=(Step(State.ENQUEUED, "its worker was lost with several jobs claimed", {"worker": row.worker}),),
                alone=True,
            )
            for row in rows
        ]
        return apply(moves, actor="recovery", using=alias)


def crash(job_id: int, token: str, crashes: int, *, max_crashes: int, worker: str) -> Move:
    """The move of a job that was running when its worker died: back on its queue, or failed when that was too often."""
    count, data = crashes + 1, {"worker": worker, "crashes": crashes + 1}
    if count < max_crashes:
        step = Step(State.ENQUEUED, f"worker lost while running it ({count} of {max_crashes})", data)
        return Move(job_id=job_id, token=token, source=State.PROCESSING, steps=(step,), crashes_by=1, alone=True)
    reason = f"worker lost {count} times while running it"
    return Move(
        job_id=job_id,
        token=token,
        source=State.PROCESSING,
        steps=(Step(State.FAILED, reason, data),),
        crashes_by=1,
        failure=Failure("handlers.WorkerLost", f"{reason}. The last worker was {worker}; see its host's log for why."),
    )
