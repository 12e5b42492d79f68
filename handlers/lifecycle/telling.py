"""What receivers of ``jobs_moved`` are told of each move. Called only where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.failures import reason_text
from handlers.models.sql import from_time
from handlers.signals import JobMoved
from handlers.signals.delivery import tell
from handlers.states import State


class Place(NamedTuple):
    """Where a job is."""

    job_id: int
    job_type: str
    queue: str
    attempt: int
    at: Any  # since when, as the driver has it


def moved(
    connection: BaseDatabaseWrapper, places: Iterable[Place], source: str | None, target: str, reason: str, actor: str
) -> None:
    """These have gone from ``source`` (None: they are new) to ``target``."""
    origin, state = None if source is None else State(source), State(target)
    tell(
        connection,
        [
            JobMoved(
                place.job_id, place.job_type, place.queue, origin, state, place.attempt, _time(place.at), reason, actor
            )
            for place in places
        ],
    )


def stepped(
    connection: BaseDatabaseWrapper, places: Sequence[tuple[Place, str, Sequence[tuple[str, str]]]], actor: str
) -> None:
    """Each has gone from its source by its steps (where, and why)."""
    told = []
    for place, source, steps in places:
        origin, at = State(source), _time(place.at)
        for target, reason in steps:
            state = State(target)
            told.append(
                JobMoved(
                    place.job_id, place.job_type, place.queue, origin, state, place.attempt, at, reason_text(reason),
                    actor,
                )
            )  # fmt: skip
            origin = state
    tell(connection, told)


def _time(value: Any) -> datetime:
    at = from_time(value)
    assert at is not None
    return at
