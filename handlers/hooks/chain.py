"""Calling middleware so that it can do no harm: what it raises, swallows, forgets or does twice changes no outcome.

Each one is called by itself, around all that are behind it. What it calls is called by us where it did not call it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from handlers import carried
from handlers.conf import jobs_settings
from handlers.correlations import check_correlation
from handlers.current import current
from handlers.exceptions import InvalidJob, JobCancelled
from handlers.hooks import JobMiddleware, JobRequest
from handlers.hooks.deadline import Part, TooLong
from handlers.job_types import check_queue
from handlers.priorities import check_priority
from handlers.registry import registry
from handlers.tagging import check_tags
from handlers.troubles import IMPORT, Went, told, troubles

if TYPE_CHECKING:
    from handlers.runs.run import Run

T = TypeVar("T")

METHODS = ("enqueue", "run", "arun")
FIXED = ("job_type", "payload", "run_at", "delay", "parent_id")  # of a request: nobody changes them

logger = logging.getLogger("handlers.hooks")

_at_it: ContextVar[tuple[Any, ...]] = ContextVar("handlers_middleware_at_it", default=())  # those that enqueue now


def run(run: Run, handler: Callable[[], T]) -> T:
    """What ``handler`` returns or raises, called within all that have ``run``."""
    chain = handler
    for middleware in reversed(_with("run")):
        chain = partial(_run, middleware, run, chain)
    return chain()


async def arun(run: Run, handler: Callable[[], Awaitable[T]]) -> T:
    """The same of an async handler, within all that have ``arun``."""
    chain = handler
    for middleware in reversed(_with("arun")):
        chain = partial(_arun, middleware, run, chain)
    return await chain()


def enqueue(jobs: Sequence[JobRequest], create: Callable[[Sequence[JobRequest]], list[int]]) -> list[int]:
    """What ``create`` answers or raises for ``jobs``, as all that have ``enqueue`` leave them; but for those that
    enqueue them: one that has itself called for what it enqueues would never end."""
    chain, at_it = create, _at_it.get()
    for middleware in reversed(_with("enqueue")):
        if middleware not in at_it:
            chain = partial(_enqueue, middleware, chain)
    return chain(jobs)


def sees_enqueues() -> bool:
    """Whether any has ``enqueue``."""
    return bool(_with("enqueue"))


def problems() -> list[str]:
    """What is wrong with what ``JOBS["MIDDLEWARE"]`` names, in words."""
    found = []
    for path in jobs_settings().middleware:
        try:
            _made(path)
        except ImproperlyConfigured as error:
            found.append(str(error))
    return found


class _Next(Generic[T]):
    """What a middleware calls, once, and not after its own end: then what it calls has been called without it."""

    def __init__(self, middleware: Any, method: str, function: Callable[..., T]) -> None:
        self.name, self.method = _name(middleware), method
        self._function = function
        self.seconds = jobs_settings().middleware_seconds
        self.has_begun = False
        self.error: BaseException | None = None
        self.value: T
        self.part: Part | None = None
        self.is_left = False  # the middleware has ended
        self._turn = threading.Lock()  # taken once and for all: by the call, or by the middleware's end
        self._thread: int | None = None  # in which it was called
        self._ended = threading.Event()  # what it calls has

    def __call__(self, *args: Any) -> T:
        self.begin()
        self._thread = threading.get_ident()
        self.end_part()
        try:
            self.value = self._function(*args)
        except BaseException as error:
            self.error = error
            raise
        finally:
            try:
                self.begin_part()
            finally:
                self._ended.set()
        return self.value

    def begin(self) -> None:
        """It is called. Raises RuntimeError where it must not be any more."""
        if not self._turn.acquire(blocking=False):
            raise RuntimeError(f"call_next was called {'twice' if self.has_begun else 'too late'}")
        self.has_begun = True

    def end(self) -> bool:
        """The middleware has ended; whether it had called this."""
        self.is_left = True
        return not self._turn.acquire(blocking=False)

    def begin_part(self) -> None:
        self.part = Part(self.seconds)

    def end_part(self) -> None:
        if (part := self.part) is not None:
            if (took := part.end()) > self.seconds and not part.is_thrown:
                self.was_slow(took)
            self.part = None

    def was_slow(self, seconds: float) -> None:
        self._say(Went.SLOW, f"took {seconds:.1f} s, more than its {self.seconds:g} s", f"{seconds:.1f} s")

    def outcome(self) -> T:
        """What it called came to; in another thread it may have still to end."""
        if self._thread != threading.get_ident():
            self._ended.wait()
            self.end_part()
        return self.result()

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value

    def has_raised(self, error: BaseException) -> None:
        """The middleware has: say so, unless it is what it was given. Raises what is no error of its own."""
        if error is self.error:
            return
        if isinstance(error, KeyboardInterrupt | GeneratorExit) or (not self.has_begun and _is_cancelled(error)):
            self.end()
            raise error
        if isinstance(error, TooLong):
            words = f"did not end within its {self.seconds:g} s, and was broken off"
            self._say(Went.BROKEN_OFF, words, f"{self.seconds:g} s")
        else:
            words = _told(error)
            # What it enqueues may be in the text, and nobody here knows what of that is sensitive.
            self._say(Went.RAISED, f"raised {words}", told(error) if self.method == "enqueue" else words)

    def has_returned(self) -> None:
        if not self.has_begun:
            self._say(Went.SKIPPED, "did not call call_next")
        elif self.error is not None:
            self._say(Went.SWALLOWED, "swallowed what was raised")

    def _say(self, went: Went, words: str, detail: str = "") -> None:
        where = "after" if self.has_begun else "before"
        goes_on = "the outcome stays" if self.has_begun else "it goes on without it"
        logger.warning("middleware %s %s, %s call_next: %s", self.name, words, where, goes_on)
        troubles.note(self.name, self.method, went, detail)


def _guarded(next_: _Next[Any], call: Callable[[], Any]) -> None:
    """Call the middleware. Raises TooLong only at its very end, for what was thrown before that; nothing comes then."""
    next_.begin_part()
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - whatever it raises
        next_.end_part()
        next_.has_raised(error)
    else:
        next_.end_part()
        next_.has_returned()


def _call(next_: _Next[T], call: Callable[[], Any]) -> None:
    try:
        _guarded(next_, call)
    except TooLong as error:
        next_.end_part()
        next_.has_raised(error)


def _run(middleware: Any, run: Run, handler: Callable[[], T]) -> T:
    next_ = _Next(middleware, "run", handler)
    _call(next_, partial(middleware.run, run, next_))
    return next_.outcome() if next_.end() else handler()


def _enqueue(
    middleware: Any, create: Callable[[Sequence[JobRequest]], list[int]], jobs: Sequence[JobRequest]
) -> list[int]:
    next_ = _Next(middleware, "enqueue", create)
    given = [replace(job, context=deepcopy(job.context)) for job in jobs]  # its own: it may change them where they are
    before = _at_it.set((*_at_it.get(), middleware))
    try:
        _call(next_, partial(middleware.enqueue, given, lambda changed: next_(_checked(jobs, given, changed))))
    finally:
        _at_it.reset(before)
    return next_.outcome() if next_.end() else create(jobs)


async def _arun(middleware: Any, run: Run, handler: Callable[[], Awaitable[T]]) -> T:
    next_: _Next[Any] = _Next(middleware, "arun", handler)
    ended, tasks = asyncio.Event(), list[asyncio.Task[Any] | None]()

    async def call_next() -> T:
        if not (next_.has_begun or next_.is_left):
            limit.reschedule(None)  # first: it raises where time is up
        next_.begin()
        tasks.append(asyncio.current_task())
        try:
            next_.value = await handler()
        except BaseException as error:
            next_.error = error
            raise
        finally:
            ended.set()
            if not next_.is_left:
                limit.reschedule(asyncio.get_running_loop().time() + next_.seconds)
        found: T = next_.value
        return found

    try:
        async with asyncio.timeout(next_.seconds) as limit:
            await middleware.arun(run, call_next)
    except BaseException as error:  # noqa: BLE001 - whatever it raises
        next_.has_raised(TooLong() if isinstance(error, TimeoutError) and limit.expired() else error)
    else:
        next_.has_returned()
    if not next_.end():
        return await handler()
    await _wait(ended, tasks)
    found: T = next_.result()
    return found


async def _wait(ended: asyncio.Event, tasks: Sequence[asyncio.Task[Any] | None]) -> None:
    """For a handler that goes on in a task for which its middleware did not wait. Who cancels us means that."""
    while not ended.is_set():
        try:
            await ended.wait()
        except asyncio.CancelledError:
            for task in filter(None, tasks):
                task.cancel()


def _is_cancelled(error: BaseException) -> bool:
    """Whether it is the run that ends, and not the middleware that is broken."""
    if isinstance(error, asyncio.CancelledError):
        return True
    job = current.get()
    return isinstance(error, JobCancelled) and job is not None and job.token.reason is not None


def _checked(before: Sequence[JobRequest], given: Sequence[JobRequest], after: Any) -> list[JobRequest]:
    """What a middleware made of jobs that were ``given`` to it. Raises InvalidJob."""
    found = list(after)
    if len(found) != len(before) or not all(isinstance(job, JobRequest) for job in found):
        raise InvalidJob("jobs: call_next takes as many jobs as there were", field="jobs")
    return [
        old if job is own and job.context == old.context else _check(old, job)
        for old, own, job in zip(before, given, found, strict=True)
    ]


def _check(old: JobRequest, job: JobRequest) -> JobRequest:
    for name in FIXED:
        if getattr(job, name) != getattr(old, name):
            raise InvalidJob(f"{name}: no middleware changes it", field=name)
    if job.queue != old.queue:
        check_queue(job.queue)
        if job.queue not in registry.queues() | set(jobs_settings().queues):
            raise InvalidJob(f"queue: {job.queue!r} is not known", field="queue")
    if job.correlation != "":
        check_correlation(job.correlation)
    text = carried.encoded(job.context)
    return replace(
        job, priority=check_priority(job.priority), tags=check_tags(job.tags), context=json.loads(text) if text else {}
    )


def _told(error: BaseException) -> str:
    """The error in one line: its class and where it was raised; in a run its text, without sensitive arguments."""
    job = current.get()
    try:
        text = f": {job.hide(str(error))[:500]}" if job is not None and str(error) else ""
    except Exception:  # noqa: BLE001 - whatever its __str__ raises
        text = ""
    return told(error, text)


@cache
def _with(method: str) -> tuple[Any, ...]:
    """Those that have it, the outermost first."""
    return tuple(
        each for each in _all() if getattr(type(each), method, None) not in (None, getattr(JobMiddleware, method))
    )


@cache
def _all() -> tuple[Any, ...]:
    found = []
    for path in jobs_settings().middleware:
        try:
            found.append(_made(path))
        except ImproperlyConfigured as error:  # as manage.py check says
            logger.error("%s Jobs go on without it.", error)
            troubles.note(path, IMPORT, Went.UNMADE)
    return tuple(found)


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting == "JOBS":
        _all.cache_clear()
        _with.cache_clear()


def _made(path: str) -> Any:
    try:
        found = import_string(path)
        made = found() if isinstance(found, type) else found
    except Exception as error:  # noqa: BLE001 - whatever its module or its __init__ raises
        raise ImproperlyConfigured(
            f"JOBS MIDDLEWARE: {path!r} cannot be made: {type(error).__name__}: {error}."
        ) from None
    methods = {name: getattr(made, name) for name in METHODS if callable(getattr(made, name, None))}
    if not methods:
        raise ImproperlyConfigured(f"JOBS MIDDLEWARE: {path!r} has none of enqueue, run and arun.")
    for name, method in methods.items():
        if inspect.iscoroutinefunction(method) != (name == "arun"):
            raise ImproperlyConfigured(
                f"JOBS MIDDLEWARE: {path!r}: {name} must{'' if name == 'arun' else ' not'} be async def."
            )
    return made


def _name(middleware: Any) -> str:
    return f"{type(middleware).__module__}.{type(middleware).__qualname__}"
