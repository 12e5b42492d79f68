"""One attempt of one job, as a story: resolve its type, read its arguments, run its handler, say what follows."""

from __future__ import annotations

import dataclasses
import logging
import random
import time
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any, overload

from django.db import (
    DatabaseError,
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connections,
)

from handlers import (
    atomically,
    carried,
    coroutines,
    forks,
    lifecycle,
    logs,
    masking,
    processes,
    stranded,
    surroundings,
    tidying,
    tracing,
)
from handlers.atomically import SharedCommit
from handlers.cancellation import CancellationToken, CancelReason
from handlers.conf import jobs_settings
from handlers.current import CurrentJob, current
from handlers.exceptions import InvalidJob, JobCancelled, JobTimeout, NoHandler, Snooze, WaitFor
from handlers.failure_log import log_failures
from handlers.failures import class_path, clean, describe
from handlers.hooks import chain
from handlers.job_types import JobType
from handlers.lifecycle import Change, Claim, Move, Refusal, Refused, Step
from handlers.models import JobPayload, JobRecord
from handlers.policies import Effective, of_job
from handlers.publishing import publish
from handlers.registry import registry
from handlers.retries import Decision, Exhausted
from handlers.runs.live import live
from handlers.runs.run import run_of
from handlers.states import State

logger = logging.getLogger(__name__)

# What waiting or a new connection can mend: an outage, a failover, a transaction that was left broken.
TRANSIENT = (OperationalError, InterfaceError, InternalError)

UNBOUNDED = nullcontext()


def timeout_of(claim: Claim) -> float:
    """How long an attempt of this job may run, in seconds."""
    try:
        timeout = registry.find(claim.job_type).timeout_of(claim.encoded)
    except (NoHandler, InvalidJob):
        timeout = None
    return jobs_settings().timeout_seconds if timeout is None else timeout.total_seconds()


def run(
    claim: Claim,
    token: CancellationToken,
    *,
    worker: str,
    around: AbstractContextManager[None] = UNBOUNDED,
) -> Move | None:
    """Run the attempt to its end and return the move that records it; None when it is no longer ours to record.

    ``around`` is entered for the handler's own time, and nothing else. What the attempt logs goes with the move.
    """
    logs.attach()
    tidying.watch()
    try:
        return run_attached(claim, token, worker=worker, around=around)
    finally:
        logs.detach()


def run_attached(
    claim: Claim,
    token: CancellationToken,
    *,
    worker: str,
    around: AbstractContextManager[None] = UNBOUNDED,
    in_company: Callable[[], bool] = lambda: False,
    shared: SharedCommit | None = None,
) -> Move | None:
    """The same for a caller who has called ``logs.attach`` for many attempts: to do so for each is not cheap.

    ``in_company`` is asked once the attempt has failed: have others gone on in this process meanwhile? ``shared``: by
    which an atomic run is committed with others; None is returned, then, and it says later what is recorded.
    """
    job = job_of(claim, token, worker)
    logs.stay_attached()
    move = _attempt(claim, token, worker, around, job, in_company, shared)
    is_over(job)
    if move is None and not (shared and shared.has(claim)):
        tracing.settled(claim.job_id, claim.token, "dropped")
    return move if job.log is None else with_lines(move, job)


def job_of(claim: Claim, token: CancellationToken, worker: str) -> CurrentJob:
    """What its handler and its logs know of the attempt."""
    return CurrentJob(
        claim.job_id, claim.attempt, claim.correlation, hider(claim), claim, worker, token, on_line=live.note
    )


def is_over(job: CurrentJob) -> None:
    """The attempt is: tell what it has still to tell."""
    job.is_over = True
    if job.progress is not None:
        live.ended(job)


def keep_place(job: CurrentJob) -> None:
    """The attempt broke off: what it was in the middle of, another one goes on with."""
    if job.run is None:
        return
    try:
        job.run.keep_places()
    except JobCancelled:
        pass  # another one is at it
    except Error as error:
        tidying.close_broken_connections()
        logger.warning("cannot keep where job %d was: %s", job.job_id, type(error).__name__)


@overload
def with_lines(move: Move, job: CurrentJob) -> Move: ...
@overload
def with_lines(move: None, job: CurrentJob) -> None: ...
def with_lines(move: Move | None, job: CurrentJob) -> Move | None:
    """The move with what the attempt logged."""
    if move is not None and (lines := logs.lines_of(job)):
        return move._replace(logs=lines)
    return move


async def arun(claim: Claim, token: CancellationToken, *, worker: str) -> Callable[[], Move | None]:
    """The same for an async handler, in the event loop and the context of who awaits it.

    What it returns says which move records the attempt. Call it elsewhere: it may have to ask the database. As
    ``run_attached`` it counts on ``logs.attach``.
    """
    job = job_of(claim, token, worker)
    current.set(job)
    if tracing.any_open():
        tracing.enter(job.claim)
    logs.stay_attached()
    started, process = time.monotonic(), forks.process_id()
    try:
        job_type = registry.find(claim.job_type)
        payload = job_type.decode(claim.encoded)
    except (NoHandler, InvalidJob) as error:
        return partial(unservable, claim, error)
    try:
        try:
            with carried.entered(claim.context) if claim.context else UNBOUNDED:
                call = partial(job_type.call, payload, token, partial(run_of, job))
                value = await (chain.arun(run_of(job), call) if jobs_settings().middleware else call())
        finally:
            forks.end_unless(process)
            job.is_over = True
        result = None if value is None else job_type.result.encode(value)
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its attempt, never its worker
        seconds = time.monotonic() - started
        return partial(_broke_off, claim, token, error, worker, seconds, job)
    move = succeeded(claim, worker=worker, seconds=time.monotonic() - started, result=result)
    return partial(with_lines, move, job)


def _broke_off(
    claim: Claim, token: CancellationToken, error: BaseException, worker: str, seconds: float, job: CurrentJob
) -> Move | None:
    keep_place(job)
    if (move := move_of(claim, token, error, worker, seconds)) is None:
        tracing.settled(claim.job_id, claim.token, "dropped")
    return with_lines(move, job)


def move_of(claim: Claim, token: CancellationToken, error: BaseException, worker: str, seconds: float) -> Move | None:
    """What records an attempt that raised ``error``; None when it is no longer ours to record."""
    if isinstance(error, JobCancelled | CancelledError):
        return _cancelled(claim, token, error, worker, seconds)
    if isinstance(error, Snooze | WaitFor):
        try:
            if isinstance(error, Snooze):
                return _snoozed(claim, error, worker=worker, seconds=seconds)
            return _waits(claim, error, worker=worker, seconds=seconds)
        except Exception as broken:  # noqa: BLE001 - of a subclass, which says neither how long nor for what
            error = broken
    return failed(claim, error, worker=worker, seconds=seconds)


def _attempt(
    claim: Claim,
    token: CancellationToken,
    worker: str,
    around: AbstractContextManager[None],
    job: CurrentJob,
    in_company: Callable[[], bool],
    shared: SharedCommit | None,
) -> Move | None:
    started, process = time.monotonic(), forks.process_id()
    try:
        job_type = registry.find(claim.job_type)
        payload = job_type.decode(claim.encoded)
    except (NoHandler, InvalidJob) as error:
        return unservable(claim, error)

    try:
        try:
            if not job_type.atomic:
                result = _call(job, job_type, payload, token, around, process)
            else:
                succeed = partial(_succeed, job, job_type, payload, token, around, process, started)
                if shared is None:
                    return atomically.alone(succeed, worker)
                shared.run(claim, succeed)
                return None
        finally:
            tidying.tidy()  # first: what follows a failure is read from the database
    except atomically.Lost:
        tracing.settled(claim.job_id, claim.token, "dropped")
        return None
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its attempt, never its worker
        seconds = time.monotonic() - started
        if not in_company():  # else nobody knows whose they are
            processes.end_started(since=started)
        if shared and shared.has(claim):
            return None  # it runs again
        keep_place(job)
        return move_of(claim, token, error, worker, seconds)
    return succeeded(claim, worker=worker, seconds=time.monotonic() - started, result=result)


def _succeed(
    job: CurrentJob,
    job_type: JobType,
    payload: Any,
    token: CancellationToken,
    around: AbstractContextManager[None],
    process: int,
    started: float,
) -> Move:
    result = _call(job, job_type, payload, token, around, process)
    seconds = time.monotonic() - started
    return with_lines(succeeded(job.claim, worker=job.worker, seconds=seconds, result=result), job)


def _call(
    job: CurrentJob,
    job_type: JobType,
    payload: Any,
    token: CancellationToken,
    around: AbstractContextManager[None],
    process: int,
) -> bytes | None:
    """What the handler returns, as JSON. No function inside ``_attempt``: to make one for each attempt is not cheap."""
    try:
        with around:
            value = surroundings.apart(_handle, job, job_type, payload, token)
    finally:
        forks.end_unless(process)
    return None if value is None else job_type.result.encode(value)


def _handle(job: CurrentJob, job_type: JobType, payload: Any, token: CancellationToken) -> Any:
    current.set(job)  # in a context that ends with this call
    if tracing.any_open():
        tracing.enter(job.claim)
    if job_type.is_async and connections[lifecycle.database()].in_atomic_block:
        run_of(job).hear()  # in a test, say: nobody else sees what this transaction has written
    if not job.claim.context:
        return _run(job, job_type, payload, token)
    with carried.entered(job.claim.context):
        return _run(job, job_type, payload, token)


def _run(job: CurrentJob, job_type: JobType, payload: Any, token: CancellationToken) -> Any:
    if not jobs_settings().middleware:
        return job_type.run(payload, token, partial(run_of, job))
    if job_type.is_async:  # in an event loop of its own, as it would be by itself
        call = partial(job_type.call, payload, token, partial(run_of, job))
        return coroutines.run_to_end(chain.arun(run_of(job), call))
    around = partial(chain.run, run_of(job))
    handler = partial(job_type.run, payload, token, partial(run_of, job))
    return atomically.unless_undone(around, handler) if job_type.atomic else around(handler)


def succeeded(claim: Claim, *, worker: str, seconds: float, result: bytes | None = None) -> Move:
    """The handler returned; ``result`` is what, as JSON."""
    return Move(claim.job_id, claim.token, _success(worker), round(seconds, 6), None, result)


@lru_cache(maxsize=16)
def _success(worker: str) -> Change:
    return Change(State.PROCESSING, (Step(State.SUCCEEDED, "", {"worker": worker}),))


def failed(claim: Claim, error: BaseException, *, worker: str, seconds: float) -> Move:
    """The attempt failed: the retry policy says what follows."""
    hide = hider(claim)
    failure = describe(error, hide, **claim.attempted)
    facts = {"worker": worker, "exception": failure.exception}
    try:
        chosen, decision = decide(claim, error)
        facts |= {"policy": chosen.name} if chosen.name else {}
    except Exception as second:  # noqa: BLE001 - a policy that cannot decide must not lose the outcome
        # No traceback here: it would show the handler's error, whose text may be private.
        logger.error("the retry policy of %s raised %s", claim.job_type, class_path(second))
        decision = Exhausted("fail", f"the retry policy raised {describe(second, hide).line}")
    if isinstance(decision, Exhausted):
        steps = [Step(State.FAILED, hide(decision.reason), facts)]
        if decision.outcome == "delete":
            steps.append(Step(State.DELETED, "its retry policy deletes what is exhausted"))
        return _move(claim, *steps, seconds=seconds, failures_by=1, failure=failure)
    delay = {"delay_seconds": round(decision.delay.total_seconds(), 3)}
    reason = hide(decision.reason)
    return _move(
        claim,
        Step(State.FAILED, failure.line, facts),
        Step(State.SCHEDULED, f"{reason}, by policy {chosen.name}" if chosen.name else reason, delay),
        seconds=seconds,
        failures_by=1,
        failure=failure,
        delay=decision.delay,
    )


def _snoozed(claim: Claim, error: Snooze, *, worker: str, seconds: float) -> Move:
    """The handler wants to be called later. Raises whatever a subclass of ``Snooze`` has broken."""
    delay = Snooze(error.delay).delay
    facts = {"worker": worker, "delay_seconds": round(delay.total_seconds(), 3)}
    reason = hider(claim)(str(error)) or "snoozed"
    return _move(claim, Step(State.SCHEDULED, reason, facts), seconds=seconds, delay=delay)


def _waits(claim: Claim, error: WaitFor, *, worker: str, seconds: float) -> Move:
    """The handler waits for a signal; one that has come already is seen as this is settled. Raises as ``_snoozed``."""
    known = WaitFor(error.name, error.timeout)
    facts: dict[str, Any] = {"worker": worker, "signal": known.name}
    facts |= {"timeout_seconds": round(known.timeout.total_seconds(), 3)} if known.timeout else {}
    step = Step(State.WAITING, hider(claim)(str(error)), facts)
    return _move(claim, step, seconds=seconds, delay=known.timeout, waits_for=known.name)


def decide(claim: Claim, error: BaseException) -> tuple[Effective, Decision]:
    """The policy that the job follows, and what it says of an attempt that fails with ``error`` now.

    Raises NoHandler, and whatever a policy of the app's own raises.
    """
    chosen = of_job(registry.find(claim.job_type), claim.encoded)
    draw = random.random()  # noqa: S311 - jitter
    return chosen, chosen.policy.decide(failures=claim.failures + 1, error=error, draw=draw)


def unservable(claim: Claim, error: NoHandler | InvalidJob) -> Move:
    """This code cannot run the job. It waits for a worker that can, unless the arguments are wrong for any code."""
    described = describe(error, hider(claim), **claim.attempted)
    failure = dataclasses.replace(described, traceback="")  # it would show the engine only
    lacking = isinstance(error, NoHandler)
    if lacking or _others_wrote(claim):
        reason = "its worker has no handler for it" if lacking else "its worker's code does not read its arguments"
        refusal = Refusal(failure.exception, clean(failure.message, 500), claim.job_type, registry.release)
        return _move(
            claim, Step(State.ENQUEUED, f"{reason}: it waits for one that can"), attempt_by=-1, refusal=refusal
        )
    reason = "its arguments no longer fit its type"
    return _move(claim, Step(State.FAILED, f"{reason}: {failure.message}"), failures_by=1, failure=failure)


def _others_wrote(claim: Claim) -> bool:
    """Whether the arguments were written by another release than this one, as in the middle of a deploy."""
    try:
        found = JobPayload.objects.using(lifecycle.database()).filter(pk=claim.job_id).values_list("release", flat=True)
        return found.first() not in (None, registry.release)
    except Error:
        tidying.close_broken_connections()
        return True  # to wait is the mistake that costs nothing


def _cancelled(
    claim: Claim, token: CancellationToken, error: BaseException, worker: str, seconds: float
) -> Move | None:
    reason = token.reason
    if reason == CancelReason.STOPPING:
        return lifecycle.handed_back(claim, "its worker was asked to stop", started=True)
    if reason == CancelReason.TIMEOUT:
        return failed(claim, timed_out(claim), worker=worker, seconds=seconds)
    if reason is None:
        # The handler raised it by itself, unasked: that is a failure like any other.
        return failed(claim, error, worker=worker, seconds=seconds)
    return None


def timed_out(claim: Claim) -> JobTimeout:
    """The error of an attempt that ran too long."""
    return JobTimeout(f"ran longer than its timeout of {timeout_of(claim):g} s")


def hider(claim: Claim) -> Callable[[str], str]:
    """What takes the claim's sensitive arguments out of a text. It never raises."""

    known: Callable[[str], str] | None = None

    def hide(text: str) -> str:
        nonlocal known
        try:
            if known is None:  # with the first text: most attempts have none, and the values are collected once
                known = masking.scrubber(registry.get(claim.job_type), claim.payload, claim.travelling)
            return known(text)
        except NoHandler:
            return text  # nothing ran that could have told
        except Exception as error:  # noqa: BLE001 - an outcome must not be lost over this; nor a secret shown
            return f"(left out, because hiding sensitive arguments raised {class_path(error)})"

    return hide


def _move(claim: Claim, *steps: Step, seconds: float | None = None, **changes: Any) -> Move:
    seconds = None if seconds is None else round(seconds, 6)
    return Move(claim.job_id, claim.token, Change(State.PROCESSING, steps, **changes), seconds)


def settle(moves: Sequence[Move], *, worker: str, keep_trying: Callable[[], bool] = lambda: True) -> set[int]:
    """Record what the attempts came to, in one transaction, and publish what follows; which jobs moved.

    While the database is away it waits and tries again, as long as ``keep_trying()``. A batch that cannot be recorded
    is recorded one by one, so that one job's outcome cannot hold the others'. Atomic runs have recorded their own.
    """
    recorded = {move.job_id for move in moves if move.is_recorded}
    if recorded:
        moves = [move for move in moves if not move.is_recorded]
        return recorded | settle(moves, worker=worker, keep_trying=keep_trying)
    pause, fresh = 0.05, False
    while moves:
        try:
            applied = lifecycle.apply(moves, actor=worker)
        except TRANSIENT as error:
            tidying.close_broken_connections()
            if not keep_trying():
                raise
            logger.warning("cannot record %d outcomes, trying again: %s", len(moves), type(error).__name__)
            time.sleep(pause)
            pause = min(pause * 2, 2.0)
        except DatabaseError as error:
            tidying.close_broken_connections()
            if len(moves) > 1:
                return set().union(*(settle([move], worker=worker, keep_trying=keep_trying) for move in moves))
            # No traceback here: a driver's message can quote the values.
            logger.error("cannot record the outcome of job %d: %s", moves[0].job_id, type(error).__name__)
            if fresh:
                return set()
            moves, fresh = [_plain(moves[0])], True
        else:
            tracing.moved(moves, applied.moved)
            publish(applied.messages)
            log_failures(applied.failures)
            if applied.refused:
                _strand(applied.refused)
            return applied.moved
    return set()


def _strand(refused: Sequence[Refused]) -> None:
    try:
        stranded.keep(refused)
    except Error as error:  # recovery offers them again, and they are refused again
        tidying.close_broken_connections()
        logger.warning("cannot note that %d jobs wait for another worker: %s", len(refused), type(error).__name__)


def _plain(move: Move) -> Move:
    """The move without any text or facts of the handler's: one of them is what the database refused."""
    change, why = move.change, "recorded without its details: the database refused them"
    steps = tuple(Step(step.target, why) for step in change.steps)
    failure = change.failure and dataclasses.replace(
        change.failure,
        exception="handlers.Unrecordable",
        message="The database refused this failure's text.",
        traceback="",
        frame="",
    )
    return move._replace(change=change._replace(steps=steps, failure=failure), result=None)


def database_trouble() -> str:
    """Why the database that holds the jobs does not answer a query now, in one line; empty when it does."""
    try:
        JobRecord.objects.using(lifecycle.database()).exists()
    except Error as error:
        tidying.close_broken_connections()
        if isinstance(error, ProgrammingError) or "no such" in str(error):  # PostgreSQL, SQLite
            return "it lacks a table or column of this release: run manage.py migrate"
        return "it does not answer"
    return ""


def database_answers() -> bool:
    """Whether it answers."""
    return not database_trouble()
