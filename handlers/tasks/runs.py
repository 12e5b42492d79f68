"""A task runs: its context, its signals, and what it returned."""

from __future__ import annotations

import copy
import inspect
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.utils import timezone

from handlers import logs
from handlers.cancellation import CancellationToken, CancelReason
from handlers.current import CurrentJob, current
from handlers.exceptions import JobCancelled, JobsError
from handlers.registry import registry
from handlers.tasks.arguments import returned
from handlers.tasks.context import Context, context_of
from handlers.tasks.durable_task import like
from handlers.tasks.families import family_of

# Each backend has them, and says there that a task starts and ends: the job's history says it, too.
for _name in ("django.tasks", "django_tasks"):
    logs.leave_out(_name)

# How a handler is called; what it wraps would say otherwise.
_SIGNATURE = inspect.Signature(
    [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("job", "token")]
)


def runner(task: Any) -> Callable[[Any, CancellationToken], Any]:
    """The handler of ``task``'s jobs."""
    func = task.func
    handler: Any

    if inspect.iscoroutinefunction(func):

        async def run_async(job: Any, token: CancellationToken) -> Any:
            attempt = await _Attempt.abegin(task, job, token)
            try:
                value = returned(await func(*attempt.args, **job.kwargs), type_name=task.module_path)
                await attempt.asucceeded(value)
            except BaseException as error:
                await attempt.afailed(error)
                raise
            return value

        handler = run_async
    else:

        def run(job: Any, token: CancellationToken) -> Any:
            attempt = _Attempt.begin(task, job, token)
            try:
                value = returned(func(*attempt.args, **job.kwargs), type_name=task.module_path)
                attempt.succeeded(value)
            except BaseException as error:
                attempt.failed(error)
                raise
            return value

        handler = run
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(handler, name, getattr(func, name))
    handler.__signature__, handler.__wrapped__ = _SIGNATURE, func
    return handler  # type: ignore[no-any-return]


class _Attempt:
    """One attempt, as its context and its signals show it."""

    def __init__(self, task: Any, job: Any, token: CancellationToken, earlier: Any) -> None:
        family = family_of(task)
        assert family is not None
        self._family, self._token = family, token
        self._current = current.get() or CurrentJob(token.job_id, token.attempt)
        self._sender = type(task.get_backend())
        self.result = _running(family, task, job, token, self._current, earlier)
        self.context: Context | None = None
        self.args: list[Any] = job.args
        if task.takes_context:
            self.context = context_of(family, self.result, token)
            self.args = [self.context, *job.args]

    @classmethod
    def begin(cls, task: Any, job: Any, token: CancellationToken) -> _Attempt:
        """Tell that it starts."""
        attempt = cls(task, job, token, _earlier(token))
        attempt._family.signals.task_started.send_robust(attempt._sender, task_result=attempt.result)
        return attempt

    @classmethod
    async def abegin(cls, task: Any, job: Any, token: CancellationToken) -> _Attempt:
        """The same on an event loop."""
        earlier = await sync_to_async(_earlier)(token) if token.attempt > 1 else None
        attempt = cls(task, job, token, earlier)
        await attempt._family.signals.task_started.asend_robust(attempt._sender, task_result=attempt.result)
        return attempt

    def succeeded(self, value: Any) -> None:
        """It returned this, which can be kept."""
        self._check(value)
        if self.context is not None:
            self.context.keep()
        self._ends(self._family.status.SUCCESSFUL, value)
        self._family.signals.task_finished.send_robust(self._sender, task_result=self.result)

    async def asucceeded(self, value: Any) -> None:
        """The same on an event loop."""
        self._check(value)
        if self.context is not None:
            await sync_to_async(self.context.keep)()
        self._ends(self._family.status.SUCCESSFUL, value)
        await self._family.signals.task_finished.asend_robust(self._sender, task_result=self.result)

    def failed(self, error: BaseException) -> None:
        """It raised this. Told is what has ended: what is tried again has not."""
        if self._is_end(error):
            self._ends(self._family.status.FAILED, None, error)
            self._family.signals.task_finished.send_robust(self._sender, task_result=self.result)

    async def afailed(self, error: BaseException) -> None:
        """The same on an event loop. Who is cancelled has no time for it."""
        if not isinstance(error, CancelledError) and await sync_to_async(self._is_end)(error):
            self._ends(self._family.status.FAILED, None, error)
            await self._family.signals.task_finished.asend_robust(self._sender, task_result=self.result)

    def _check(self, value: Any) -> None:
        if value is not None:  # too large, for one
            registry.find(self.result.task.module_path).result.encode(value)

    def _is_end(self, error: BaseException) -> bool:
        from handlers import execution
        from handlers.retries import Exhausted

        if self.context is not None:
            self.context.keep_quietly()
        if isinstance(error, JobCancelled) and self._token.reason not in (None, CancelReason.TIMEOUT):
            return False  # it goes back to its queue, or is nobody's any more
        claim = self._current.claim
        if claim is None:
            return True
        try:
            return isinstance(execution.decide(claim, error)[1], Exhausted)
        except Exception:  # noqa: BLE001 - as the engine has it: a policy that cannot decide ends the job
            return True

    def _ends(self, status: Any, value: Any, error: BaseException | None = None) -> None:
        from handlers.failures import class_path, describe
        from handlers.tasks.results import exception_path

        put = object.__setattr__
        put(self.result, "status", status)
        put(self.result, "finished_at", timezone.now())
        put(self.result, "_return_value", value)
        if error is not None:
            failure = describe(error, self._current.hide)
            path = exception_path(class_path(error))
            self.result.errors.append(self._family.error(exception_class_path=path, traceback=failure.traceback))


def _earlier(token: CancellationToken) -> Any:
    """What is on record of earlier attempts; None before there were any, and where the database does not say."""
    from django.db import Error

    from handlers.tasks.results import read

    if token.attempt < 2:
        return None
    try:
        return read(token.job_id)
    except (Error, JobsError):
        return None


def _running(family: Any, task: Any, job: Any, token: CancellationToken, about: CurrentJob, earlier: Any) -> Any:
    from handlers.tasks.results import result_class

    now, claim = timezone.now(), about.claim
    shown = task
    if claim is not None and (claim.queue != task.queue_name or job.options):
        shown = like(task, queue_name=claim.queue, backend=job.options.get("backend", task.backend))
    workers, errors, started_at = [about.worker], [], now
    if earlier is not None:
        workers = [*earlier.worker_ids[: token.attempt - 1], about.worker]
        errors, started_at = earlier.errors, earlier.started_at
    elif token.attempt > 1:
        workers = [""] * (token.attempt - 1) + workers
    return result_class(family)(
        task=shown,
        id=str(token.job_id),
        status=family.status.RUNNING,
        enqueued_at=None if claim is None else claim.created_at,
        started_at=started_at,
        last_attempted_at=now,
        finished_at=None,
        args=job.args,
        kwargs=job.kwargs,
        backend=shown.backend,
        errors=errors,
        worker_ids=workers,
        metadata=copy.deepcopy(job.options.get("metadata", {})) if earlier is None else earlier.metadata,
    )
