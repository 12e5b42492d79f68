"""The job page: why did it fail, and what now?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.contrib.admin import AdminSite
from django.db.models import Case, Q, Subquery, TextField, Value, When
from django.db.models.functions import Coalesce, Left
from django.http import HttpRequest, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.text import capfirst

from dashboard.jobs import comparison, rows, stack, timeline
from dashboard.jobs.flow import flow_of, with_later
from dashboard.jobs.lineage import lineage
from dashboard.jobs.log import ShownLine, shown_lines
from dashboard.jobs.markdown import failure_markdown
from dashboard.jobs.neighbours import neighbours
from dashboard.jobs.progress import Progress, progress_of
from dashboard.jobs.relations import payload_of, relations
from dashboard.jobs.saga import saga_of
from dashboard.jobs.signals import signals_of
from dashboard.kit import catalogue, health, in_short, queries, sensitive, serving, verbs
from dashboard.kit.one_at_a_time import hold_in_words
from dashboard.kit.reach import covers
from dashboard.kit.subjects import Titles, links_of
from dashboard.kit.text import call, inert
from dashboard.kit.vocabulary import state_label
from handlers import stranded
from handlers.admission.places import place_of
from handlers.conf import jobs_settings
from handlers.masking import mask
from handlers.models import AttemptError, JobPayload, JobRecord
from handlers.policies import effective
from handlers.registry import JobType
from handlers.states import State
from handlers.uniqueness import held_by

NEWEST = 3  # attempts whose traceback and log lines are on the page; another one by ?attempt=
SHORT_MESSAGE = 500  # characters read of the other attempts' messages


@dataclass(frozen=True)
class ShownAttempt:
    """One run with what it logged."""

    run: timeline.Attempt
    lines: list[ShownLine]
    whole_url: str = ""  # where its traceback and its log are, unless they are here
    has_anchor: bool = True

    @property
    def lost(self) -> bool:
        """Whether its worker was lost, and its log lines with it."""
        return not self.lines and bool(re.match(r"(its )?worker (was )?lost", self.run.reason))


def job_page(site: AdminSite, request: HttpRequest, record: JobRecord) -> TemplateResponse:
    """One job: what it is, what happened to it, what comes next, and what this person can do about it."""
    now = timezone.now()
    moves = list(record.history.order_by("-pk")[: timeline.MAX_MOVES])[::-1]
    errors = _errors(request, record)
    runs = timeline.attempts(record, moves, errors, now)
    job_type = catalogue.find(record.job_type)
    payload = payload_of(request, record)
    stored = payload.data if payload else None
    # What is copied leaves the console, for whoever reads the ticket: masked, whatever this person may see.
    to_copy = _call(record, job_type, mask(job_type, payload.data) if payload else None)
    held = held_by(record.pk)
    held_words = hold_in_words(held, job_type, payload.data if payload else None) if held else ""
    result = sensitive.shown_result(request, record, payload.data if payload else None)
    wait, signals = signals_of(request, record, moves, stored)
    if payload:
        payload.data = sensitive.shown(request, record, payload.data)  # for the page; never saved
    chosen = effective(job_type) if job_type else None
    newer, older = neighbours(request, record)
    flow = flow_of(request, record, payload)
    code = _call(record, job_type, with_later(payload.data, flow) if payload else None)
    state = State(record.state)
    last_failure = next((run for run in runs if run.error), None)
    shows_failure = state in (State.FAILED, State.SCHEDULED, State.ENQUEUED) and last_failure is not None
    was_running = bool(moves) and moves[-1].from_state == State.PROCESSING
    filters = request.GET.get("_changelist_filters", "")
    buttons = [
        {"verb": verb, "label": verb.label_for(record), "url": _job_url(site, verb.name, record.pk, filters)}
        for verb in verbs.VERBS.values()
        if verb.allowed(request.user)
        and verb.possible(record)
        and covers(request, record, verb.permission)
        and not (verb is verbs.RESTORE and was_running)  # its handler ran on: the engine does not take it back
    ]
    data = payload.data if payload else None
    titled = Titles(request).of(record, stored)
    progress = progress_of(record)
    attempts = _attempts(request, record, runs, errors, progress)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": f"{_state_word(record)}: {titled or inert(record.job_type)} #{record.pk}",
        "job_words": titled,
        "tags": _tags(site, job_type, payload),
        "links": links_of(request, record, stored),
        "opts": JobRecord._meta,
        "record": record,
        "job_type": job_type,
        "call": code,
        "markdown": failure_markdown(record, last_failure, to_copy) if shows_failure and last_failure else "",
        "is_live": state in (State.ENQUEUED, State.PROCESSING, State.WAITING, State.SCHEDULED, State.AWAITING),
        "flow": flow,
        "is_snoozed": was_running and state is State.SCHEDULED,
        "skip_url": reverse("admin:skip_job", args=[record.pk], current_app=site.name)
        if flow and state is State.FAILED and _may_skip(request)
        else "",
        "payload": payload,
        "result": result,
        "held": held,
        "held_words": held_words,
        "steps": timeline.steps(record, moves, now),
        "steps_cut": len(moves) == timeline.MAX_MOVES,
        "attempts": attempts,
        "progress": progress,
        "edits": comparison.edits(request, record, moves, data),
        "compared": comparison.last_success(request, record, data) if shows_failure and payload else None,
        "waited": timeline.waited(moves),
        "may_act": any(covers(request, record, verb.permission) for verb in verbs.VERBS.values()),
        "relations": relations(request, record, payload),
        "lineage": lineage(request, record, payload, now),
        "travels": sensitive.shown_context(request, payload.context if payload else None),
        "of_saga": saga_of(request, record, payload.parent_id if payload else None, job_type),
        "newer": newer,
        "older": older,
        "failure": last_failure if shows_failure else None,
        "policy": chosen.policy if chosen else None,
        "stored_policy": chosen.stored if chosen else None,
        "service": serving.of(request, record.queue),
        "type_switch": health.of(request).types.get(record.job_type),
        "worker_url": _worker_url(site, request, record),
        "stack": stack.shown(request, record),
        "stack_url": _job_url(site, "stack", record.pk, filters)
        if state is State.PROCESSING and stack.may_ask(request, record)
        else "",
        "wait": wait,
        "signals": signals,
        "signal_url": _job_url(site, "signal", record.pk, filters) if wait else "",
        "stranded": stranded.of(record.pk, record.token) if state is State.ENQUEUED else None,
        "place": place_of(record.pk, record.token) if state is State.ENQUEUED and record.limited else None,
        "stop_seconds": jobs_settings().timeout_grace_seconds,
        "wait_hours": jobs_settings().unknown_type_hours,
        "plan": catalogue.delays(chosen.policy, record.failures) if chosen and record.is_retrying else [],
        "buttons": buttons,
        "edit_url": _job_url(site, "edit", record.pk)
        if job_type and payload and covers(request, record, verbs.RETRY.permission) and verbs.RETRY.possible(record)
        else "",
        "back": _back_url(site, request),
        "max_reason": verbs.MAX_REASON,
    }
    return TemplateResponse(request, "dashboard/jobs/page.html", context)


def _tags(site: AdminSite, job_type: JobType | None, payload: JobPayload | None) -> str:
    own = vars(payload).get("own_tags") if payload else None
    tags = in_short.all_tags(job_type, in_short.split(own))
    base = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=site.name)
    return rows.chips(tags, base) if tags else ""


def _may_skip(request: HttpRequest) -> bool:
    both = verbs.RETRY.allowed(request.user) and verbs.DELETE.allowed(request.user)
    return both and request.user.has_perm("jobsite_jobs.view_workflow")


def _state_word(record: JobRecord) -> str:
    return capfirst(state_label(queries.RETRYING if record.is_retrying else record.state))


def _asked(request: HttpRequest) -> int:
    """The attempt that the address asks for; 0 for none, or for nonsense."""
    text = request.GET.get("attempt", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _errors(request: HttpRequest, record: JobRecord) -> list[AttemptError]:
    """The newest errors, oldest first. Only the newest few, and the one asked for, are whole."""
    third = record.errors.order_by("-pk").values("attempt")[NEWEST - 1 : NEWEST]
    is_whole = Q(attempt__gte=Coalesce(Subquery(third), 0)) | Q(attempt=_asked(request))
    rows = record.errors.order_by("-pk").defer("traceback", "message")
    rows = rows.annotate(
        shown_message=Case(
            When(is_whole, then="message"), default=Left("message", SHORT_MESSAGE), output_field=TextField()
        ),
        shown_traceback=Case(When(is_whole, then="traceback"), default=Value(""), output_field=TextField()),
    )
    errors: list[AttemptError] = []
    for row in rows[: timeline.MAX_ATTEMPTS]:
        row.message, row.traceback = row.shown_message, row.shown_traceback
        errors.append(row)
    return errors[::-1]


def _attempts(
    request: HttpRequest,
    record: JobRecord,
    runs: list[timeline.Attempt],
    errors: list[AttemptError],
    progress: Progress | None,
) -> list[ShownAttempt]:
    """The runs, newest first, with what they logged."""
    logs = _logs(request, record)
    if progress and progress.lines:
        logs.setdefault(record.attempt, shown_lines(progress.lines))
    whole = {error.attempt for error in errors[-NEWEST:]} | {_asked(request)}
    whole |= set(range(record.attempt - NEWEST + 1, record.attempt + 1))
    seen: set[int] = set()
    told = []
    for run in reversed(runs):
        # A run that never began gives its number back: the first one with a number is the one that logged.
        is_first = run.number not in seen
        seen.add(run.number)
        url = _attempt_url(request, run.number) if is_first and run.number not in whole else ""
        told.append(ShownAttempt(run, logs.pop(run.number, []), url, is_first))
    return told[::-1]


def _logs(request: HttpRequest, record: JobRecord) -> dict[int, list[ShownLine]]:
    """The log lines of the newest attempts, and of the one asked for, by attempt."""
    rows = record.logs.filter(Q(attempt__gt=record.attempt - NEWEST) | Q(attempt=_asked(request)))
    return {row.attempt: shown_lines(row.lines) for row in rows.order_by("-pk")[: NEWEST + 1]}


def _call(record: JobRecord, job_type: JobType | None, data: Any) -> str:
    if job_type is None:
        return call(record.job_type, "", data)
    queue = record.queue if record.queue != job_type.queue else None
    return call(record.job_type, job_type.payload_class.__name__, data, kind=job_type.kind, queue=queue)


def _job_url(site: AdminSite, name: str, job_id: int, filters: str = "") -> str:
    url = reverse(f"admin:jobsite_jobs_jobrecord_{name}", args=[job_id], current_app=site.name)
    return f"{url}?{urlencode({'_changelist_filters': filters})}" if filters else url


def _worker_url(site: AdminSite, request: HttpRequest, record: JobRecord) -> str:
    """Where the worker that runs the job is shown; empty where none does, or it tells nothing of itself."""
    live = {worker.name for worker in health.of(request).fleet.workers}
    if record.state != State.PROCESSING or record.worker not in live:
        return ""
    return f"{reverse('admin:workers', current_app=site.name)}#{quote(record.worker)}"


def _attempt_url(request: HttpRequest, number: int) -> str:
    """This page with all of one more attempt, and still with the way back to the list."""
    query = {"attempt": str(number)}
    if filters := request.GET.get("_changelist_filters", ""):
        query["_changelist_filters"] = filters
    return f"?{urlencode(query)}#attempt-{number}"


def _back_url(site: AdminSite, request: HttpRequest) -> str:
    """The list that the person came from, with its filters."""
    url = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=site.name)
    query = QueryDict(request.GET.get("_changelist_filters", "")).urlencode()
    return f"{url}?{query}" if query else url
