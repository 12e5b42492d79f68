"""What callers name jobs by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from handlers.several import for_each


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
