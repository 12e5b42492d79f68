"""A call of RQ's runs: its current job, its callbacks, and what it returned."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from rq.job import Retry, _current_job
from rq.utils import import_attribute

from handlers.adoption.options import ReturnedRetry
from handlers.cancellation import CancellationToken
from handlers.exceptions import InvalidJob, JobCancelled
from handlers.payloads import encode_value

logger = logging.getLogger("handlers.adoption")


def runner(path: str, function: Any) -> Callable[[Any, CancellationToken], Any]:
    """The handler of the jobs of one function."""
    handler: Any
    if inspect.iscoroutinefunction(function):

        async def run_async(call: Any, token: CancellationToken) -> Any:
            from asgiref.sync import sync_to_async

            job = _current(path, call, token)
            before = _current_job.set(job)
            try:
                value = await function(*call.args, **call.kwargs)
            except BaseException as error:
                await sync_to_async(_failed)(job, call, error)
                raise
            finally:
                _current_job.reset(before)
            return await sync_to_async(_returned)(job, call, value, token)

        handler = run_async
    else:

        def run(call: Any, token: CancellationToken) -> Any:
            job = _current(path, call, token)
            before = _current_job.set(job)
            try:
                try:
                    value = function(*call.args, **call.kwargs)
                except BaseException as error:
                    _failed(job, call, error)
                    raise
                return _returned(job, call, value, token)
            finally:
                _current_job.reset(before)

        handler = run
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(handler, name, getattr(function, name, None) or "")
    return handler  # type: ignore[no-any-return]


def _current(path: str, call: Any, token: CancellationToken) -> Any:
    from handlers.adoption.handle import running

    return running(path, call, token)


def _returned(job: Any, call: Any, value: Any, token: CancellationToken) -> Any:
    if isinstance(value, Retry):
        raise ReturnedRetry(value, token.attempt)
    _call_back(call.options.get("on_success"), job, value)
    try:
        if value is not None:
            encode_value(value, Any, what="result")
    except InvalidJob as error:
        logger.info("what %s returned is not kept: %s", job.func_name, error)
        return None
    return value


def _failed(job: Any, call: Any, error: BaseException) -> None:
    if not isinstance(error, JobCancelled):
        _call_back(call.options.get("on_failure"), job, type(error), error, error.__traceback__)


def _call_back(callback: Any, job: Any, *about: Any) -> None:
    """Call what the site wanted called. Its error is logged with the job, and takes no one else's place."""
    if not callback:
        return
    try:
        import_attribute(callback[0])(job, job.connection, *about)
    except Exception:
        logger.exception("the callback %s raised", callback[0])
