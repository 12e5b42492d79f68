"""Signals of jobs: what has happened to them, told to whoever connects.

    from django.dispatch import receiver
    from handlers.signals import jobs_moved

    @receiver(jobs_moved)
    def count(sender, moves, **kwargs):
        for move in moves:
            statsd.incr(f"jobs.{move.to_state}", tags=[move.job_type])

Sent after the commit by the process that made the moves: from a thread of its own, so that no receiver holds up a
worker, a scheduler or a request. docs/hooks.md says what that means.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.dispatch import Signal

from handlers.states import State

__all__ = ["JobMoved", "jobs_moved"]


@dataclass(frozen=True, slots=True)
class JobMoved:
    """One move of one job, as its history has it."""

    job_id: int
    job_type: str
    queue: str  # where the job is now
    from_state: State | None  # None: it has just been made
    to_state: State  # the same one, where a job went to another queue, or its time was changed
    attempt: int  # runs really started so far
    at: datetime  # by the database's clock, aware, UTC
    reason: str  # in words; without sensitive arguments
    actor: str  # who made it: ``user:ann``, or a part of the system


# Sent with ``moves``, a tuple of JobMoved in the order of the commits that this process made; its sender is JobMoved.
jobs_moved = Signal()
