"""Bulk operations over HTTP: a verb for all jobs that match, its progress, and the switches on it."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Path, Router

from handlers.api import shapes
from handlers.api.answers import Answer, once
from handlers.api.asking import Asker, asker
from handlers.api.choosing import selection_of
from handlers.api.document import EFFECT, URLS
from handlers.api.jobs import naming
from handlers.api.problems import Problem
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.models import BulkOperation

router = Router(tags=["bulk"])

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
SWITCHES = {"pause": "paused", "try": "tried", "resume": "resumed", "stop": "stopped"}


@router.post("/bulk", response={201: shapes.Bulk}, openapi_extra=EFFECT)
def start_bulk(request: HttpRequest, body: shapes.NewBulk) -> HttpResponse:
    """Do a verb to all jobs that match now, in the background, oldest first."""
    who = asker(request, "bulk")
    who.need(body.verb) if body.verb in ("retry", "requeue", "delete", "move") else None
    selection = selection_of(who, body.q)
    if selection is None:
        raise Problem(422, "q: no job matches that this token is for", field="q")
    if body.queue and who.scope.queues and body.queue not in who.scope.queues:
        raise Problem(403, f"This token is not for the queue {body.queue!r}", field="queue")

    def act() -> Answer:
        with naming():
            operation = job_scheduler.start_bulk(
                body.verb, selection, queue=body.queue, by=who.by, reason=body.reason,
                rate_per_second=body.rate_per_second, canary=body.canary, max_failed_share=body.max_failed_share,
                confirm_count=body.confirm_count,
            )  # fmt: skip
        where = {"Location": reverse(f"{URLS}:show_bulk", args=[operation.pk])}
        return Answer(_given(operation).model_dump(mode="json"), 201, where)

    return once(request, who.client.pk, act)


@router.get("/bulk/{operation_id}", response=shapes.Bulk)
def show_bulk(request: HttpRequest, operation_id: Id) -> Any:
    """A bulk operation that this client has started: how far it is."""
    return _given(_find(asker(request, "read"), operation_id))


@router.post("/bulk/{operation_id}/pause", response=shapes.Done, openapi_extra=EFFECT)
def pause_bulk(request: HttpRequest, operation_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Let no further chunk of it begin."""
    return _switch(request, operation_id, "pause", body)


@router.post("/bulk/{operation_id}/try", response=shapes.Done, openapi_extra=EFFECT)
def try_bulk(request: HttpRequest, operation_id: Id, body: shapes.TryMore | None = None) -> HttpResponse:
    """Of a paused one: let some more jobs go first, and the rest after them only if they all succeed."""
    return _switch(request, operation_id, "try", body, jobs=(body or shapes.TryMore()).jobs)


@router.post("/bulk/{operation_id}/resume", response=shapes.Done, openapi_extra=EFFECT)
def resume_bulk(request: HttpRequest, operation_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Go on with it."""
    return _switch(request, operation_id, "resume", body)


@router.post("/bulk/{operation_id}/stop", response=shapes.Done, openapi_extra=EFFECT)
def stop_bulk(request: HttpRequest, operation_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """End it for good; what it moved stays moved."""
    return _switch(request, operation_id, "stop", body)


def _switch(
    request: HttpRequest, operation_id: int, what: str, body: shapes.Reason | None, **given: int
) -> HttpResponse:
    who = asker(request, "bulk")

    def act() -> Answer:
        operation = _find(who, operation_id)
        who.need(operation.verb)
        switch = getattr(job_scheduler, f"{what}_bulk")
        with naming():
            done = switch(operation_id, **given, by=who.by, reason=body.reason if body else "")
        if not done:
            raise Problem(409, f"Bulk operation {operation_id} is {operation.state}", state=operation.state)
        return Answer({"id": operation_id, "did": SWITCHES[what]})

    return once(request, who.client.pk, act)


def _find(who: Asker, operation_id: int) -> BulkOperation:
    operation = BulkOperation.objects.using(database()).filter(pk=operation_id, user=None, username=who.by).first()
    if operation is None:
        raise Problem(404, f"This client has no bulk operation {operation_id}")
    return operation


def _given(operation: BulkOperation) -> shapes.Bulk:
    return shapes.Bulk.model_construct(**{name: getattr(operation, name) for name in shapes.Bulk.model_fields})
