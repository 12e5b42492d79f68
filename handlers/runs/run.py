"""One run, as its handler sees it."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeVar, overload

from asgiref.sync import sync_to_async
from django.db.models import Model, QuerySet

from handlers import carried, payloads
from handlers.cancellation import CancellationToken
from handlers.current import CurrentJob, current
from handlers.exceptions import InvalidJob, JobsError
from handlers.registry import registry
from handlers.results import NOTHING, encode_bounded, hint_of
from handlers.runs import keeping
from handlers.runs.cursors import Cursor
from handlers.runs.hearing import NOTHING as UNHEARD
from handlers.runs.hearing import Heard, beside_the_loop, heard
from handlers.runs.live import live
from handlers.twins import twin

T = TypeVar("T")
M = TypeVar("M", bound=Model)

LONGEST_NAME = 100  # characters
NUMBERS = (int, float)
logger = logging.getLogger(__name__)


def current_run() -> Run:
    """The run that this code is part of. Raises JobsError outside of a handler, and in threads that one starts."""
    if (job := current.get()) is None:
        raise JobsError(
            "current_run: no job runs here: call it in a handler, and hand what it returns to threads that you start"
        )
    return run_of(job)


def run_of(job: CurrentJob) -> Run:
    """The same of a run that is known."""
    if job.run is None:
        job.run = Run(job)
    found: Run = job.run
    return found


class Run:
    """One attempt of one job while it goes on. A handler gets it as an argument named ``run``, or by ``current_run``.

    Safe to use from several threads. What its methods write is written in the name of this attempt: once the job is no
    longer its own, they raise JobCancelled, and write nothing. Inside a transaction of the handler's they write with
    it; else what they have written is durable when they return.
    """

    def __init__(self, job: CurrentJob) -> None:
        self._job = job
        self._named: set[str] = set()  # steps of this attempt
        self._cursors: list[Cursor[Any]] = []

    def __repr__(self) -> str:
        return f"Run(job_id={self.job_id}, attempt={self.attempt})"

    @property
    def job_id(self) -> int:
        """The job's id."""
        return self._job.job_id

    @property
    def attempt(self) -> int:
        """Which of its runs this is: 1 for the first."""
        return self._job.attempt

    @property
    def job_type(self) -> str:
        """The name of the job's type."""
        return self._job.job_type

    @property
    def queue(self) -> str:
        """The queue that the job came from."""
        return self._job.queue

    @property
    def correlation(self) -> str:
        """What the jobs that it enqueues share with it."""
        return self._job.family

    @cached_property
    def context(self) -> Mapping[str, Any]:
        """What travels with the job, by name: see ``handlers.context``. Empty where nothing does."""
        return MappingProxyType({} if self._job.claim is None else self._job.claim.travelling)

    @property
    def token(self) -> CancellationToken:
        """Whether the run was asked to stop."""
        token: CancellationToken = self._job.token
        return token

    @property
    def idempotency_key(self) -> str:
        """32 hex digits that stand for this job with these arguments: see ``CancellationToken.idempotency_key``."""
        return self.token.idempotency_key

    def log(self, message: str, *args: object, level: int = logging.INFO) -> None:
        """Log a line that is kept with the run, as any logger's are: ``run.log("charged %s", card)``."""
        before = current.set(self._job)
        try:
            logger.log(level, message, *args)
        finally:
            current.reset(before)

    @contextmanager
    def as_current(self) -> Iterator[Run]:
        """What is logged and enqueued inside belongs to this run, and finds its job's context: for threads that a
        handler starts, and for chunks."""
        before = current.set(self._job)
        try:
            with carried.entered(getattr(self._job.claim, "context", "") or "{}"):
                yield self
        finally:
            current.reset(before)

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the run is: ``done`` of ``total`` (None: unknown), as of now with ``message`` (200 characters).

        It costs nothing worth saving: the newest one is written once a second, beside the run. Raises InvalidJob for
        what is no part of a total.
        """
        # Handlers say it for each row: one comparison here, and only what does not fit is looked at.
        all_ = done if total is None else total
        if not (
            isinstance(done, NUMBERS)
            and isinstance(all_, NUMBERS)
            and 0 <= done <= all_ < math.inf
            and isinstance(message, str)
        ):
            raise _no_progress(done, all_)
        job = self._job
        job.progress = (done, total, message)
        if not job.is_noted:
            live.note(job)

    def checkpoint(self, value: Any) -> None:
        """Keep ``value`` (plain JSON) for the job's next attempt, which finds it as ``resume_value``.

        It is durable when this returns. Raises InvalidJob for what is no JSON, or larger than a result may be.
        """
        keeping.save_checkpoint(self._place, _encoded(value, Any, "checkpoint"))

    @property
    def resume_value(self) -> Any:
        """The last checkpoint of the attempts before this one; None where there is none.

        A job that succeeded and runs again, or whose arguments were edited, begins anew.
        """
        return self._former.checkpoint

    async def aresume_value(self) -> Any:
        """``resume_value`` for asynchronous handlers."""
        return await sync_to_async(lambda: self.resume_value)()

    @property
    def signals(self) -> Mapping[str, Any]:
        """What was sent with each signal that came before this attempt began, by name: see ``WaitFor``.

        Those of the job's present round of work: none any more once it succeeded and runs again, or was edited. On an
        event loop ``await run.asignals()`` does not hold the others up while it is read.
        """
        return self._heard.signals

    @property
    def timed_out(self) -> frozenset[str]:
        """The names of the signals for which the job has waited in vain, until it is retried by hand."""
        return self._heard.timed_out

    async def asignals(self) -> Mapping[str, Any]:
        """``signals`` for asynchronous handlers; ``timed_out`` costs nothing after it."""
        return await sync_to_async(lambda: self.signals)()

    @overload
    def step(
        self, name: str, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(self, name: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T: ...
    def step(self, name: str, function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """What ``function(*args, **kwargs)`` returns; from the attempt that has done this step, if one has.

        A step that raised, or whose process died in it, is not done, and the next attempt does it again: so a step
        runs at least once, and after it has ended never again. What it returns is kept as JSON and comes back by the
        function's return hint. Of an async function: what to await. Raises InvalidJob for a name that this attempt has
        used already, and for a result that is no JSON.
        """
        if function is None:
            raise InvalidJob(
                f"step {name!r}: pass what is to be done: run.step({name!r}, function, *args): the body of a with"
                " statement cannot be left out",
                field="function",
            )
        if not callable(function):
            raise InvalidJob(
                f"step {name!r}: takes a function and its arguments, run.step({name!r}, function, *args), not"
                f" {repr(function)[:60]}: leave the call to it",
                field="function",
            )
        self._claim_name(name)
        hint = hint_of(function)
        if inspect.iscoroutinefunction(function):
            return self._astep(name, hint, function, args, kwargs)
        if self._is_done(name):
            return self._result(name, hint)
        keeping.begin_step(self._place, name)
        result = function(*args, **kwargs)
        self._end_step(name, hint, result)
        return result

    async def _astep(self, name: str, hint: Any, function: Any, args: Any, kwargs: Any) -> Any:
        if await sync_to_async(self._is_done)(name):
            return self._result(name, hint)
        await sync_to_async(keeping.begin_step)(self._place, name)
        result = await function(*args, **kwargs)
        await sync_to_async(self._end_step)(name, hint, result)
        return result

    def _end_step(self, name: str, hint: Any, result: Any) -> None:
        data = None if result is None or hint in NOTHING else _encoded(result, hint, f"step {name}")
        keeping.save_step(self._place, name, data, is_done=True)

    def each(self, queryset: QuerySet[M], *, name: str = "") -> Iterator[M]:
        """The rows of ``queryset`` by primary key; the next attempt goes on after those that this one has done.

        A row is done when the next one is asked for. Asked to stop, it ends between two rows. Where it is is kept as
        often as that costs little, once a second at least: what a process that dies has done since comes again.
        ``name`` where one handler goes over several querysets of one model. Raises InvalidJob for a queryset in another
        order, or cut.
        """
        cursor = Cursor(queryset, name)
        self._claim_name(cursor.name)
        if self._is_done(cursor.name):
            return
        self._cursors.append(cursor)
        yield from cursor.rows(
            self._former.steps.get(cursor.name), self._place, self.token, lambda: live.note(self._job)
        )

    async def aeach(self, queryset: QuerySet[M], *, name: str = "") -> AsyncIterator[M]:
        """``each`` for asynchronous handlers."""
        rows = self.each(queryset, name=name)
        while found := await sync_to_async(lambda: [*islice(rows, 1)])():
            yield found[0]

    acheckpoint = twin(checkpoint)

    # --- for the engine

    def keep_places(self) -> None:
        """Keep where its cursors are. Raises what the database raises, and JobCancelled."""
        for cursor in self._cursors:
            cursor.keep(self._place)

    def hear(self) -> None:
        """Read ``signals`` now."""
        self._heard  # noqa: B018

    # --- inside

    @cached_property
    def _heard(self) -> Heard:
        if self._job.claim is None:
            return UNHEARD
        return beside_the_loop(lambda: heard(self.job_id, self.attempt))

    @cached_property
    def _place(self) -> keeping.Place:
        claim = self._job.claim
        if claim is None:
            raise JobsError("this run is of no job that is on record: nothing can be kept for another attempt")
        if registry.find(claim.job_type).atomic:
            raise JobsError(
                f"{claim.job_type} is atomic: what it does is committed at its end or not at all, so there is nothing"
                " to go on from: leave out atomic=True, or the steps, cursors and checkpoints"
            )
        return keeping.Place(claim.job_id, claim.token, self.idempotency_key)

    @cached_property
    def _former(self) -> keeping.Former:
        return keeping.former(self._place)

    def _claim_name(self, name: str) -> None:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or "\0" in name:
            raise InvalidJob(f"step: {str(name)[:50]!r} is no name: use 1 to {LONGEST_NAME} characters", field="name")
        if name in self._named:
            raise InvalidJob(
                f"step {name!r}: this attempt has a step of this name already: give each a name of its own,"
                " such as one with a number in it",
                field="name",
            )
        self._named.add(name)

    def _is_done(self, name: str) -> bool:
        step = self._former.steps.get(name)
        return step is not None and step.finished_at is not None

    def _result(self, name: str, hint: Any) -> Any:
        data = self._former.steps[name].data
        return None if data is None else payloads.decode(hint, data, type_name=f"step {name}")


def _no_progress(done: Any, total: Any) -> InvalidJob:
    if not all(isinstance(value, NUMBERS) and 0 <= value < math.inf for value in (done, total)):
        return InvalidJob("progress: done and total must be finite numbers, 0 or more", field="done")
    if done > total:
        return InvalidJob(f"progress: {done:g} of {total:g} is more than all: done must not exceed total", field="done")
    return InvalidJob("progress: message must be text", field="message")


def _encoded(value: Any, hint: Any, what: str) -> bytes:
    mend = "store it elsewhere and keep its id, or raise JOBS['MAX_RESULT_BYTES']"
    return encode_bounded(value, hint, what=what, field=what, mend=mend)
