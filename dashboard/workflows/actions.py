"""What people do to a workflow: pause, resume, cancel, retry, skip a job of it. Each is one call of the gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard.kit import health
from dashboard.kit.drafts import is_draft
from dashboard.kit.once import act_once
from dashboard.kit.pages import by, page, why
from dashboard.kit.queries import Count, capped
from dashboard.kit.reach import acting, check_job
from dashboard.kit.switching import switch_once, tell
from dashboard.kit.text import inert
from dashboard.kit.verbs import MAX_REASON, jobs_in_words
from dashboard.workflows.access import (
    CHANGE,
    RETRYING,
    SKIPPING,
    VIEW,
    found,
    may_change,
    may_retry,
    may_skip,
    need,
    to_page,
)
from dashboard.workflows.nodes import in_state
from dashboard.workflows.page import nested
from dashboard.workflows.standing import Standing
from handlers.gateway import job_scheduler
from handlers.models import Gate, GateParent, JobRecord, NodeInput, When, Workflow, WorkflowNode
from handlers.states import State
from handlers.workflows.governing import CHUNK

GATES = 500  # at which others wait for a job that is to be skipped; more are not looked at


@require_POST
def pause(request: HttpRequest, workflow_id: int) -> HttpResponse:
    """Let none of its jobs start."""
    need(request, may_change(request), _("You may not pause workflows."))
    told = _("Paused %(name)s: none of its jobs starts; those that run finish.")
    not_moved = _("Nothing was done: %(name)s was paused before, or is over.")
    return _switch(request, workflow_id, job_scheduler.pause_workflow, told, not_moved)


@require_POST
def resume(request: HttpRequest, workflow_id: int) -> HttpResponse:
    """Let its jobs start again."""
    need(request, may_change(request), _("You may not resume workflows."))
    not_moved = _("Nothing was done: %(name)s was not paused.")
    return _switch(request, workflow_id, job_scheduler.resume_workflow, _("Resumed %(name)s."), not_moved)


@require_POST
def retry(request: HttpRequest, workflow_id: int) -> HttpResponse:
    """Run all of its failed jobs again."""
    need(request, may_retry(request), _("You may not retry the failed jobs of workflows."))
    row = found(request, workflow_id, *RETRYING)

    def act() -> str:
        return str(job_scheduler.retry_workflow(row.pk, by=by(request), reason=why(request)))

    did, is_new = act_once(request, act)
    count, name = int(did), Standing(row, timezone.now()).title
    numbers = {"jobs": jobs_in_words(count), "name": name}
    if not is_new:
        told = _("This form was sent before and retried %(jobs)s then; nothing was done now.")
        messages.info(request, told % numbers)
    elif count:
        health.forget()
        more = _("Retried %(jobs)s of %(name)s; the rest follows in the background.")
        messages.success(request, (more if count >= CHUNK else _("Retried %(jobs)s of %(name)s.")) % numbers)
    else:
        messages.warning(request, _("Nothing was done: no job of %(name)s is failed any more.") % numbers)
    return to_page(request, row.pk)


def cancel(site: AdminSite, request: HttpRequest, workflow_id: int) -> HttpResponse:
    """Delete all of its jobs that have not succeeded, after a page that says how many these are."""
    need(request, may_change(request), _("You may not cancel workflows."))
    row = found(request, workflow_id, CHANGE)
    if request.method == "POST" and not is_draft(request):
        told = _("Cancelled %(name)s: what had not succeeded is deleted.")
        if row.total > CHUNK:
            told = _(
                "Cancelled %(name)s: what had not succeeded is deleted, the first 1,000 jobs at once, the rest in the"
                " background."
            )
        not_moved = _("Nothing was done: %(name)s was cancelled before, or is over.")
        return _switch(request, row.pk, job_scheduler.cancel_workflow, told, not_moved)
    standing = Standing(row, timezone.now())
    running = capped(in_state(row, State.PROCESSING)) if row.open else Count(0)
    context = {
        "standing": standing,
        "row": row,
        "count": row.open + row.failed,
        "running": running,
        "has_inner": any(not inner.finished_at for inner in nested(request, row) or ()),
        "max_reason": MAX_REASON,
    }
    return page(site, request, "workflows/cancel", _("Cancel %(name)s?") % {"name": standing.title}, context)


def skip(site: AdminSite, request: HttpRequest, job_id: int) -> HttpResponse:
    """Let those go on that wait for a failed job, after a page that says who these are."""
    need(request, may_skip(request), _("You may not skip jobs."))
    job = JobRecord.objects.filter(pk=job_id).first() if job_id < 2**63 else None
    node = WorkflowNode.objects.filter(pk=job_id).first() if job else None
    if job is None or node is None:
        raise Http404(_("There is no job %(id)d for which others wait.") % {"id": job_id})
    if not acting(request, VIEW, *SKIPPING).is_whole:
        # Who waits for it, and goes on, may be beyond, unless it is of a workflow that is not.
        check_job(request, job_id)
        found(request, node.workflow_id or 0, *SKIPPING)
    back = reverse("admin:jobsite_jobs_jobrecord_change", args=[job_id], current_app=request.current_app)
    if node.workflow_id:
        back = reverse("admin:workflow", args=[node.workflow_id], current_app=request.current_app)
    if request.method == "POST" and not is_draft(request):
        _skip(request, job_id)
        return HttpResponseRedirect(back)
    workflow = Workflow.objects.filter(pk=node.workflow_id).first() if node.workflow_id else None
    context = {
        "job": job,
        "workflow": Standing(workflow, timezone.now()) if workflow else None,
        "is_failed": job.state == State.FAILED,
        "back": back,
        "max_reason": MAX_REASON,
        **_what_follows(job_id),
    }
    title = _("Skip %(type)s #%(id)d?") % {"type": inert(job.job_type, 100), "id": job_id}
    return page(site, request, "workflows/skip", title, context)


def _skip(request: HttpRequest, job_id: int) -> None:
    def act() -> str:
        expect = request.POST.get("token", "").replace("\x00", "") or "?"
        return str(int(job_scheduler.skip(job_id, by=by(request), reason=why(request), expect=expect)))

    did, is_new = act_once(request, act)
    if did == "0":
        moved_on = _("Job %(id)d had moved on since the page was made; nothing was done.")
        messages.warning(request, moved_on % {"id": job_id})
    elif is_new:
        skipped = _("Skipped job %(id)d: who waits for it goes on as if it had succeeded.")
        messages.success(request, skipped % {"id": job_id})
    else:
        before = _("This form was sent before and skipped job %(id)d then; nothing was done now.")
        messages.info(request, before % {"id": job_id})


def _what_follows(job_id: int) -> dict[str, Any]:
    """Who goes on, who still waits for others, whom it ends, and who misses its result."""
    at = GateParent.objects.filter(parent_id=job_id).values("gate_id")[:GATES]
    gates = list(Gate.objects.filter(pk__in=at, is_open=None))
    on = [gate for gate in gates if gate.when in (When.SUCCESS, When.ENDED)]
    now = {gate.pk for gate in on if gate.require == "any" or gate.total - gate.met == 1}
    return {
        "go_on": _at(now),
        "still_wait": _at({gate.pk for gate in on} - now),
        "never": _at({gate.pk for gate in gates} - {gate.pk for gate in on}),
        "miss": capped(NodeInput.objects.filter(source_id=job_id)),
    }


def _at(gates: set[int]) -> Count:
    waiting = JobRecord.objects.filter(
        pk__in=WorkflowNode.objects.filter(gate_id__in=gates).values("pk"), state=State.AWAITING
    )
    return capped(waiting) if gates else Count(0)


def _switch(
    request: HttpRequest, workflow_id: int, act: Callable[..., bool], told: str, not_moved: str
) -> HttpResponse:
    row = found(request, workflow_id, CHANGE)
    name = {"name": Standing(row, timezone.now()).title}
    switched = switch_once(request, lambda: act(row.pk, by=by(request), reason=why(request)))
    health.forget()
    tell(request, switched, told % name, not_moved % name)
    return to_page(request, row.pk)
