"""What a job waits for, and what has come for it; and the address by which a person answers it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from dashboard.jobs.actions import expected
from dashboard.jobs.views import back_to, tell_what_was
from dashboard.kit import health, reach, sensitive
from dashboard.kit.languages import in_language
from dashboard.kit.once import act_once
from dashboard.kit.pages import by, why
from dashboard.kit.said import say
from dashboard.kit.text import inert
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import JobHistory, JobRecord, JobSignal, SignalStatus
from handlers.states import FINAL, State

ANSWER = "jobsite_jobs.signal_jobrecord"  # the permission
APPROVAL = re.compile(r"approval(?![a-z0-9])")  # what such a name begins with is for a person to approve or decline
ANSWERS = {"approve": True, "decline": False}
MAX_SIGNALS = 50  # the newest
MAX_DATA = 100_000  # characters of JSON that a form takes
CAME: dict[str, str | Promise] = {
    SignalStatus.WAITS: gettext_lazy("waits"), SignalStatus.CAME: gettext_lazy("came"),
    SignalStatus.TIMED_OUT: gettext_lazy("did not come in time"),
}  # fmt: skip


@dataclass(frozen=True)
class ShownSignal:
    """One signal of the job."""

    name: str
    words: str  # how far it is
    at: datetime
    by: str
    data: Any  # a JSON value
    has_come: bool


@dataclass(frozen=True)
class ShownWait:
    """What the job waits for now."""

    name: str  # for people
    since: datetime
    until: datetime | None
    is_approval: bool
    may_answer: bool


def signals_of(
    request: HttpRequest, record: JobRecord, moves: Sequence[JobHistory], payload: Any
) -> tuple[ShownWait | None, list[ShownSignal]]:
    """What it waits for, and what else it knows of signals; ``payload``: its arguments, with what is secret."""
    if record.state in FINAL and not any(move.from_state == State.WAITING for move in moves):
        return None, []  # nothing that came was waited for
    rows = list(JobSignal.objects.filter(job=record).order_by("-pk")[:MAX_SIGNALS])
    row = next((row for row in rows if row.status == SignalStatus.WAITS), None)
    wait = None
    if row is not None and record.state == State.WAITING:
        may = request.user.has_perm(ANSWER) and reach.covers(request, record, ANSWER)
        wait = ShownWait(inert(row.name, 100), row.at, record.run_at, bool(APPROVAL.match(row.name)), may)
    shown = [
        ShownSignal(
            inert(row.name, 100),
            str(CAME.get(row.status, row.status)),
            row.at,
            inert(row.by.removeprefix("user:"), 150),
            sensitive.shown_signal(request, record, row.data, payload),
            row.status == SignalStatus.CAME,
        )
        for row in reversed(rows)
        if row.status != SignalStatus.WAITS
    ]
    return wait, shown


def awaited(records: Iterable[JobRecord]) -> dict[int, str]:
    """For what those of these jobs wait that do: by the job's id. One statement, or none."""
    ids = [record.pk for record in records if record.state == State.WAITING]
    if not ids:
        return {}
    rows = JobSignal.objects.filter(job_id__in=ids, status=SignalStatus.WAITS)
    return {pk: inert(name, 100) for pk, name in rows.values_list("job_id", "name")}


@require_POST
def send_signal(request: HttpRequest, job_id: int) -> HttpResponse:
    """Answer a job that waits: approve or decline, with a reason; or send it what it waits for, as JSON."""
    if not request.user.has_perm(health.VIEW_JOBS) or not request.user.has_perm(ANSWER):
        raise PermissionDenied(_("You may not answer jobs that wait."))
    reach.check_job(request, job_id, ANSWER)
    back = back_to(request, job_id)
    token, reason = expected(request).get(job_id, ""), why(request).strip()
    answer = ANSWERS.get(request.POST.get("answer", ""))
    row = JobSignal.objects.filter(job_id=job_id, status=SignalStatus.WAITS, job__state=State.WAITING).first()
    if not reason:
        messages.error(request, _("Say why: the reason is kept in the audit. Nothing was sent."))
    elif row is None:
        tell_what_was(request, [job_id], is_late=True)
    elif bool(APPROVAL.match(row.name)) != (answer is not None):
        messages.error(request, _("Job %(number)d waits for something else. Nothing was sent.") % {"number": job_id})
    elif answer is not None:
        data = {"approved": answer, "reason": reason, "by": by(request).get_username()}
        _send(request, job_id, row.name, data, reason, token)
    elif (found := _data(request)) is not None:
        _send(request, job_id, row.name, found[0], reason, token)
    return HttpResponseRedirect(back)


def _data(request: HttpRequest) -> tuple[Any] | None:
    """What the form sends, a JSON value, null where it is empty; None where it is none, which is said."""
    text = request.POST.get("data", "").strip()
    try:
        if len(text) > MAX_DATA:
            raise ValueError(_("it is too long"))
        return (json.loads(text or "null"),)
    except (ValueError, RecursionError) as error:
        told = {"why": inert(str(error), 100)}
        messages.error(request, _("What is to be sent must be JSON: %(why)s. Nothing was sent.") % told)
        return None


def _send(request: HttpRequest, job_id: int, name: str, data: Any, reason: str, token: str) -> None:
    def act() -> str:
        return str(int(job_scheduler.signal(job_id, name, data, by=by(request), reason=reason, expect=token)))

    try:
        did, is_new = act_once(request, act)
    except InvalidJob as error:
        messages.error(request, in_language(str(error)))
        return
    if did == "0" or not is_new:
        tell_what_was(request, [job_id], is_late=did == "0")
        return
    health.forget()
    words = {
        "approve": _("Approved job %(number)d."), "decline": _("Declined job %(number)d."),
    }.get(request.POST.get("answer", ""), _("Sent job %(number)d what it waits for."))  # fmt: skip
    say(request, messages.SUCCESS, words % {"number": job_id}, jobs=[job_id])
