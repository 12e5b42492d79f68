"""Recurring jobs over HTTP, by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Path, Query, Router

from handlers import told
from handlers.api import giving, shapes
from handlers.api.answers import Answer, once
from handlers.api.asking import Asker, asker
from handlers.api.document import EFFECT, EFFECT_ON_ONE
from handlers.api.jobs import MOST_LISTED, find_new_type, naming
from handlers.api.problems import Problem
from handlers.api.tags import expect, tag_of_version
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.masking import mask, mask_context
from handlers.models import RecurringJob

router = Router(tags=["recurring"])

Name = Annotated[str, Path(min_length=1, max_length=200)]


@router.get("/recurring", response=shapes.RecurringList)
def list_recurring(
    request: HttpRequest,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Any:
    """The recurring jobs, by name."""
    who = asker(request, "read", "limit", "cursor")
    rows: list[RecurringJob] = []
    after, more = cursor or "", True
    if "\0" in after:
        raise Problem(422, "cursor: is no cursor of this list", field="cursor")
    while more and len(rows) <= limit:  # of those that this token is for
        part = list(_rows().filter(name__gt=after).order_by("name")[: limit + 1])
        rows += [row for row in part if _covers(who, row)]
        more, after = len(part) > limit, part[-1].name if part else after
    shown = rows[:limit]
    given = [_given(who, row) for row in shown]
    return shapes.RecurringList.model_construct(recurring=given, next=shown[-1].name if len(rows) > limit else None)


@router.get("/recurring/{name}", response=shapes.Recurring)
def show_recurring(request: HttpRequest, response: HttpResponse, name: Name) -> Any:
    """One of them. Its ETag goes with a change as If-Match."""
    who = asker(request, "read")
    row = _find(who, name)
    response.headers["ETag"] = tag_of_version(row.version)
    return _given(who, row)


@router.put("/recurring/{name}", response=shapes.Changed, openapi_extra=EFFECT_ON_ONE)
def put_recurring(request: HttpRequest, name: Name, body: shapes.RecurringRule) -> HttpResponse:
    """Have a job run again and again, or change how it does."""
    who = asker(request, "recurring")

    def act() -> Answer:
        row = _read(name, lock=True)
        if row is not None:
            row = _find(who, name, lock=True)
            expect(request, tag_of_version(row.version), f"recurring job {name!r}")
        elif "If-Match" in request.headers:
            raise Problem(412, f"There is no recurring job {name!r}", field="If-Match")
        with naming():
            job_type = find_new_type(body.type)
            who.need_job(job_type.name, body.queue or job_type.queue)
        sent = body.payload
        if row is not None and row.job_type == job_type.name and not who.sees_sensitive:
            sent = giving.unmasked(sent, row.data, mask(job_type, row.data))
        with naming("payload."):
            job = job_type.decode(sent)
        options: dict[str, Any] = {"start": body.start, "end": body.end, "queue": body.queue}
        if body.every_seconds is not None:
            options["every"] = timedelta(seconds=body.every_seconds)
        if row is not None:  # what only the console and the code set stays as it is
            options |= {
                "catch_up": row.catch_up,
                "catch_up_within": timedelta(seconds=row.catch_up_seconds),
                "heartbeat_url": row.heartbeat_url,
            }
        with _unless_it_came(name, was_there=row is not None), naming():
            changed = job_scheduler.add_or_update_recurring(
                name, job, body.cron, timezone=body.timezone, misfire=body.misfire, overlap=body.overlap,
                jitter=timedelta(seconds=body.jitter_seconds), pause_after=body.pause_after, keep_context=True,
                by=who.by, reason=body.reason, expect=row.version if row else "", **options,
            )  # fmt: skip
        return Answer({"name": name, "changed": changed})

    return once(request, who.client.pk, act)


@router.delete("/recurring/{name}", response=shapes.Changed, openapi_extra=EFFECT_ON_ONE)
def remove_recurring(
    request: HttpRequest, name: Name, reason: Annotated[str, Query(max_length=500)] = ""
) -> HttpResponse:
    """Let it run no more. Jobs that it has enqueued stay."""
    who = asker(request, "recurring", "reason")

    def act() -> Answer:
        row = _find(who, name, lock=True)
        expect(request, tag_of_version(row.version), f"recurring job {name!r}")
        with naming():
            changed = job_scheduler.remove_recurring(name, by=who.by, reason=reason, expect=row.version)
        return Answer({"name": name, "changed": changed})

    return once(request, who.client.pk, act)


@router.post("/recurring/{name}/trigger", response={201: shapes.Enqueued}, openapi_extra=EFFECT)
def trigger_recurring(request: HttpRequest, name: Name, body: shapes.Reason | None = None) -> HttpResponse:
    """Run it once now, paused or not."""
    who = asker(request, "recurring")

    def act() -> Answer:
        row = _find(who, name, lock=True)
        with naming():
            made = job_scheduler.trigger_recurring(row.name, by=who.by, reason=body.reason if body else "")
        return Answer({"id": made, "is_new": made.is_new}, 201)

    return once(request, who.client.pk, act)


@router.post("/recurring/{name}/pause", response=shapes.Changed, openapi_extra=EFFECT)
def pause_recurring(request: HttpRequest, name: Name, body: shapes.Pause | None = None) -> HttpResponse:
    """Let no occurrence come, until then or until it is resumed."""
    until, reason = (body.until, body.reason) if body else (None, "")

    def pause(who: Asker) -> bool:
        if until is not None and until <= timezone.now():
            raise Problem(422, "until: that has passed", field="until", mend="Name a later time, or none.")
        return job_scheduler.pause_recurring(name, until, by=who.by, reason=reason)

    return _switch(request, name, pause)


@router.post("/recurring/{name}/resume", response=shapes.Changed, openapi_extra=EFFECT)
def resume_recurring(request: HttpRequest, name: Name, body: shapes.Reason | None = None) -> HttpResponse:
    """Let occurrences come again, from now on."""
    reason = body.reason if body else ""
    return _switch(request, name, lambda who: job_scheduler.resume_recurring(name, by=who.by, reason=reason))


def _switch(request: HttpRequest, name: str, act: Callable[[Asker], bool]) -> HttpResponse:
    who = asker(request, "recurring")

    def once_only() -> Answer:
        _find(who, name, lock=True)
        with naming():
            return Answer({"name": name, "changed": act(who)})

    return once(request, who.client.pk, once_only)


@contextmanager
def _unless_it_came(name: str, *, was_there: bool) -> Iterator[None]:
    """Raise Problem (409) where somebody else made it since: it may be one that this token is not for."""
    try:
        yield
    except Problem as problem:
        if was_there or problem.field != "name" or _read(name, lock=False) is None:
            raise
        raise Problem(409, f"Recurring job {name!r} was made meanwhile, by somebody else") from None


def _rows(*, lock: bool = False) -> QuerySet[RecurringJob]:
    """Where they are written. ``lock``: so that what is found stays as it is read."""
    rows = RecurringJob.objects.using(database())
    if lock:
        return rows.select_for_update()  # which SQLite passes over
    return rows.all()


def _read(name: str, *, lock: bool) -> RecurringJob | None:
    return None if "\0" in name else _rows(lock=lock).filter(name=name).first()


def _find(who: Asker, name: str, *, lock: bool = False) -> RecurringJob:
    row = _read(name, lock=lock)
    if row is None or not _covers(who, row):
        raise Problem(404, f"There is no recurring job {name[:100]!r}", mend="List them for those that there are.")
    return row


def _covers(who: Asker, row: RecurringJob) -> bool:
    if who.scope.is_whole:
        return True
    known = told.find_type(row.job_type)
    queue = row.queue or (known.queue if known else "")
    return who.scope.covers(known.name if known else row.job_type, queue)


def _given(who: Asker, row: RecurringJob) -> shapes.Recurring:
    data = row.data if who.sees_sensitive else mask(told.find_type(row.job_type), row.data)
    context = (row.context or {}) if who.sees_sensitive else mask_context(row.context or {})
    names = (
        "name", "queue", "cron", "every_seconds", "jitter_seconds", "misfire", "overlap", "pause_after", "in_code",
        "next_at", "last_at", "last_job_id", "paused_at", "paused_until",
    )  # fmt: skip
    return shapes.Recurring.model_construct(
        **{name: getattr(row, name) for name in names},
        type=row.job_type, payload=data, context=context, timezone=row.zone, start=row.start_at, end=row.end_at,
        etag=tag_of_version(row.version),
    )  # fmt: skip
