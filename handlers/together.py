"""One call of a handler with many jobs, as a story: read their arguments, call it, say what follows for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

from handlers import carried, forks, logs, processes, surroundings, tidying, tracing
from handlers.cancellation import CancellationToken
from handlers.conf import jobs_settings
from handlers.current import CurrentJob, current
from handlers.exceptions import InvalidJob, NoHandler
from handlers.execution import (
    UNBOUNDED,
    is_over,
    job_of,
    keep_place,
    move_of,
    unservable,
)
from handlers.hooks import chain
from handlers.lifecycle import Change, Claim, Move, Step
from handlers.many.chunk import Chunk
from handlers.many.types import ManyType
from handlers.registry import registry
from handlers.runs.run import run_of
from handlers.states import State


class _Member(NamedTuple):
    claim: Claim
    job: CurrentJob
    payload: Any


def run_together(
    claims: Sequence[Claim],
    token: CancellationToken,
    *,
    worker: str,
    around: AbstractContextManager[None] = UNBOUNDED,
    in_company: Callable[[], bool] = lambda: False,
) -> list[Move]:
    """Run one attempt of each of ``claims``, which are of one type, in one call; the moves that record them.

    Left out are those that are no longer ours to record. ``token``: the call's, made of the first claim. Everything
    else as for ``execution.run_attached``. What the call logs is kept with its first job, and with those that failed.
    """
    logs.stay_attached()
    moves: list[Move] = []
    members = [found for claim in claims if (found := _member(claim, token, worker, moves)) is not None]
    if not members:
        return moves
    job_type = registry.find(members[0].claim.job_type)
    assert isinstance(job_type, ManyType)
    call = _call_of(members, token)
    logs.stay_attached()
    started, process = time.monotonic(), forks.process_id()
    chunk = Chunk([member.payload for member in members], [partial(run_of, member.job) for member in members])
    try:
        try:
            with around:
                outcomes = surroundings.apart(_handle, call, job_type, chunk, token)
        finally:
            forks.end_unless(process)
            tidying.tidy()  # first: what follows a failure is read from the database
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its attempts, never its worker
        if not in_company():  # else nobody knows whose they are
            processes.end_started(since=started)
        outcomes = [error] * len(members)
    seconds = time.monotonic() - started
    facts = {"together": len(members), "first": members[0].claim.job_id} if len(members) > 1 else {}
    success = Change(State.PROCESSING, (Step(State.SUCCEEDED, "", {"worker": worker, **facts}),))
    for member, outcome in zip(members, outcomes, strict=True):
        move = _move(member, outcome, job_type, seconds, success)
        is_over(member.job)
        if move is None:
            tracing.settled(member.claim.job_id, member.claim.token, "dropped")
        else:
            moves.append(_with_call(move, member, call, facts, is_first=member is members[0]))
    is_over(call)
    return moves


def _member(claim: Claim, token: CancellationToken, worker: str, moves: list[Move]) -> _Member | None:
    """The claim as a part of the call; None, and a move that says so, where this code cannot run it."""
    try:
        payload = registry.find(claim.job_type).decode(claim.encoded)
    except (NoHandler, InvalidJob) as error:
        moves.append(unservable(claim, error))
        return None
    # Its own for its facts; it is asked to stop as the call is.
    own = CancellationToken(lambda: token.reason, job_id=claim.job_id, attempt=claim.attempt, facts=claim.facts)
    return _Member(claim, job_of(claim, own, worker), payload)


def _call_of(members: Sequence[_Member], token: CancellationToken) -> CurrentJob:
    """What is logged and enqueued in the call itself is its first job's, without any job's sensitive arguments."""
    first = members[0]

    def hide(text: str) -> str:
        for member in members:
            text = member.job.hide(text)
        return text

    shared = {member.claim.context for member in members}
    # A context that only some of them have is nobody's but theirs: see Run.as_current.
    claim = first.claim if len(shared) == 1 else first.claim._replace(context="")
    call = job_of(claim, token, first.job.worker)
    call.hide = hide
    return call


def _handle(call: CurrentJob, job_type: ManyType, chunk: Chunk[Any], token: CancellationToken) -> list[Any]:
    current.set(call)  # in a context that ends with this call
    if tracing.any_open():
        tracing.enter(call.claim)
    with carried.entered(call.claim.context) if call.claim.context else UNBOUNDED:
        if not jobs_settings().middleware:
            return job_type.call_many(chunk, token)
        return chain.run(run_of(call), partial(job_type.call_many, chunk, token))


def _move(member: _Member, outcome: Any, job_type: ManyType, seconds: float, success: Change) -> Move | None:
    claim, job = member.claim, member.job
    if not isinstance(outcome, BaseException):
        try:
            result = None if outcome is None else job_type.result.encode(outcome)
        except Exception as error:  # noqa: BLE001 - as whatever else a handler is the reason of
            outcome = error
        else:
            return Move(claim.job_id, claim.token, success, round(seconds, 6), None, result)
    keep_place(job)
    return move_of(claim, job.token, outcome, job.worker, seconds)


def _with_call(move: Move, member: _Member, call: CurrentJob, facts: dict[str, Any], *, is_first: bool) -> Move:
    """The move with what the call says of it."""
    change = move.change
    lines = [*(logs.lines_of(member.job) or ())]
    if call.log is not None and (is_first or change.failure is not None):
        lines = sorted([*lines, *(logs.lines_of(call) or ())], key=lambda line: line[0])
    if facts and change.target != State.SUCCEEDED:
        first, *rest = change.steps
        move = move._replace(
            change=change._replace(steps=(first._replace(data={**(first.data or {}), **facts}), *rest))
        )
    return move._replace(logs=tuple(lines)) if lines else move
