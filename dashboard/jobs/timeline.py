"""A job's life as the page tells it: the moves between states, and the attempts with how each of them ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext

from dashboard.jobs.reasons import in_language
from dashboard.jobs.tracebacks import Frame, Part, app_frame, parts
from dashboard.kit.queries import RETRYING
from handlers.models import AttemptError, JobHistory, JobRecord
from handlers.states import FINAL, State

OTHER_ENDS: dict[str, str] = {State.ENQUEUED: "handed back", State.SCHEDULED: "snoozed"}  # where a run ended so
MAX_MOVES = 200  # the newest ones are shown
MAX_ATTEMPTS = 50


@dataclass(frozen=True)
class Step:
    """A state that the job entered."""

    state: str  # what the badge says
    at: datetime
    reason: str = ""
    actor: str = ""
    stayed: timedelta | None = None  # None: it is still there for good
    is_now: bool = False


@dataclass(frozen=True)
class Attempt:
    """One run."""

    number: int
    outcome: str  # a state, or one of OTHER_ENDS
    started_at: datetime | None
    ended_at: datetime | None
    took: timedelta | None
    worker: str
    version: str = ""  # of the code that ran it
    reason: str = ""
    error: AttemptError | None = None
    others: int = 0  # jobs that ran in the same call of their handler
    first_id: int = 0  # the first job of that call, with which its log is

    @property
    def frame(self) -> Frame | None:
        """The last line of the app's own code in the traceback."""
        return app_frame(self.error.traceback) if self.error else None

    @property
    def traceback_parts(self) -> list[Part]:
        """The traceback in pieces."""
        return parts(self.error.traceback) if self.error else []


def steps(record: JobRecord, moves: Sequence[JobHistory], now: datetime) -> list[Step]:
    """The states that ``record`` went through, oldest first. ``moves``: its history by id, maybe without its start."""
    complete = len(moves) < MAX_MOVES
    entries: list[tuple[str, datetime, str, str]] = []
    if complete:
        start = moves[0].from_state if moves else record.state
        entries.append((str(start), record.created_at, gettext("created"), record.created_by))
    for move in moves:
        # To another queue: it stays what it was, also where that is more than its state says.
        stays = move.to_state == move.from_state and entries
        entries.append((entries[-1][0] if stays else _shown(move), move.at, in_language(move.reason), move.actor))
    told = []
    for place, (state, at, reason, actor) in enumerate(entries):
        is_last = place == len(entries) - 1
        until = None if is_last and State(record.state) in FINAL else now if is_last else entries[place + 1][1]
        stayed = max(until - at, timedelta(0)) if until else None
        told.append(Step(state, at, reason, actor, stayed, is_last and stayed is not None))
    return told


def attempts(
    record: JobRecord, moves: Sequence[JobHistory], errors: Sequence[AttemptError], now: datetime
) -> list[Attempt]:
    """The runs of ``record``, newest first, at most MAX_ATTEMPTS."""
    by_number = {error.attempt: error for error in errors}
    found: list[Attempt] = []
    claimed: JobHistory | None = None
    for move in moves:
        if move.to_state == State.PROCESSING:
            claimed = move
        if move.from_state != State.PROCESSING:
            continue
        data = move.data if isinstance(move.data, dict) else {}
        took = _seconds(data.get("duration_seconds"))
        started = claimed.at if claimed else None
        if took is not None:
            started = move.at - took
        elif started is not None:
            took = move.at - started
        failed = move.to_state == State.FAILED
        found.append(
            Attempt(
                number=move.attempt,
                outcome=OTHER_ENDS.get(move.to_state, move.to_state),
                started_at=started,
                ended_at=move.at,
                took=took,
                worker=str(data.get("worker") or (claimed.actor if claimed else "")),
                version=_version(claimed),
                reason=in_language(move.reason),
                error=by_number.pop(move.attempt, None) if failed else None,
                others=max(_whole(data.get("together")) - 1, 0),
                first_id=_whole(data.get("first")),
            )
        )
        claimed = None
    if record.state == State.PROCESSING:
        started = record.started_at or (claimed.at if claimed else None)
        took = now - started if started else None
        found.append(
            Attempt(record.attempt, State.PROCESSING.value, started, None, took, record.worker, _version(claimed))
        )
    return found[::-1][:MAX_ATTEMPTS]


def waited(moves: Sequence[JobHistory]) -> timedelta | None:
    """How long the newest attempt waited on its queue before it was claimed."""
    claim = next((move for move in reversed(moves) if move.to_state == State.PROCESSING), None)
    return _seconds(claim.data.get("latency_seconds")) if claim and isinstance(claim.data, dict) else None


def _shown(move: JobHistory) -> str:
    is_backoff = move.from_state == State.FAILED and move.to_state == State.SCHEDULED
    return RETRYING if is_backoff else str(move.to_state)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _version(claimed: JobHistory | None) -> str:
    return str(claimed.data.get("version", "")) if claimed and isinstance(claimed.data, dict) else ""


def _seconds(value: Any) -> timedelta | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return timedelta(seconds=value) if is_number and 0 <= value < 1e8 else None
