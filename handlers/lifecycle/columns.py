"""The rows that the life cycle hands to its SQL: each column's name and kind (see ``handlers.models.sql.KINDS``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

# A job to be. ``run_at``, or ``delay`` in seconds from the database's now; neither: enqueued at once.
CREATE = {
    "state": "text", "token": "text", "job_type": "text", "queue": "text", "run_at": "time", "delay": "float",
    "created_by": "text", "data": "json", "parent_id": "id", "correlation": "text",
}  # fmt: skip
# What a worker wants to claim.
CLAIM = {"id": "id", "token": "text"}
# A guarded move: of which job, from which token to which; what changes, and what that counts as (``outcome``), if as
# anything, in which most of a batch agree; how long the job's run took, if it had one.
WHICH = {"id": "id", "token": "text", "new_token": "text"}
CHANGE = {
    "source": "text", "state": "text", "attempt_by": "int", "failures_by": "int", "crashes_by": "int",
    "new_round": "bool", "alone": "bool", "run_at": "time", "delay": "float", "error": "text", "fingerprint": "text",
    "outcome": "text",
}  # fmt: skip
MOVE = WHICH | CHANGE | {"seconds": "float"}
# What is written beside a move (``data`` is not encoded), once it has happened; ``job_id`` comes first.
STEP = {"job_id": "id", "from_state": "text", "to_state": "text", "reason": "text", "data": "value"}
ERROR = {
    "job_id": "id", "exception": "text", "message": "text", "traceback": "text", "fingerprint": "text", "frame": "text",
}  # fmt: skip
LOG = {"job_id": "id", "lines": "json"}


class Beside(NamedTuple):
    """What is written for those of a batch that moved: rows as STEP, ERROR and LOG have them."""

    actor: str
    steps: Sequence[Sequence[Any]]
    errors: Sequence[Sequence[Any]]
    logs: Sequence[Sequence[Any]]
