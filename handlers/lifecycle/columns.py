"""The rows that the life cycle hands to its SQL: each column's name and kind (see ``handlers.models.sql.KINDS``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

# A job to be. ``run_at``, or ``delay`` in seconds from the database's now; neither: enqueued at once. ``expires_at``,
# or ``expires_in`` such seconds; neither: never.
CREATE = {
    "state": "text", "token": "text", "job_type": "text", "queue": "text", "run_at": "time", "delay": "float",
    "created_by": "text", "watched": "bool", "limited": "bool", "priority": "int", "data": "json", "parent_id": "id",
    "correlation": "text", "release": "text", "context": "json", "expires_at": "time", "expires_in": "float",
}  # fmt: skip
RESERVED = {"id": "id"} | CREATE
# What a worker wants to claim.
CLAIM = {"id": "id", "token": "text"}
# What changes, and what that counts as (``outcome``), if as anything. Most moves of a batch share one change.
CHANGE = {
    "source": "text", "state": "text", "attempt_by": "int", "failures_by": "int", "crashes_by": "int",
    "new_round": "bool", "alone": "bool", "run_at": "time", "delay": "float", "error": "text", "fingerprint": "text",
    "version": "text", "outcome": "text",
}  # fmt: skip
# A guarded move: of which job, from which token to which; the number of its change, from 1 on; how long the job's run
# took, if it had one.
WHICH = {"id": "id", "token": "text", "new_token": "text"}
MOVE = WHICH | {"change": "int", "seconds": "float"}
# A job that goes to another queue and stays in its state; and why, with facts, for its history.
TO_QUEUE = WHICH | {"state": "text", "reason": "text", "data": "value"}
# A step of a change (``data`` is not encoded). Of its first one how long the run took is a fact, too.
STEP = {"change": "int", "first": "bool", "from_state": "text", "to_state": "text", "reason": "text", "data": "value"}
# What else is written of a job that has moved; ``job_id`` comes first.
ERROR = {
    "job_id": "id", "exception": "text", "message": "text", "traceback": "text", "fingerprint": "text", "frame": "text",
    "version": "text",
}  # fmt: skip
LOG = {"job_id": "id", "lines": "json"}
RESULT = {"job_id": "id", "data": "json"}


class Beside(NamedTuple):
    """What else is written of a job as it is made, with parameters by names that no column of CREATE has.

    PostgreSQL: a part of the statement that makes it, which reads the job's id from ``made``. SQLite: a statement after
    it, in the same transaction, with two parameters more: ``job_id``, and ``at``, when the job was made.
    """

    sql: str
    params: Mapping[str, Any]


class MoveBatch(NamedTuple):
    """A batch of moves with what is written of them: rows as MOVE, CHANGE, STEP, ERROR, LOG and RESULT have them.

    ``tells``: it matters where each job is; ``told``: its type, its attempt, and when it came there, too.
    """

    actor: str
    rows: Sequence[Sequence[Any]]
    changes: Sequence[Sequence[Any]]
    steps: Sequence[Sequence[Any]]
    errors: Sequence[Sequence[Any]]
    logs: Sequence[Sequence[Any]]
    results: Sequence[Sequence[Any]]
    tells: bool
    told: bool


class Moved(NamedTuple):
    """Which jobs of a batch moved, and whether something follows for one of them (``watched``).

    ``rows``: each one's id, queue, run_at and priority if the batch ``tells``; its type, attempt, and when, if
    ``told``.
    """

    ids: Collection[int]
    watched: bool
    rows: Sequence[Sequence[Any]]
