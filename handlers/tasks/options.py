"""What a task says beyond Django's own: in ``@task(...)``, in ``.using(...)``, and with its job as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from handlers.exceptions import InvalidJob
from handlers.limited import Limit
from handlers.retries import (
    Backoff,
    ExponentialBackoff,
    FixedBackoff,
    LinearBackoff,
    PolynomialBackoff,
    RetryPolicy,
)
from handlers.unique import Unique

ONCE = RetryPolicy(max_attempts=1)
MOST_SECONDS = 10**9  # of any time that a task names
POLICY = ("max_attempts", "backoff", "delay_seconds", "factor", "max_delay_seconds", "jitter", "on_exhausted")
STORED = (*POLICY, "timeout_seconds", "metadata", "backend")  # what a job may bring along
OPTIONS = ("retry", "max_attempts", "backoff", "timeout")  # of a backend: for tasks that say nothing


def policy(retry: Any, max_attempts: Any, backoff: Any, default: RetryPolicy) -> RetryPolicy:
    """The retry policy that these words mean. Raises InvalidJob.

    ``retry``: a policy, True for the usual one, False for none. Who names a ``backoff`` or ``max_attempts`` alone has
    the rest from ``default``, or, where that is never to retry, from the usual policy.
    """
    if retry is True:
        base = RetryPolicy()
    elif retry is False:
        base = ONCE
    elif retry is None:
        wants = backoff is not None or max_attempts is not None
        base = RetryPolicy() if wants and default.max_attempts == 1 else default
    elif isinstance(retry, RetryPolicy):
        base = retry
    else:
        raise InvalidJob(f"retry: must be a RetryPolicy, True or False, not {retry!r}", field="retry")
    if max_attempts is None and backoff is None:
        return base
    if isinstance(backoff, timedelta):
        backoff = FixedBackoff(backoff)
    changes = {"max_attempts": max_attempts, "backoff": backoff}
    return replace(base, **{name: value for name, value in changes.items() if value is not None})


def timeout(value: Any) -> timedelta | None:
    """The limit of an attempt: a timedelta, or seconds. Raises InvalidJob."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MOST_SECONDS:
        value = timedelta(seconds=value)
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise InvalidJob(f"timeout: must be a timedelta or seconds, above zero, not {value!r}", field="timeout")
    return value


def unique(value: Any) -> Unique | None:
    """A rule, True for the usual one. Raises InvalidJob."""
    if value is None or value is False:
        return None
    if value is True:
        return Unique()
    if not isinstance(value, Unique):
        raise InvalidJob(f"unique: must be a Unique, True or False, not {value!r}", field="unique")
    return value


def limits(value: Any) -> tuple[Limit, ...]:
    """One limit, or several. Raises InvalidJob."""
    if value is None:
        return ()
    several = (value,) if isinstance(value, Limit) else value
    if not isinstance(several, list | tuple) or not all(isinstance(each, Limit) for each in several):
        raise InvalidJob(f"limit: must be a Limit, or a list of them, not {repr(value)[:60]}", field="limit")
    return tuple(several)


def stored_policy(own: RetryPolicy, declared: RetryPolicy) -> dict[str, Any]:
    """What a job brings along of a policy other than its task's. Raises InvalidJob for what only code can say."""
    if own == declared:
        return {}
    if (own.retry_on, own.give_up_on) != (declared.retry_on, declared.give_up_on):
        raise InvalidJob(
            "retry: which errors are retried belongs to the task: say it in @task(retry=...)", field="retry"
        )
    longest = own.max_delay
    return {
        "max_attempts": own.max_attempts,
        **_stored_backoff(own.backoff),
        "max_delay_seconds": None if longest is None else longest.total_seconds(),
        "jitter": own.jitter,
        "on_exhausted": own.on_exhausted,
    }


def policy_of(stored: Mapping[str, Any], declared: RetryPolicy) -> RetryPolicy:
    """The policy of a job that brought ``stored`` along. Raises InvalidJob."""
    changes: dict[str, Any] = {
        name: stored[name] for name in ("max_attempts", "jitter", "on_exhausted") if name in stored
    }
    if "backoff" in stored:
        changes["backoff"] = _backoff(stored)
    if "max_delay_seconds" in stored:
        longest = stored["max_delay_seconds"]
        changes["max_delay"] = None if longest is None else _seconds("max_delay_seconds", longest)
    return replace(declared, **changes) if changes else declared


def check_stored(stored: Any, type_name: str) -> dict[str, Any]:
    """``stored``, which must be what a job may bring along. Raises InvalidJob, naming the field."""
    try:
        if not isinstance(stored, dict):
            raise InvalidJob(f"options: must be an object, not {type(stored).__name__}", field="options")
        if unknown := sorted(map(str, set(stored) - set(STORED))):
            raise InvalidJob(f"options: {unknown[0]!r} is none of {', '.join(STORED)}", field="options")
        policy_of(stored, ONCE)
        if "timeout_seconds" in stored:
            timeout(stored["timeout_seconds"])
        if not isinstance(stored.get("metadata", {}), dict):
            raise InvalidJob("options.metadata: must be an object", field="options.metadata")
        if not isinstance(stored.get("backend", ""), str):
            raise InvalidJob("options.backend: must be the name of one of TASKS", field="options.backend")
    except InvalidJob as error:
        raise InvalidJob(f"{type_name}: {error}", field=error.field) from None
    return stored


def _stored_backoff(backoff: Backoff) -> dict[str, Any]:
    match backoff:
        case PolynomialBackoff():
            return {"backoff": "polynomial"}
        case FixedBackoff(delay):
            return {"backoff": "fixed", "delay_seconds": delay.total_seconds()}
        case LinearBackoff(step):
            return {"backoff": "linear", "delay_seconds": step.total_seconds()}
        case ExponentialBackoff(base, factor):
            return {"backoff": "exponential", "delay_seconds": base.total_seconds(), "factor": factor}
    raise InvalidJob("backoff: one of your own belongs to the task: give it to @task(backoff=...)", field="backoff")


def _backoff(stored: Mapping[str, Any]) -> Backoff:
    delay = _seconds("delay_seconds", stored.get("delay_seconds", 30))
    match stored["backoff"]:
        case "fixed":
            return FixedBackoff(delay)
        case "linear":
            return LinearBackoff(delay)
        case "exponential":
            return ExponentialBackoff(delay, stored.get("factor", 2))
        case "polynomial":
            return PolynomialBackoff()
    raise InvalidJob("options.backoff: must be fixed, linear, exponential or polynomial", field="options.backoff")


def _seconds(name: str, value: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST_SECONDS:
        raise InvalidJob(f"options.{name}: must be a number of seconds, not {value!r}", field=f"options.{name}")
    return timedelta(seconds=value)
