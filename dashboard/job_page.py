"""The job page: why did it fail, and what now?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Q
from django.http import HttpRequest, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from dashboard import catalogue, sensitive, timeline, verbs
from dashboard.markdown import failure_markdown
from dashboard.relations import relations
from dashboard.search import neighbours
from dashboard.text import call, inert
from handlers.models import AttemptError, JobPayload, JobRecord
from handlers.policies import effective
from handlers.registry import JobType
from handlers.states import State

NEWEST = 3  # attempts whose traceback and log lines are on the page; another one by ?attempt=
MAX_LINE = 2_000  # characters of a log line that are shown
LEVELS = ("INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class ShownLine:
    """One log line."""

    at: str
    level: str
    logger: str
    text: str

    @property
    def css(self) -> str:
        """The level as a class; nothing from the data gets in there."""
        return self.level.lower() if self.level in LEVELS else "other"


@dataclass(frozen=True)
class ShownAttempt:
    """One run with what it logged."""

    run: timeline.Attempt
    lines: list[ShownLine]


def job_page(site: AdminSite, request: HttpRequest, record: JobRecord) -> TemplateResponse:
    """One job: what it is, what happened to it, what comes next, and what this person can do about it."""
    now = timezone.now()
    moves = list(record.history.order_by("-pk")[: timeline.MAX_MOVES])[::-1]
    errors = _errors(request, record)
    runs = timeline.attempts(record, moves, errors, now)
    job_type = catalogue.find(record.job_type)
    payload = JobPayload.objects.filter(pk=record.pk).first()
    if payload:
        payload.data = _shown_arguments(request, record, payload.data)  # for the page; never saved
    chosen = effective(job_type) if job_type else None
    logs = _logs(request, record)
    newer, older = neighbours(request, record)
    code = _call(record, job_type, payload.data if payload else None)
    state = State(record.state)
    last_failure = next((run for run in runs if run.error), None)
    shows_failure = state in (State.FAILED, State.SCHEDULED, State.ENQUEUED) and last_failure is not None
    was_running = bool(moves) and moves[-1].from_state == State.PROCESSING
    buttons = [
        {"verb": verb, "label": verb.label_for(record), "url": _job_url(site, verb.name, record.pk)}
        for verb in verbs.VERBS.values()
        if verb.allowed(request.user)
        and verb.possible(record)
        and not (verb is verbs.RESTORE and was_running)  # its handler ran on: the engine does not take it back
    ]
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": f"{inert(record.job_type)} #{record.pk}",
        "opts": JobRecord._meta,
        "record": record,
        "job_type": job_type,
        "call": code,
        "markdown": failure_markdown(record, last_failure, code) if shows_failure and last_failure else "",
        "is_live": state in (State.ENQUEUED, State.PROCESSING, State.SCHEDULED),
        "payload": payload,
        "steps": timeline.steps(record, moves, now),
        "steps_cut": len(moves) == timeline.MAX_MOVES,
        "attempts": [ShownAttempt(run, logs.get(run.number, [])) for run in runs],
        "relations": relations(record, payload),
        "newer": newer,
        "older": older,
        "failure": last_failure if shows_failure else None,
        "policy": chosen.policy if chosen else None,
        "stored_policy": chosen.stored if chosen else None,
        "plan": catalogue.delays(chosen.policy, record.failures) if chosen and record.is_retrying else [],
        "buttons": buttons,
        "edit_url": _job_url(site, "edit", record.pk)
        if job_type and payload and verbs.RETRY.allowed(request.user) and verbs.RETRY.possible(record)
        else "",
        "back": _back_url(site, request),
        "max_reason": verbs.MAX_REASON,
    }
    return TemplateResponse(request, "admin/jobs/jobrecord/change_form.html", context)


def _shown_arguments(request: HttpRequest, record: JobRecord, data: Any) -> Any:
    return sensitive.shown(request, record, data)


def _asked(request: HttpRequest) -> int:
    """The attempt that the address asks for; 0 for none, or for nonsense."""
    text = request.GET.get("attempt", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _errors(request: HttpRequest, record: JobRecord) -> list[AttemptError]:
    """The newest errors, oldest first. Only the newest few, and the one asked for, have their traceback."""
    errors = list(record.errors.order_by("-pk").defer("traceback")[: timeline.MAX_ATTEMPTS])
    wanted = [error.pk for place, error in enumerate(errors) if place < NEWEST or error.attempt == _asked(request)]
    full = dict(record.errors.filter(pk__in=wanted).values_list("pk", "traceback")) if wanted else {}
    for error in errors:
        error.traceback = full.get(error.pk, "")
    return errors[::-1]


def _logs(request: HttpRequest, record: JobRecord) -> dict[int, list[ShownLine]]:
    """The log lines of the newest attempts, and of the one asked for, by attempt."""
    rows = record.logs.filter(Q(attempt__gt=record.attempt - NEWEST) | Q(attempt=_asked(request)))
    found: dict[int, list[ShownLine]] = {}
    for row in rows.order_by("-pk")[: NEWEST + 1]:
        lines = [line for line in row.lines if isinstance(line, list) and len(line) == 4]
        found[row.attempt] = [ShownLine(*(inert(str(part), MAX_LINE) for part in line)) for line in lines[:201]]
    return found


def _call(record: JobRecord, job_type: JobType | None, data: Any) -> str:
    if job_type is None:
        return call(record.job_type, "", data)
    queue = record.queue if record.queue != job_type.queue else None
    return call(record.job_type, job_type.payload_class.__name__, data, kind=job_type.kind, queue=queue)


def _job_url(site: AdminSite, name: str, job_id: int) -> str:
    return reverse(f"admin:jobs_jobrecord_{name}", args=[job_id], current_app=site.name)


def _back_url(site: AdminSite, request: HttpRequest) -> str:
    """The list that the person came from, with its filters."""
    url = reverse("admin:jobs_jobrecord_changelist", current_app=site.name)
    query = QueryDict(request.GET.get("_changelist_filters", "")).urlencode()
    return f"{url}?{query}" if query else url
