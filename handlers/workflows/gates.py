"""What the ends of parents mean to those who wait for them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from handlers.exceptions import InvalidJob
from handlers.models.workflow import NodeOutcome, Require, When

MET, MISSED, OPEN = "met", "missed", ""
_SUCCESS = (NodeOutcome.SUCCEEDED, NodeOutcome.SKIPPED)
_DELETED = (NodeOutcome.DELETED, NodeOutcome.UNNEEDED)
_PASSES = {
    When.SUCCESS: _SUCCESS,
    When.FAILURE: (NodeOutcome.FAILED,),
    When.DELETED: _DELETED,
    When.ENDED: (*_SUCCESS, NodeOutcome.FAILED, *_DELETED),
}
_WORDS = {
    When.SUCCESS: "succeeded", When.FAILURE: "failed", When.DELETED: "were deleted", When.ENDED: "ended",
}  # fmt: skip


def verdict(outcome: str, when: str) -> str:
    """What a parent's outcome is to a gate: MET, MISSED, or OPEN, as long as it may still become one of them.

    A failed parent is no end for who asks for success: it is retried, skipped or deleted by a person.
    """
    if outcome in _PASSES[When(when)]:
        return MET
    return OPEN if outcome in (NodeOutcome.NOT_YET, NodeOutcome.FAILED) else MISSED


@cache
def verdicts(outcome: str) -> Mapping[str, str]:
    """The same to the gates of each rule (When)."""
    return {when.value: verdict(outcome, when) for when in When}


def decide(require: str, *, total: int, met: int, missed: int) -> bool | None:
    """Whether a gate is passed; None while that is open."""
    if require == Require.ANY:
        return True if met else False if missed == total else None
    return False if missed else True if met == total else None


def reason(when: str, require: str, parent: int, total: int, *, is_open: bool) -> str:
    """Why, for the histories of those who waited. ``parent``: one by which it was decided."""
    many = "one" if require == Require.ANY else "all"
    who = f"job {parent}" if total == 1 else f"{many} of {total:,} jobs"
    did = _WORDS[When(when)]
    if total == 1 or require == Require.ANY:
        did = did.replace("were", "was")
    if is_open:
        return f"{who} {did}"
    if total == 1:
        return f"{who} did not end as this waits for ({did})"
    return f"of {total:,} jobs {'none' if require == Require.ANY else 'not all'} {did}"


def check_rule(when: object, require: object) -> tuple[When, Require]:
    """The rule of a gate. Raises InvalidJob, naming what is wrong with it."""
    if when == "any" or when == "all":
        raise InvalidJob(f"when: is an outcome; of how many parents is said by require={when!r}", field="when")
    for field, value, known in (("when", when, When), ("require", require, Require)):
        if value not in known.values:
            raise InvalidJob(f"{field}: must be one of {', '.join(known.values)}, not {value!r}", field=field)
    return When(str(when)), Require(str(require))
