"""What can run here, and how it is going, over HTTP."""

from __future__ import annotations

import inspect
from typing import Any

from django.http import HttpRequest
from ninja import Router

from handlers import bounded, fleet, queues
from handlers.api import shapes
from handlers.api.asking import asker
from handlers.api.choosing import in_time
from handlers.api.problems import Problem
from handlers.conf import ENGINE_TYPES
from handlers.gateway import job_scheduler
from handlers.models import QueueSwitch
from handlers.registry import registry
from handlers.states import State

router = Router(tags=["state"])
CAP = 1_000  # jobs that are counted: one more stands for all others
COUNTED = (
    *(
        state.value
        for state in (State.AWAITING, State.SCHEDULED, State.ENQUEUED, State.PROCESSING, State.WAITING, State.FAILED)
    ),
    bounded.RETRYING,
)


@router.get("/types", response=shapes.JobTypeList)
def list_types(request: HttpRequest) -> Any:
    """The job types that this token is for, with the JSON schema of what goes into ``payload``."""
    scope = asker(request, "read").scope
    return shapes.JobTypeList.model_construct(
        types=[
            shapes.JobType.model_construct(
                name=known.name,
                queue=known.queue,
                description=inspect.getdoc(known.payload_class) or "",
                json_schema=known.schema(),
            )
            for known in registry.all()
            if not known.name.startswith(ENGINE_TYPES) and (not scope.types or known.name in scope.types)
        ]
    )


@router.get("/queues", response=shapes.QueueList)
def list_queues(request: HttpRequest) -> Any:
    """The queues that this token is for: how many jobs wait, since when, and whether one is paused."""
    scope = asker(request, "read").scope
    if scope.types:
        raise Problem(403, "This token is limited to some types, and queues tell of all", mend="Use another token.")
    paused = job_scheduler.paused_queues()
    with in_time():
        found = sorted(bounded.depths(queues.known_queues() | set(paused), CAP))
    rows = [
        _queue(depth, paused.get(depth.queue)) for depth in found if not scope.queues or depth.queue in scope.queues
    ]
    return shapes.QueueList.model_construct(queues=rows)


@router.get("/stats", response=shapes.Stats)
def show_stats(request: HttpRequest) -> Any:
    """How many jobs are in each state, and who works."""
    asker(request, "read").need_all("stats")
    with in_time():
        states = bounded.state_counts(COUNTED, CAP)
    live = fleet.live_briefly()
    workers = [process for process in live if process.kind == "worker"]
    return shapes.Stats.model_construct(
        states=states,
        workers=len(workers),
        running=sum(map(fleet.running, workers)),
        schedulers=sum(process.kind == "scheduler" for process in live),
        trouble=job_scheduler.transport_trouble(),
    )


def _queue(depth: bounded.Depth, switch: QueueSwitch | None) -> shapes.QueueState:
    return shapes.QueueState.model_construct(
        name=depth.queue,
        waiting=depth.number,
        oldest_at=depth.since,
        paused=switch is not None,
        paused_by=switch.by if switch else "",
        paused_until=switch.until if switch else None,
    )
