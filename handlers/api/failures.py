"""Failure groups over HTTP: what is broken, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router

from handlers.api import shapes
from handlers.api.answers import Answer, once
from handlers.api.asking import asker
from handlers.api.choosing import in_time
from handlers.api.document import EFFECT
from handlers.api.jobs import MOST_LISTED, naming
from handlers.api.problems import Problem
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.models import FailureGroup

router = Router(tags=["failures"])

Id = Annotated[str, Path(min_length=1, max_length=16, pattern="^[A-Za-z0-9]+$")]
WHAT = "failure groups"
DONE = {"resolve": "resolved", "ignore": "ignored", "reopen": "reopened"}


@router.get("/failures", response=shapes.FailureGroupList)
def list_failures(
    request: HttpRequest,
    state: shapes.GroupStates | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    cursor: Annotated[str | None, Query(max_length=60)] = None,
) -> Any:
    """The failure groups, the latest first, or those of one state. Their jobs: GET /jobs?q=group:ID."""
    asker(request, "read", "state", "limit", "cursor").need_all(WHAT)
    groups = FailureGroup.objects.using(database()).order_by("-last_at", "-fingerprint")
    if state is not None:
        groups = groups.filter(state=state)
    if cursor is not None:
        at, fingerprint = _place(cursor)
        groups = groups.filter(Q(last_at__lt=at) | Q(last_at=at, fingerprint__lt=fingerprint))
    with in_time():
        found = list(groups[: limit + 1])
    shown = found[:limit]
    last = f"{shown[-1].last_at.isoformat()}~{shown[-1].pk}" if len(found) > limit else None
    return shapes.FailureGroupList.model_construct(groups=[_given(group) for group in shown], next=last)


@router.get("/failures/{group_id}", response=shapes.FailureGroup)
def show_failure(request: HttpRequest, group_id: Id) -> Any:
    """One failure group."""
    asker(request, "read").need_all(WHAT)
    return _given(_find(group_id))


@router.post("/failures/{group_id}/resolve", response=shapes.GroupDone, openapi_extra=EFFECT)
def resolve_failure(request: HttpRequest, group_id: Id, body: shapes.Resolve | None = None) -> HttpResponse:
    """Put it away as mended: now, from a version on, or in the next one. It opens again when it comes back."""
    said = body or shapes.Resolve()

    def act(**who: Any) -> bool:
        return job_scheduler.resolve_group(group_id, said.version, reason=said.reason, **who)

    return _change(request, group_id, "resolve", act)


@router.post("/failures/{group_id}/ignore", response=shapes.GroupDone, openapi_extra=EFFECT)
def ignore_failure(request: HttpRequest, group_id: Id, body: shapes.Ignore | None = None) -> HttpResponse:
    """Put it away for good, until a time, or until it has happened so many more times."""
    said = body or shapes.Ignore()

    def act(**who: Any) -> bool:
        return job_scheduler.ignore_group(group_id, until=said.until, times=said.times, reason=said.reason, **who)

    return _change(request, group_id, "ignore", act)


@router.post("/failures/{group_id}/reopen", response=shapes.GroupDone, openapi_extra=EFFECT)
def reopen_failure(request: HttpRequest, group_id: Id, body: shapes.Reason | None = None) -> HttpResponse:
    """Open it again."""

    def act(**who: Any) -> bool:
        return job_scheduler.reopen_group(group_id, reason=body.reason if body else "", **who)

    return _change(request, group_id, "reopen", act)


def _change(request: HttpRequest, group_id: str, verb: str, do: Callable[..., bool]) -> HttpResponse:
    who = asker(request, "failures")
    who.need_all(WHAT)

    def act() -> Answer:
        group = _find(group_id)
        with naming():
            done = do(by=who.by)
        if not done:
            raise Problem(409, f"Failure group {group_id} is {group.state} so already", state=group.state)
        return Answer({"id": group_id, "did": DONE[verb]})

    return once(request, who.client.pk, act)


def _find(group_id: str) -> FailureGroup:
    group = FailureGroup.objects.using(database()).filter(pk=group_id).first()
    if group is None:
        raise Problem(404, f"There is no failure group {group_id!r}", mend="List them for those that there are.")
    return group


def _place(cursor: str) -> tuple[datetime, str]:
    at, _, fingerprint = cursor.partition("~")
    try:
        told = datetime.fromisoformat(at)
        moment = None if told.utcoffset() is None else told.astimezone(UTC)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or not fingerprint.isalnum() or not fingerprint.isascii():
        raise Problem(422, "cursor: is no cursor of this list", field="cursor", mend="Send what 'next' was, or none.")
    return moment, fingerprint


def _given(group: FailureGroup) -> shapes.FailureGroup:
    names = set(shapes.FailureGroup.model_fields) - {"id", "type"}
    facts = {name: getattr(group, name) for name in names}
    return shapes.FailureGroup.model_construct(id=group.pk, type=group.job_type, **facts)
