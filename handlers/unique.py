"""When a job counts as one that is there already. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from handlers.exceptions import InvalidJob

ENDED, STARTED = UNTIL = ("ended", "started")
EXISTING, ERROR, REPLACE, DEBOUNCE = ON_CONFLICT = ("existing", "error", "replace", "debounce")
LONGEST_KEY = 4_096  # bytes of the values, as JSON
LONGEST_PERIOD = timedelta(days=3650)
_TEXT = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class Unique:
    """At most one job of its type that has the same values in the fields of ``key`` (default: in all).

    It holds its key ``until`` it is ``ended`` (succeeded, failed for good or deleted) or ``started``, and for
    ``period``, if given, in any case. Who enqueues another one meanwhile: ``existing`` gets the id of the one that
    holds it; ``error`` DuplicateJob; with ``replace`` the new one takes the place of one that was not started; with
    ``debounce`` one that is scheduled gets the new one's time and arguments. Where that is not possible any more, both
    do as ``existing``. Raises InvalidJob (``unique``) for what does not fit.
    """

    key: tuple[str, ...] | None = None
    until: str = ENDED
    period: timedelta | None = None
    on_conflict: str = EXISTING

    def __post_init__(self) -> None:
        if self.key is not None and (
            not isinstance(self.key, tuple) or not self.key or not all(isinstance(name, str) for name in self.key)
        ):
            raise _wrong(f'key must be a tuple of field names, such as key=("order_id",), not {self.key!r}')
        for name, value, known in (("until", self.until, UNTIL), ("on_conflict", self.on_conflict, ON_CONFLICT)):
            if value not in known:
                raise _wrong(f"{name} must be one of {', '.join(known)}, not {value!r}")
        if self.period is not None and (
            not isinstance(self.period, timedelta) or not timedelta(0) < self.period <= LONGEST_PERIOD
        ):
            raise _wrong(f"period must be a timedelta above 0 up to 3,650 days, not {self.period!r}")

    def check_fields(self, type_name: str, names: Collection[str]) -> None:
        """Raise InvalidJob unless the type has the fields of the key."""
        if lacking := [name for name in self.key or () if name not in names]:
            raise _wrong(
                f"{type_name} has no field {', '.join(map(repr, lacking))}; it has {', '.join(names) or 'none'}"
            )

    def hold_of(self, type_name: str, payload: Mapping[str, Any], former_names: Sequence[str] = ()) -> Hold:
        """What a job with this payload wants to hold. Raises InvalidJob for values that make too long a key."""
        values = payload if self.key is None else {name: payload[name] for name in self.key}
        text = _TEXT.encode(values).encode()
        if len(text) > LONGEST_KEY:
            raise _wrong(
                f"the values of {', '.join(values)} make a key of {len(text):,} bytes, and it may have {LONGEST_KEY:,}:"
                " name fewer or shorter fields with key="
            )
        former = tuple(_key(name, text) for name in former_names) if former_names else ()
        return Hold(_key(type_name, text), self, former)


# What callers give: a rule of their own, False for none, None for the type's.
Rule = Unique | Literal[False] | None


def check_rule(value: object) -> Unique:
    """``value``, which must be a rule. Raises InvalidJob."""
    if not isinstance(value, Unique):
        raise _wrong(f"must be a Unique, such as Unique(), not {value!r}")
    return value


class Hold(NamedTuple):
    """A key, 32 hex digits, and the rule by which it is held."""

    key: str
    rule: Unique
    former: tuple[str, ...] = ()  # what it was under the type's former names: jobs may wait that hold those


def _key(type_name: str, text: bytes) -> str:
    return hashlib.sha256(type_name.encode() + b"\n" + text).hexdigest()[:32]


def _wrong(why: str) -> InvalidJob:
    return InvalidJob(f"unique: {why}", field="unique")
