"""Jobs in every state, whose times, history and errors agree with the state. Rows only: nothing is published."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from handlers.models import (
    AttemptError,
    Delivery,
    EventRecord,
    JobHistory,
    JobPayload,
    JobRecord,
    JobSignal,
    JobTag,
    SagaKey,
    SagaRecord,
    SagaTurn,
    SignalStatus,
)
from handlers.states import State

WORKER = "host-1.4411.0"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 42, in handle
    gateway.charge(order)
  File "/srv/.venv/lib/python3.11/site-packages/httpx/_client.py", line 1144, in post
    return self.request("POST", url)
httpx.ConnectError: connection refused
"""


def make_job(
    state: str = State.FAILED,
    *,
    job_type: str = "app.Note",
    queue: str = "default",
    payload: Any = None,
    message: str = "connection refused",
    exception: str = "httpx.ConnectError",
    traceback: str = TRACEBACK,
    retrying: bool = False,
    age: timedelta = timedelta(minutes=5),
    fingerprint: str = "",
    parent_id: int | None = None,
    correlation: str = "",
    tags: Sequence[str] = (),
    waits_for: str = "approval",
) -> JobRecord:
    """One job. ``retrying``: a scheduled job that waits out the backoff of its first failed attempt."""
    start = timezone.now() - age
    ran = retrying or state in (State.PROCESSING, State.WAITING, State.SUCCEEDED, State.FAILED)
    is_waiting = state == State.WAITING
    failed = retrying or state == State.FAILED
    ended = start + timedelta(seconds=3)
    job = JobRecord.objects.create(
        state=state,
        token=secrets.token_hex(8),
        job_type=job_type,
        queue=queue,
        attempt=int(ran),
        failures=int(failed),
        created_at=start,
        enqueued_at=start,
        run_at=timezone.now() + timedelta(minutes=10) if state == State.SCHEDULED else None,
        started_at=start + timedelta(seconds=1) if ran and not retrying and not is_waiting else None,
        finished_at=ended if state in (State.SUCCEEDED, State.FAILED, State.DELETED) else None,
        lease_expires_at=timezone.now() + timedelta(seconds=15) if state == State.PROCESSING else None,
        worker=WORKER if ran and not retrying and not is_waiting else "",
        error=f"{exception.rpartition('.')[2]}: {message}"[:200] if failed else "",
        fingerprint=fingerprint,
    )
    JobPayload.objects.create(
        job=job,
        data={"text": "hello"} if payload is None else payload,
        job_type=job_type,
        queue=queue,
        parent_id=parent_id,
        correlation=correlation,
    )
    JobTag.objects.bulk_create([JobTag(job_id=job.pk, tag=tag) for tag in tags])
    if ran:
        _move(job, State.ENQUEUED, State.PROCESSING, start + timedelta(seconds=1), "claimed", {"worker": WORKER})
    if failed:
        _move(job, State.PROCESSING, State.FAILED, ended, "attempt failed", {"duration_seconds": 2.0})
        AttemptError.objects.create(
            job=job,
            attempt=1,
            at=ended,
            exception=exception,
            message=message,
            traceback=traceback,
            fingerprint=fingerprint,
        )
    if retrying:
        _move(job, State.FAILED, State.SCHEDULED, ended, "retry 1 of 2 in 10 min", None)
    if is_waiting:
        _move(job, State.PROCESSING, State.WAITING, ended, f"waits for {waits_for}", {"signal": waits_for})
        JobSignal.objects.create(job=job, name=waits_for, status=SignalStatus.WAITS, attempt=1, at=ended)
    if state == State.SUCCEEDED:
        _move(job, State.PROCESSING, State.SUCCEEDED, ended, "", {"duration_seconds": 2.0})
    if state == State.DELETED:
        _move(job, State.ENQUEUED, State.DELETED, ended, "not needed", None, actor="user:olga")
    return job


def make_saga(
    label: str = "order_id 42", *, saga_type: str = "shop.OrderSaga", age: timedelta = timedelta(hours=1), **fields: Any
) -> SagaRecord:
    """A saga that has begun, with its key and its first turn."""
    at = timezone.now() - age
    data = fields.pop("data", {"order_id": 42, "paid": False})
    saga = SagaRecord.objects.create(
        saga_type=saga_type, label=label, data=data, started_at=at, touched_at=at,
        **{"stuck_at": at + timedelta(days=1), "turns": 1, "correlation": f"saga-{label}"[:64], **fields},
    )  # fmt: skip
    name, _, value = label.partition(" ")
    SagaKey.objects.create(saga=saga, saga_type=saga_type, name=name, value=value)
    SagaTurn.objects.create(saga=saga, at=at, kind="event", name="shop.OrderPlaced", before=None, after=data)
    return saga


def fail_delivery(saga: SagaRecord, job: JobRecord, why: str = "ValueError: no such card") -> Delivery:
    """An event that ``job`` could not bring to the saga."""
    event = EventRecord.objects.create(event_type="shop.PaymentTaken", data={}, published_at=timezone.now())
    SagaRecord.objects.filter(pk=saga.pk).update(error=why, failed_at=timezone.now())
    return Delivery.objects.create(
        event=event, subscriber=saga.saga_type, job_id=job.pk, state="failed", saga_id=saga.pk, error=why
    )


def one_of_each() -> list[JobRecord]:
    """A job in each state that the console shows, and one that waits for its retry."""
    states = (
        State.FAILED,
        State.SCHEDULED,
        State.ENQUEUED,
        State.PROCESSING,
        State.WAITING,
        State.SUCCEEDED,
        State.DELETED,
        State.AWAITING,
    )
    return [*(make_job(state) for state in states), make_job(State.SCHEDULED, retrying=True)]


def _move(job: JobRecord, source: State, to: State, at: datetime, reason: str, data: Any, actor: str = WORKER) -> None:
    JobHistory.objects.create(
        job=job,
        from_state=source,
        to_state=to,
        at=at,
        attempt=int(source is State.PROCESSING or to is State.PROCESSING),
        reason=reason,
        actor=actor,
        data=data,
    )
