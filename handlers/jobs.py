"""The engine's own job types, on the queue that every worker serves and nobody pauses."""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async

from handlers.bulk import RunBulk, run_chunk
from handlers.bulk.runs import TYPE_NAME
from handlers.conf import SYSTEM_QUEUE
from handlers.recurrence.heartbeats import HEARTBEAT, SendHeartbeat, address, ask
from handlers.registry import handles
from handlers.retries import RetryPolicy


@handles(RunBulk, queue=SYSTEM_QUEUE, retry=RetryPolicy(max_attempts=10), name=TYPE_NAME)
def run_bulk(job: RunBulk) -> None:
    """Do one chunk of a bulk operation."""
    run_chunk(job.operation_id, job.step)


@handles(SendHeartbeat, queue=SYSTEM_QUEUE, retry=RetryPolicy(max_attempts=5), name=HEARTBEAT)
async def send_heartbeat(job: SendHeartbeat) -> None:
    """Tell a dead man's switch that a recurring job has succeeded."""
    await asyncio.to_thread(ask, await sync_to_async(address)(job.recurring_id))
