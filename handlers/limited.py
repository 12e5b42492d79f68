"""How many jobs may run at once, and how many may start in a time. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from handlers.exceptions import InvalidJob

NAME = re.compile(r"[a-z0-9_-]{1,64}")
LONGEST_KEY = 200  # characters of a value as JSON; a longer one is known by its digest
MOST = 1_000_000
LONGEST_PERIOD = 31 * 86_400  # seconds
RATE_FORMS = 'such as "100/m", "5/s", "1000/h", "10/d" or "100/10s"'
_RATE = re.compile(r"([0-9]{1,7})/([0-9]{1,7})?([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_TEXT = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


class Rate(NamedTuple):
    """At most so many ``starts`` in any ``seconds``."""

    starts: int
    seconds: int


def parse_rate(text: str) -> Rate:
    """``text``: a number, a slash, and a time: s, m, h or d, perhaps after a number of them. Raises InvalidJob."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise _wrong(f"rate: cannot read {str(text)[:100]!r}: write a number for each time, {RATE_FORMS}")
    rate = Rate(int(found[1]), int(found[2] or 1) * _SECONDS[found[3]])
    if not 1 <= rate.starts <= MOST:
        raise _wrong(f"rate: {text!r} must allow 1 to {MOST:,} starts; to stop jobs, pause their type or queue")
    if not 1 <= rate.seconds <= LONGEST_PERIOD:
        raise _wrong(f"rate: the time of {text!r} must be 1 second to 31 days")
    return rate


def check_concurrency(number: object) -> None:
    """Raise InvalidJob unless so many jobs can be what may run at once."""
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MOST:
        raise _wrong(
            f"concurrency: must be a whole number, 1 to {MOST:,}, not {repr(number)[:100]}; to stop jobs, pause their"
            " type or queue"
        )


@dataclass(frozen=True)
class Limit:
    """At most ``concurrency`` jobs of the types that have a limit of this ``name`` run at once, and at most as many
    start as ``rate`` says: ``"100/m"``, 100 in any minute (s, m, h, d; also ``"100/10s"``).

    ``key``: a field of the arguments, of which each value has this limit for itself; without one there is one for all.
    Types that share a limit give the same values, and may have the key in fields of different names. Raises InvalidJob
    (``limits``) for what does not fit.
    """

    name: str
    concurrency: int | None = None
    rate: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise _wrong(f"name: {str(self.name)[:100]!r} must be 1 to 64 of a-z, 0-9, hyphen and underscore")
        if self.concurrency is None and self.rate is None:
            raise _wrong(f"{self.name!r} limits nothing: give it concurrency=, rate=, or both")
        if self.concurrency is not None:
            check_concurrency(self.concurrency)
        if self.rate is not None:
            parse_rate(self.rate)
        if self.key is not None and not isinstance(self.key, str):
            raise _wrong(f'key: must name a field, such as key="tenant_id", not {str(self.key)[:100]!r}')

    def is_same(self, other: Limit) -> bool:
        """Whether two types that name this limit mean the same by it."""
        return (self.concurrency, self.rate, self.key is None) == (other.concurrency, other.rate, other.key is None)


def check_limits(type_name: str, limits: object, fields: Sequence[str]) -> None:
    """Raise InvalidJob unless ``limits`` is a tuple of them that fits a type with these ``fields``."""
    if not isinstance(limits, tuple) or not all(isinstance(limit, Limit) for limit in limits):
        raise _wrong(f'{type_name}: must be a list of Limit, such as [Limit("cards", concurrency=5)], not {limits!r}')
    names = [limit.name for limit in limits]
    for limit in limits:
        if names.count(limit.name) > 1:
            raise _wrong(f"{type_name}: two limits have the name {limit.name!r}: give each its own")
        if limit.key is not None and limit.key not in fields:
            raise _wrong(
                f"{type_name}: key: it has no field {limit.key!r}; it has {', '.join(fields) or 'none'}",
            )


def key_of(limit: Limit, payload: Mapping[str, Any], *, is_sensitive: bool = False) -> str:
    """Whose limit it is for this payload: the field's value as JSON; empty where there is one for all.

    A long value, and one that pages must not show, is known by its digest.
    """
    if limit.key is None:
        return ""
    value = payload.get(limit.key)
    if type(value) is int and not is_sensitive and -MOST < value < MOST:  # as most are
        return str(value)
    text = _TEXT.encode(value)
    encoded = text.encode(errors="surrogatepass")
    if is_sensitive or len(text) > LONGEST_KEY or encoded != text.encode(errors="replace"):
        return f"sha256:{hashlib.sha256(encoded).hexdigest()}"
    return text


def _wrong(why: str) -> InvalidJob:
    return InvalidJob(f"limits: {why}", field="limits")
