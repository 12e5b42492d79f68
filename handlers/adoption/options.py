"""What a call of RQ's brings along beside its arguments, as JSON: how it is retried, its callbacks, its meta."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from rq.callbacks import Callback
from rq.job import Retry
from rq.queue import Queue
from rq.utils import import_attribute, parse_timeout

from handlers.exceptions import InvalidJob, RetryAfter
from handlers.retries import Decision, RetryPolicy

RQ_TIMEOUT = timedelta(seconds=Queue.DEFAULT_TIMEOUT)
ENDLESS = timedelta(days=30)  # for RQ's -1
LONGEST_ID = 300  # characters that RQOrigin has for it
KNOWN = ("retry", "timeout_seconds", "on_success", "on_failure", "meta", "id", "description")


@dataclass(frozen=True, slots=True)
class Intervals:
    """The waits that a call of RQ's names, one after the other; the last one holds for the rest."""

    seconds: tuple[float, ...]

    def after(self, failures: int) -> timedelta:
        """The wait after failure number ``failures``."""
        return timedelta(seconds=self.seconds[min(failures, len(self.seconds)) - 1]) if self.seconds else timedelta(0)

    def __str__(self) -> str:
        return ", ".join(f"{each:g} s" for each in self.seconds[:10]) or "at once"


class ReturnedRetry(RetryAfter):
    """The function returned RQ's ``Retry``: it is to run again, at most so often."""

    def __init__(self, retry: Retry, failures: int) -> None:
        super().__init__(Intervals(tuple(retry.intervals)).after(failures))
        self.most = retry.max

    def __str__(self) -> str:
        return f"the function returned Retry(max={self.most})"


@dataclass(frozen=True, slots=True)
class RQPolicy(RetryPolicy):
    """RQ's: no retry, unless the call names one, or the function returns one."""

    max_attempts: int = 1
    jitter: float = 0.0

    def decide(self, *, failures: int, error: BaseException, draw: float) -> Decision:
        """As any policy; of what the function returned it says itself how often."""
        policy = replace(self, max_attempts=error.most + 1) if isinstance(error, ReturnedRetry) else self
        return RetryPolicy.decide(policy, failures=failures, error=error, draw=draw)


ONCE = RQPolicy()


def stored(
    *,
    retry: Any = None,
    timeout: Any = None,
    on_success: Any = None,
    on_failure: Any = None,
    meta: Any = None,
    job_id: str | None = None,
    description: str | None = None,
) -> dict[str, Any]:
    """These as JSON, without what says nothing. Raises InvalidJob for what can be none."""
    found: dict[str, Any] = {}
    if isinstance(retry, int) and not isinstance(retry, bool):
        retry = Retry(max=retry)
    if retry:
        found["retry"] = {"max": retry.max, "intervals": list(retry.intervals)}
    seconds = parse_timeout(timeout)
    if seconds is not None and seconds != RQ_TIMEOUT.total_seconds():
        found["timeout_seconds"] = seconds if seconds > 0 else ENDLESS.total_seconds()
    for name, callback in (("on_success", on_success), ("on_failure", on_failure)):
        if callback:
            found[name] = _callback(name, callback)
    if meta:
        found["meta"] = meta
    if job_id:
        found["id"] = job_id
    if description:
        found["description"] = str(description)
    return found


def check(options: Mapping[str, Any], type_name: str) -> None:
    """Raise InvalidJob unless they are such as ``stored`` makes them; people edit them, too."""
    for name in options:
        if name not in KNOWN:
            raise InvalidJob(f"{type_name}: options.{str(name)[:100]}: is none of {', '.join(KNOWN)}", field="options")
    if len(str(options.get("id", ""))) > LONGEST_ID:
        raise InvalidJob(f"{type_name}: options.id: is longer than {LONGEST_ID} characters", field="options")
    try:
        policy_of(options)
        timeout_of(options)
    except (InvalidJob, TypeError, ValueError, KeyError, OverflowError) as error:
        raise InvalidJob(f"{type_name}: options: {type(error).__name__}: {error}", field="options") from None


def policy_of(options: Mapping[str, Any]) -> RetryPolicy:
    """The policy that they name."""
    if not (retry := options.get("retry")):
        return ONCE
    seconds = tuple(float(each) for each in retry.get("intervals") or ())
    return RQPolicy(max_attempts=retry["max"] + 1, backoff=Intervals(seconds))


def timeout_of(options: Mapping[str, Any]) -> timedelta:
    """The limit of an attempt that they name, else RQ's own."""
    seconds = options.get("timeout_seconds")
    return RQ_TIMEOUT if seconds is None else timedelta(seconds=seconds)


def of_payload(encoded: bytes) -> dict[str, Any]:
    """Those of a stored call."""
    if b'"options"' not in encoded:
        return {}
    content = json.loads(encoded)
    found = content.get("options") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def named(function: Any) -> str:
    """The dotted path of a function of a module, or of a class in one. Raises InvalidJob for anything else."""
    path = function if isinstance(function, str) else f"{getattr(function, '__module__', None)}.{_qualname(function)}"
    try:
        found = import_attribute(path)
    except Exception as error:  # noqa: BLE001 - whatever the import of the site's module raises
        raise InvalidJob(f"function: {path[:200]} cannot be imported here: {type(error).__name__}") from None
    # Equal and not the same: a class method is another object each time.
    if not callable(found) or not (isinstance(function, str) or found == function):
        raise InvalidJob(f"function: {path[:200]} is not what a worker would import under that name", field="function")
    return path


def _qualname(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _callback(name: str, callback: Any) -> list[Any]:
    if not isinstance(callback, Callback):
        callback = Callback(callback)
    try:
        return [named(callback.func), callback.timeout]
    except InvalidJob as error:
        raise InvalidJob(f"{name}: {error}", field=name) from None
