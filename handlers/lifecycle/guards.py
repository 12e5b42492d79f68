"""What else must hold before a worker may claim a job, and what nobody deletes: said by rooms that it does not know."""

from __future__ import annotations

_GUARDS: dict[str, str] = {}
_PROOFS: dict[str, str] = {}
kept: set[str] = set()  # names of types


def add(flag: str, condition: str, *, proof: str = "") -> None:
    """Let a job with ``flag``, a boolean column of its row, be claimed only where ``condition`` holds.

    ``condition``: SQL for both databases over the job's row, ``j``; a scalar subquery, which no plan turns into a scan.
    Before the first claim of a process: the statement is made once.

    ``proof``: a table with ``job_id`` and ``token`` where whoever sees to the guard by itself has written so; what has
    gone from there since is not claimed.
    """
    _GUARDS[flag] = condition
    _PROOFS[flag] = proof


def sql(*, without: str = "") -> str:
    """All of them but one, to be added to a condition. A job without a flag costs its look at that flag."""
    return "".join(
        f" AND CASE WHEN j.{flag} THEN {condition} ELSE TRUE END"
        for flag, condition in _GUARDS.items()
        if flag != without
    )


def proof(flag: str) -> str:
    """The table of those for whom somebody has seen to the guard of this flag; empty if there is none."""
    return _PROOFS.get(flag, "")


def keep(*job_types: str) -> None:
    """Let nobody delete jobs of these types: what they have begun for others they must do to its end."""
    kept.update(job_types)
