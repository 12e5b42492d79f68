"""Times and lengths of time as they are typed: ``2h``, ``2026-12-24T18:00+01:00``."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

from django.utils import timezone

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw])")


def length(text: str) -> timedelta:
    """A length of time. Raises ArgumentTypeError."""
    found = _LENGTH.fullmatch(text.strip().casefold())
    if found is None:
        raise ArgumentTypeError(f"cannot read {text[:40]!r}: write a number and s, m, h, d or w, such as 90s or 2h")
    try:
        return timedelta(**{UNITS[found[2]]: float(found[1])})
    except OverflowError:
        raise ArgumentTypeError(f"{text[:40]!r} is too long") from None


def moment(text: str) -> datetime:
    """A moment: in ISO 8601, UTC where it names no zone, or so long from now. Raises ArgumentTypeError."""
    return _read(text, 1, "2h from now")


def ago(text: str) -> datetime:
    """A moment that has passed: in ISO 8601 as well, or so long before now. Raises ArgumentTypeError."""
    at = _read(text, -1, "2h before now")
    if at > timezone.now():
        raise ArgumentTypeError(f"{text[:40]!r} is still to come: name a time that has passed")
    return at


def ahead(text: str) -> datetime:
    """A moment that is still to come. Raises ArgumentTypeError."""
    at = moment(text)
    if at <= timezone.now():
        raise ArgumentTypeError(f"{text[:40]!r} has passed: name a later time, or none")
    return at


def _read(text: str, sign: int, example: str) -> datetime:
    if _LENGTH.fullmatch(text.strip().casefold()):
        try:
            return timezone.now() + sign * length(text)
        except OverflowError:
            raise ArgumentTypeError(f"{text[:40]!r} is too far away") from None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ArgumentTypeError(
            f"cannot read {text[:40]!r}: write {example}, or 2026-12-24T18:00+01:00 (UTC without a zone)"
        ) from None
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ArgumentTypeError(f"{text[:40]!r} is too far away") from None
