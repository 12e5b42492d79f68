"""By when a job must have been started, or it never is: what callers give for it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from handlers.exceptions import InvalidJob
from handlers.wording import worded

Expiry = timedelta | datetime | None

LONGEST_WAIT = timedelta(days=3650)


def deadline(expires: object) -> tuple[datetime | None, timedelta | None]:
    """The moment, in UTC, or the wait from now, of which the other is None. Raises InvalidJob (``expires``)."""
    if isinstance(expires, timedelta) and timedelta(0) < expires <= LONGEST_WAIT:
        return None, expires
    if isinstance(expires, datetime) and expires.utcoffset() is not None:
        return utc("expires", expires), None
    raise InvalidJob(
        worded(
            "expires: must be an aware datetime, or a timedelta above 0 up to 3,650 days, not %(expires)s",
            expires=repr(expires),
        ),
        field="expires",
    )


def too_early(expires: object) -> InvalidJob:
    """The error of a deadline that is over when its job is due."""
    return InvalidJob(
        worded("expires: %(expires)s comes before the job is due, so it would never run", expires=repr(expires)),
        field="expires",
    )


def check_delay(delay: object) -> None:
    """Raise InvalidJob (``delay``) unless it is a wait that a job may have."""
    if not isinstance(delay, timedelta) or not timedelta(0) <= delay <= LONGEST_WAIT:
        raise InvalidJob(
            worded("delay: must be a timedelta from 0 to 3,650 days, not %(delay)s", delay=repr(delay)), field="delay"
        )


def check_ahead(until: datetime | None, now: datetime) -> None:
    """Raise InvalidJob (``until``) for an end that has passed: what it ends would never have begun."""
    if until is not None and until <= now:
        raise InvalidJob(
            worded("until: %(until)s has passed: name a later time, or none", until=until.isoformat()), field="until"
        )


def utc(field: str, at: datetime) -> datetime:
    """``at``, an aware datetime, in UTC. Raises InvalidJob (``field``)."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise InvalidJob(
            worded("%(field)s: %(at)s lies outside the calendar once it is taken to UTC", field=field, at=repr(at)),
            field=field,
        ) from None
