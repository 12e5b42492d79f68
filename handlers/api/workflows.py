"""Workflows over HTTP: read, paused, cancelled, retried. The code makes them."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router

from handlers.api import shapes
from handlers.api.answers import Answer, once
from handlers.api.asking import asker
from handlers.api.choosing import cursor_of, in_time, place_of
from handlers.api.document import EFFECT
from handlers.api.jobs import MOST_LISTED
from handlers.api.problems import Problem
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.models import Workflow

router = Router(tags=["workflows"])

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
DONE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled", "retry": "retried"}


@router.get("/workflows", response=shapes.WorkflowList)
def list_workflows(
    request: HttpRequest,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    cursor: Annotated[str | None, Query(max_length=40)] = None,
) -> Any:
    """The workflows, newest first. Their jobs: GET /jobs?q=workflow:ID."""
    asker(request, "read", "limit", "cursor").need_all("workflows")
    before = place_of(cursor)
    rows = Workflow.objects.using(database()).order_by("-pk")
    rows = rows if before is None else rows.filter(pk__lt=before)
    with in_time():
        found = list(rows[: limit + 1])
    given = [_given(row) for row in found[:limit]]
    return shapes.WorkflowList.model_construct(workflows=given, next=cursor_of(found, limit))


@router.get("/workflows/{workflow_id}", response=shapes.Workflow)
def show_workflow(request: HttpRequest, workflow_id: Id) -> Any:
    """One workflow: how far it is."""
    asker(request, "read").need_all("workflows")
    return _given(_find(workflow_id))


@router.post("/workflows/{workflow_id}/pause", response=shapes.WorkflowDone, openapi_extra=EFFECT)
def pause_workflow(request: HttpRequest, workflow_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Let no further job of it start. Running ones finish."""
    return _govern(request, workflow_id, "pause", body)


@router.post("/workflows/{workflow_id}/resume", response=shapes.WorkflowDone, openapi_extra=EFFECT)
def resume_workflow(request: HttpRequest, workflow_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Let its jobs start again."""
    return _govern(request, workflow_id, "resume", body)


@router.post("/workflows/{workflow_id}/cancel", response=shapes.WorkflowDone, openapi_extra=EFFECT)
def cancel_workflow(request: HttpRequest, workflow_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Delete all of its jobs that have not succeeded; running ones are asked to stop."""
    return _govern(request, workflow_id, "cancel", body)


@router.post("/workflows/{workflow_id}/retry", response=shapes.WorkflowDone, openapi_extra=EFFECT)
def retry_workflow(request: HttpRequest, workflow_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Run all of its failed jobs again, and what depends on them."""
    return _govern(request, workflow_id, "retry", body)


def _govern(request: HttpRequest, workflow_id: int, verb: str, body: shapes.Reason | None) -> HttpResponse:
    who = asker(request, "workflows")
    who.need_all("workflows")

    def act() -> Answer:
        _find(workflow_id)
        govern = getattr(job_scheduler, f"{verb}_workflow")
        count = int(govern(workflow_id, by=who.by, reason=body.reason if body else ""))
        if not count:
            raise Problem(409, f"Workflow {workflow_id} is not where it could be {DONE[verb]}")
        return Answer({"id": workflow_id, "did": DONE[verb], "count": count})

    return once(request, who.client.pk, act)


def _find(workflow_id: int) -> Workflow:
    row = Workflow.objects.using(database()).filter(pk=workflow_id).first()
    if row is None:
        raise Problem(404, f"There is no workflow {workflow_id}", mend="List them for those that there are.")
    return row


def _given(row: Workflow) -> shapes.Workflow:
    return shapes.Workflow.model_construct(
        **{**{name: getattr(row, name) for name in shapes.Workflow.model_fields if name != "id"}, "id": row.pk}
    )
