"""What callers name jobs by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from handlers.exceptions import InvalidJob


def for_each(field: str, values: object, what: str) -> None:
    """Raise InvalidJob (``field``) unless ``values`` can be several, such as a list of ``what``."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidJob(f"{field}: takes several, such as a list of {what}, not {repr(values)[:60]}", field=field)


def job_ids(values: Iterable[Any]) -> list[int]:
    """Those of ``values``, int or str, that can be ids of jobs: each once, ascending.

    Raises InvalidJob for what is no collection: of a text, which is one of its characters, it would be other jobs.
    """
    known = set()
    for_each("job_ids", values, "the ids of jobs")
    for value in values:
        # int() would round 1.5, and take True for 1.
        if isinstance(value, bool) or not isinstance(value, int | str):
            continue
        try:
            number = int(value)
        except ValueError:
            continue
        if 0 < number < 2**63:
            known.add(number)
    return sorted(known)
