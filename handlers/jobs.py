"""The engine's own job types, on the queue that every worker serves and nobody pauses; and mail, on the site's."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from asgiref.sync import sync_to_async

from handlers.alerts import names
from handlers.alerts.notices import SendAlert
from handlers.alerts.sending import deliver
from handlers.bulk import RunBulk, run_chunk
from handlers.bulk.runs import TYPE_NAME
from handlers.cancellation import CancellationToken
from handlers.conf import SYSTEM_QUEUE
from handlers.mail import messages, sending
from handlers.mail.messages import SendEmail
from handlers.recurrence.heartbeats import HEARTBEAT, SendHeartbeat, address, ask
from handlers.registry import handles
from handlers.retries import RetryPolicy
from handlers.workflows import governing, release
from handlers.workflows.governing import GovernWorkflow
from handlers.workflows.release import OpenGate


@handles(RunBulk, queue=SYSTEM_QUEUE, retry=RetryPolicy(max_attempts=10), name=TYPE_NAME)
def run_bulk(job: RunBulk) -> None:
    """Do one chunk of a bulk operation."""
    run_chunk(job.operation_id, job.step)


@handles(SendHeartbeat, queue=SYSTEM_QUEUE, retry=RetryPolicy(max_attempts=5), name=HEARTBEAT)
async def send_heartbeat(job: SendHeartbeat) -> None:
    """Tell a dead man's switch that a recurring job has succeeded."""
    await asyncio.to_thread(ask, await sync_to_async(address)(job.recurring_id))


# A million take a minute or two.
@handles(
    OpenGate, queue=SYSTEM_QUEUE, retry=RetryPolicy(max_attempts=10), timeout=timedelta(hours=2), name=release.TYPE_NAME
)
def open_gate(job: OpenGate, token: CancellationToken) -> None:
    """Let all those go on that wait for the same jobs."""
    release.release_rest(job.gate_id, job.after, token)


@handles(GovernWorkflow, queue=SYSTEM_QUEUE, retry=RetryPolicy(max_attempts=10), name=governing.TYPE_NAME)
def govern_workflow(job: GovernWorkflow) -> None:
    """Cancel or retry a chunk of a workflow's jobs."""
    governing.govern_rest(job)


@handles(SendAlert, queue=SYSTEM_QUEUE, retry=RetryPolicy(max_attempts=12), name=names.TYPE_NAME, keep_result=False)
def send_alert(job: SendAlert) -> None:
    """Tell people, or a program of theirs, what an alert rule has found."""
    deliver(job.notice_id)


@handles(SendEmail, name=messages.TYPE_NAME, keep_result=False)
def send_email(job: SendEmail) -> None:
    """Send one mail through the real backend."""
    sending.send(job)
