"""What people and programs ask of jobs that exist."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Max

from handlers.conf import SYSTEM_QUEUE
from handlers.failures import clean, reason_text
from handlers.lifecycle import guards, telling
from handlers.lifecycle.creation import NewJob, keep_tags
from handlers.lifecycle.moves import CHUNK, QUEUED, Applied, Change, Move, Step, apply, dialect, new_token
from handlers.lifecycle.waits import forget_signals
from handlers.models import JobHistory, JobPayload, JobRecord, JobTag
from handlers.models.kept import database
from handlers.models.sql import chunks, database_now, is_postgresql, lock_jobs
from handlers.registry import registry
from handlers.signals import jobs_moved
from handlers.states import DELETABLE, FINAL, MOVABLE, RETRYABLE, TAKEN_BACK, State
from handlers.transport import Message
from handlers.writing import writing

LONGEST_ROUND = 500  # moves of a job that are counted back


class _Row(NamedTuple):
    """What the verbs ask of a job; read without the rest, because they act on thousands at once."""

    pk: int
    token: str
    state: str
    attempt: int
    crashes: int
    alone: bool
    queue: str
    run_at: datetime | None
    finished_at: datetime | None
    priority: int
    job_type: str


def locked_rows(ids: Sequence[int], expect: Mapping[int, str] | None, alias: str) -> list[_Row]:
    """The rows of those of ``ids`` that are as ``expect`` says, ours until the transaction ends."""
    found = JobRecord.objects.using(alias).filter(pk__in=ids).order_by("pk")
    if is_postgresql(connections[alias]):
        found = lock_jobs(found)
    rows = map(_Row._make, found.values_list(*_Row._fields))
    return [row for row in rows if expect is None or expect.get(row.pk, row.token) == row.token]


def delete(ids: Sequence[int], *, actor: str, reason: str = "", expect: Mapping[int, str] | None = None) -> Applied:
    """Delete jobs that are not final, or failed. A running one keeps running until its token is seen.

    None of those that do for others what must be done (see ``guards.keep``).
    """
    alias = database()
    changes: dict[str, Change] = {state: Change(state, (Step(State.DELETED, reason),)) for state in DELETABLE}
    with writing(alias):
        rows = [row for row in locked_rows(ids, expect, alias) if row.job_type not in guards.kept]
        moves = [Move(row.pk, row.token, changes[row.state]) for row in rows if row.state in changes]
        return _told(apply(moves, actor=actor, using=alias), rows)


def delete_unstarted(jobs: Sequence[tuple[int, str, State]], reason: str, *, actor: str) -> Applied:
    """Delete these (id, token, state) unless one is elsewhere by now: a worker's, or moved on."""
    changes: dict[State, Change] = {state: Change(state, (Step(State.DELETED, reason),)) for _, _, state in jobs}
    return apply([Move(job_id, token, changes[state]) for job_id, token, state in jobs], actor=actor)


def postpone(job_id: int, token: str, like: NewJob, *, actor: str, reason: str = "postponed") -> Applied:
    """Give a scheduled job the time (now, if none), arguments, tags, priority, deadline and context of ``like``."""
    alias, applied = database(), Applied()
    with writing(alias):
        now = database_now(connections[alias])
        run_at = like.run_at or now + (like.delay or timedelta(0))
        rows = JobRecord.objects.using(alias).filter(pk=job_id, token=token, state=State.SCHEDULED)
        before, new = rows.values_list("run_at", "attempt").first(), new_token()
        if before is None or not rows.update(token=new, run_at=run_at, queue=like.queue, priority=like.priority):
            return applied
        JobPayload.objects.using(alias).filter(job_id=job_id).update(
            data=json.loads(like.payload), queue=like.queue, release=registry.release,
            expires_at=like.expires_at or (like.expires_in and now + like.expires_in),
            context=json.loads(like.context) if like.context else None,
        )  # fmt: skip
        forget_signals([job_id], alias)
        JobTag.objects.using(alias).filter(job_id=job_id)._raw_delete(alias)
        keep_tags([(job_id, tag) for tag in like.tags], using=alias)
        JobHistory.objects.using(alias).create(
            job_id=job_id, from_state=State.SCHEDULED, to_state=State.SCHEDULED, at=now, attempt=before[1],
            reason=reason, actor=clean(actor, 150), data={"old_run_at": str(before[0])},
        )  # fmt: skip
    if jobs_moved.receivers:
        place = telling.Place(job_id, like.job_type, like.queue, before[1], now)
        telling.moved(connections[alias], [place], State.SCHEDULED, State.SCHEDULED, reason, clean(actor, 150))
    applied.moved.add(job_id)
    applied.messages.append(Message(job_id, new, like.queue, run_at, like.priority))
    applied.stale.append(Message(job_id, token, like.queue))
    return applied


def retry(
    ids: Sequence[int],
    *,
    actor: str,
    reason: str = "",
    expect: Mapping[int, str] | None = None,
    payload: bytes | None = None,
) -> Applied:
    """Run failed or scheduled jobs now, in a new round. ``payload`` replaces the arguments of the one job named."""
    alias = database()
    with writing(alias):
        rows = [row for row in locked_rows(ids, expect, alias) if row.state in RETRYABLE]
        data = {"old_payload": _payload(rows[0].pk, alias)} if rows and payload is not None else {}
        moves = _anew(rows, lambda state: reason or ("retried" if state == State.FAILED else "run now"), data)
        applied = apply(moves, actor=actor, using=alias)
        forget_signals(applied.moved, alias, only_timeouts=payload is None)
        if payload is not None and applied.moved:
            JobPayload.objects.using(alias).filter(job_id__in=applied.moved).update(
                data=json.loads(payload), release=registry.release
            )
        return _told(applied, rows)


def _told(applied: Applied, rows: Sequence[_Row]) -> Applied:
    applied.sources = Counter(row.state for row in rows if row.pk in applied.moved)
    return applied


def _payload(job_id: int, alias: str) -> Any:
    return JobPayload.objects.using(alias).values_list("data", flat=True).get(pk=job_id)


def requeue(ids: Sequence[int], *, actor: str, reason: str = "", expect: Mapping[int, str] | None = None) -> Applied:
    """Run succeeded jobs again, in a new round."""
    alias = database()
    with writing(alias):
        rows = [row for row in locked_rows(ids, expect, alias) if row.state == State.SUCCEEDED]
        applied = apply(_anew(rows, lambda _: reason or "requeued", {}), actor=actor, using=alias)
        forget_signals(applied.moved, alias)
        return applied


def _anew(rows: Sequence[_Row], why: Callable[[str], str], data: Mapping[str, Any]) -> list[Move]:
    """A new round each. What no history has of the former one is noted, for ``take_back``; else they share a change."""
    changes: dict[str, Change] = {}
    moves = []
    for row in rows:
        told = {**data, "crashes": row.crashes, "alone": row.alone}
        if row.state == State.SCHEDULED:
            told |= {"old_run_at": str(row.run_at)}
        told = {name: value for name, value in told.items() if value or name == "old_payload"}
        change = changes.get(key := json.dumps([row.state, told]))
        if change is None:
            step = Step(State.ENQUEUED, why(row.state), told or None)
            change = changes[key] = Change(State(row.state), (step,), new_round=True)
        moves.append(Move(row.pk, row.token, change))
    return moves


def take_back(ids: Sequence[int], *, actor: str, reason: str = "", expect: Mapping[int, str] | None = None) -> Applied:
    """Put jobs that were retried, requeued or run now, and have not begun, back to where they were, as they stood."""
    alias = database()
    with writing(alias):
        rows = {row.pk: row for row in locked_rows(ids, expect, alias) if row.state == State.ENQUEUED}
        steps = JobHistory.objects.using(alias).filter(job_id__in=list(rows))
        last = steps.values("job_id").annotate(last=Max("pk"))
        moves = []
        for step in steps.filter(pk__in=[each["last"] for each in last]):
            if (change := _taken_back(step, reason, alias)) is None:
                continue
            if "old_payload" in (data := step.data or {}):
                JobPayload.objects.using(alias).filter(pk=step.job_id).update(data=data["old_payload"])
            if "old_payload" in data or step.from_state == State.SUCCEEDED:
                forget_signals([step.job_id], alias)  # what has come since was for what does not run
            moves.append(Move(step.job_id, rows[step.job_id].token, change))
        return _told(apply(moves, actor=actor, using=alias), list(rows.values()))


def _taken_back(step: JobHistory, reason: str, alias: str) -> Change | None:
    """What takes back ``step``, a job's last; None: it is not what somebody asked for."""
    data = step.data or {}
    if step.to_state != State.ENQUEUED or step.from_state not in TAKEN_BACK:
        return None
    is_scheduled = step.from_state == State.SCHEDULED
    if is_scheduled and "old_run_at" not in data:
        return None  # nobody ran it: it was due
    return Change(
        State.ENQUEUED,
        (Step(State(step.from_state), reason or "taken back before it began"),),
        failures_by=_failures_before(step, alias),
        crashes_by=data.get("crashes", 0),
        alone=data.get("alone", False),
        run_at=datetime.fromisoformat(data["old_run_at"]) if is_scheduled else None,
        takes_back=True,
    )


def _failures_before(step: JobHistory, alias: str) -> int:
    """Failed attempts of the round that ended with ``step``."""
    before = JobHistory.objects.using(alias).filter(job_id=step.job_id, pk__lt=step.pk).order_by("-pk")
    failures = 0
    for source, target, data in before.values_list("from_state", "to_state", "data")[:LONGEST_ROUND]:
        if target == State.ENQUEUED and (source in FINAL or "old_run_at" in (data or {})):
            break  # the round began
        failures += int(source == State.PROCESSING and target == State.FAILED)
    return failures


def restore(
    ids: Sequence[int],
    *,
    actor: str,
    within: timedelta,
    reason: str = "",
    expect: Mapping[int, str] | None = None,
) -> Applied:
    """Put jobs deleted within the last ``within`` back to where they were, unless they were running then."""
    alias = database()
    with writing(alias):
        rows = [row for row in locked_rows(ids, expect, alias) if row.state == State.DELETED]
        since = database_now(connections[alias]) - within
        origins: dict[int, str] = dict(
            JobHistory.objects.using(alias)
            .filter(job_id__in=[row.pk for row in rows], to_state=State.DELETED)
            .order_by("pk")  # the last one wins
            .values_list("job_id", "from_state")
        )
        moves = []
        for row in rows:
            origin = origins.get(row.pk)
            if origin == State.PROCESSING and not row.attempt:
                origin = State.ENQUEUED  # a worker came to it too late, and never started it
            if origin in (None, State.PROCESSING) or row.finished_at is None or row.finished_at < since:
                continue
            run_at = row.run_at if origin in (State.SCHEDULED, State.WAITING) else None
            change = Change(State.DELETED, (Step(State(origin), reason or "restored"),), run_at=run_at)
            moves.append(Move(row.pk, row.token, change))
        return apply(moves, actor=actor, using=alias)


def move_to_queue(
    ids: Sequence[int], *, queue: str, actor: str, reason: str = "", expect: Mapping[int, str] | None = None
) -> Applied:
    """Put jobs that wait, or that failed, on ``queue``, at its end; none of the engine's own. Their states stay."""
    alias = database()
    applied = Applied()
    with writing(alias):
        rows = [row for row in locked_rows(ids, expect, alias) if row.state in MOVABLE]
        for chunk in chunks([row for row in rows if row.queue not in (queue, SYSTEM_QUEUE)], CHUNK):
            _move_chunk(chunk, queue, actor, reason, applied, alias)
        applied.queues = Counter(row.queue for row in rows if row.pk in applied.moved)
        return _told(applied, rows)


def _move_chunk(rows: Sequence[_Row], queue: str, actor: str, reason: str, applied: Applied, alias: str) -> None:
    # A new token each: what stands on the former queue is void, and a page that shows that queue is out of date.
    tokens = {row.pk: new_token() for row in rows}
    batch = []
    for row in rows:
        why = f"moved from queue {row.queue} to {queue}{': ' if reason else ''}{reason}"
        batch.append((row.pk, row.token, tokens[row.pk], row.state, reason_text(why), {"old_queue": row.queue}))
    moved = dialect(connections[alias]).move_to_queue(connections[alias], batch, queue, clean(actor, 150))
    if jobs_moved.receivers:
        for row, (*_, why, _) in zip(rows, batch, strict=True):
            if row.pk in moved:
                place = telling.Place(row.pk, row.job_type, queue, row.attempt, moved[row.pk])
                telling.moved(connections[alias], [place], row.state, row.state, why, clean(actor, 150))
    for row in rows:
        if row.pk not in moved:
            continue
        applied.moved.add(row.pk)
        if row.state in QUEUED:
            run_at = row.run_at if row.state == State.SCHEDULED else None
            applied.messages.append(Message(row.pk, tokens[row.pk], queue, run_at, row.priority))
            applied.stale.append(Message(row.pk, row.token, row.queue))
