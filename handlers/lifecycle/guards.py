"""What else must hold before a worker may claim a job, and what nobody deletes: said by rooms that it does not know."""

from __future__ import annotations

_GUARDS: dict[str, str] = {}
kept: set[str] = set()  # names of types


def add(flag: str, condition: str) -> None:
    """Let a job with ``flag``, a boolean column of its row, be claimed only where ``condition`` holds.

    ``condition``: SQL for both databases over the job's row, ``j``; a scalar subquery, which no plan turns into a scan.
    Before the first claim of a process: the statement is made once.
    """
    _GUARDS[flag] = condition


def sql(*, without: str = "") -> str:
    """All of them but one, to be added to a condition. A job without a flag costs its look at that flag."""
    return "".join(
        f" AND CASE WHEN j.{flag} THEN {condition} ELSE TRUE END"
        for flag, condition in _GUARDS.items()
        if flag != without
    )


def keep(*job_types: str) -> None:
    """Let nobody delete jobs of these types: what they have begun for others they must do to its end."""
    kept.update(job_types)
