"""Retry policies at run time: what people save and assign goes over the code's, from the next failure on.

A stored policy says how often, when, and what becomes of a job in the end. Which errors are retried at all stays with
the code: only the code knows its exceptions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.lifecycle import database
from handlers.models import PolicyAssignment, StoredPolicy
from handlers.retries import Backoff, ExponentialBackoff, FixedBackoff, LinearBackoff, PolynomialBackoff, RetryPolicy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Effective:
    """The policy that a type follows now."""

    policy: RetryPolicy
    stored: StoredPolicy | None = None  # where it comes from; None: the code

    @property
    def name(self) -> str:
        """The stored policy's name; empty for the code's."""
        return self.stored.name if self.stored else ""


# What this process saw last for each type: used only while the database does not answer.
_last: dict[str, Effective] = {}


def as_policy(stored: StoredPolicy, base: RetryPolicy) -> RetryPolicy:
    """``stored`` with ``base``'s classes of errors. Raises InvalidJob, or OverflowError, for a row out of bounds."""
    longest = stored.max_delay_seconds
    return replace(
        base,
        max_attempts=stored.max_attempts,
        backoff=_backoff(stored),
        max_delay=None if longest is None else timedelta(seconds=longest),
        jitter=stored.jitter,
        on_exhausted=stored.on_exhausted,  # type: ignore[arg-type]  # checked by RetryPolicy
    )


def of_job(job_type: JobType, encoded: bytes) -> Effective:
    """The policy of one job of ``job_type``, with this payload: who enqueued it may have said otherwise in code.

    What people assign goes over that, too. Never raises.
    """
    found = effective(job_type)
    try:
        own = job_type.retry_of(encoded)
    except InvalidJob:
        return found
    return found if own == job_type.retry else _resolve(own, found.stored)


def effective(job_type: JobType) -> Effective:
    """The policy of ``job_type`` at this moment. Never raises.

    One query by primary key. While the database is away: what this process saw last, else the code's.
    """
    try:
        return effective_many([job_type])[job_type.name]
    except Exception as error:  # noqa: BLE001 - whatever is wrong here must not lose a job's outcome
        logger.warning("cannot read the retry policy of %s: %s", job_type.name, type(error).__name__)
        known = _last.get(job_type.name)
        return known if known is not None else Effective(job_type.retry)


def effective_many(job_types: Iterable[JobType]) -> dict[str, Effective]:
    """The policy of each type by the type's name, in one query. Raises the database's errors."""
    wanted = {job_type.name: job_type for job_type in job_types}
    assigned = PolicyAssignment.objects.using(database()).filter(pk__in=list(wanted)).select_related("policy")
    stored = {assignment.job_type: assignment.policy for assignment in assigned}
    found = {name: _resolve(job_type.retry, stored.get(name)) for name, job_type in wanted.items()}
    _last.update(found)
    return found


def _resolve(code: RetryPolicy, stored: StoredPolicy | None) -> Effective:
    if stored is None:
        return Effective(code)
    try:
        return Effective(as_policy(stored, code), stored)
    except (ValueError, OverflowError) as error:  # InvalidJob is a ValueError
        logger.error("retry policy %d cannot be used, the code's holds: %s", stored.pk, type(error).__name__)
        return Effective(code)


def _backoff(stored: StoredPolicy) -> Backoff:
    delay = timedelta(seconds=stored.delay_seconds)
    match stored.backoff:
        case "fixed":
            return FixedBackoff(delay)
        case "linear":
            return LinearBackoff(delay)
        case "exponential":
            return ExponentialBackoff(delay, stored.factor)
        case "polynomial":
            return PolynomialBackoff()
    raise ValueError(f"backoff {stored.backoff!r} is none of the known ones")
