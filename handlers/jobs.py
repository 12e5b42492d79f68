"""The engine's own job types, on the queue that every worker serves and nobody pauses."""

from __future__ import annotations

from handlers.bulk import RunBulk, run_chunk
from handlers.bulk.runs import TYPE_NAME
from handlers.conf import SYSTEM_QUEUE
from handlers.registry import handles
from handlers.retries import RetryPolicy


@handles(RunBulk, queue=SYSTEM_QUEUE, retry=RetryPolicy(max_attempts=10), name=TYPE_NAME)
def run_bulk(job: RunBulk) -> None:
    """Do one chunk of a bulk operation."""
    run_chunk(job.operation_id, job.step)
