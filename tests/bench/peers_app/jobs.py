"""The harness's own handler, as a job type; ``work`` is the harness's module, on the path of its processes."""

from __future__ import annotations

from dataclasses import dataclass

import work  # type: ignore[import-not-found]

from handlers import CancellationToken, Job, handles


@dataclass(frozen=True)
class Record(Job):
    """Append one record to the harness's file; ``hold``: seconds that it then takes."""

    i: int
    t0: float
    hold: float = 0.0


@handles(Record)
def record(job: Record, token: CancellationToken) -> None:
    """Run the harness's handler."""
    work.job(job.i, job.t0, job.hold)


@dataclass(frozen=True)
class RecordAsync(Job):
    """The same, for an async handler."""

    i: int
    t0: float
    hold: float = 0.0


@handles(RecordAsync)
async def record_async(job: RecordAsync) -> None:
    """Run the harness's async handler."""
    await work.ajob(job.i, job.t0, job.hold)
