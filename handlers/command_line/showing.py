"""A job as a table's line. As data: ``handlers.told``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from handlers.command_line.screen import age
from handlers.models import JobRecord

HEADS = ("ID", "STATE", "TYPE", "QUEUE", "AGE", "TRY", "ERROR")


def state_of(record: JobRecord) -> str:
    """The state, as the console says it."""
    return "retrying" if record.is_retrying else record.state


def line(record: JobRecord, now: datetime) -> Sequence[Any]:
    """A table's line."""
    since = record.run_at if record.state == "scheduled" else record.finished_at or record.started_at
    return (
        record.pk, state_of(record), record.job_type, record.queue, age(since or record.created_at, now),
        record.attempt, record.error,
    )  # fmt: skip
