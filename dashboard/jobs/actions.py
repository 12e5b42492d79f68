"""The verbs on ticked rows: each is one call of the gateway and an honest count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from dashboard.kit.once import act_once
from dashboard.kit.readonly import ReadOnlyAdmin
from dashboard.kit.verbs import MAX_REASON, MAX_TICKED, VERBS, Verb, jobs_in_words, refusal
from handlers.models import JobRecord

MAX_PREVIEW = 20  # jobs that a confirmation names


def expected(request: HttpRequest) -> dict[int, str]:
    """The token under which the page showed each job, by id, from its ``expect`` fields (``17:0f3a...``)."""
    seen = {}
    for item in request.POST.getlist("expect"):
        job_id, _, token = item.partition(":")
        if job_id.isascii() and job_id.isdigit() and len(job_id) < 19:
            seen[int(job_id)] = token
    return seen


def ticked(request: HttpRequest) -> dict[int, str]:
    """The ticked jobs and their tokens; a job without one, which no page of ours sends, gets one that never fits."""
    seen = expected(request)
    ids = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    return {int(pk): seen.get(int(pk), "") for pk in ids if pk.isascii() and pk.isdigit() and len(pk) < 19}


def tell(request: HttpRequest, verb: Verb, moved: int, asked: int) -> None:
    """Say how many jobs ``verb`` really moved."""
    level = messages.SUCCESS if moved == asked else messages.WARNING
    messages.add_message(request, level, verb.answer(moved, asked))


def action(verb: Verb) -> Callable[[ReadOnlyAdmin, HttpRequest, QuerySet[Model]], HttpResponse | None]:
    """An admin action that does ``verb`` to the ticked rows."""

    def act(admin: ReadOnlyAdmin, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponse | None:
        if not verb.allowed(request.user):
            raise PermissionDenied(f"You may not {verb.name} jobs.")
        # Not the queryset: a job that has left the page's filter since must be counted as moved on, not forgotten.
        expect = ticked(request)
        if len(expect) > MAX_TICKED:
            messages.error(request, f"At most {jobs_in_words(MAX_TICKED)} at once; nothing was done.")
        elif why := refusal(expect):
            messages.error(request, why)
        elif verb.confirm and "confirmed" not in request.POST:
            return confirmation(admin, request, verb, expect)
        else:
            reason = request.POST.get("reason", "")
            moved, is_new = act_once(request, lambda: str(verb.many(expect, request.user, reason)))
            if is_new:
                tell(request, verb, int(moved), len(expect))
            else:
                told = f"{verb.answer(int(moved), len(expect))} That was when this was sent before"
                messages.info(request, f"{told}; nothing was done now.")
        return None

    act.__name__ = verb.name
    # What the admin reads: the button's words, and has_retry_jobs_permission and its like.
    act.short_description = verb.label  # type: ignore[attr-defined]
    act.allowed_permissions = [f"{verb.name}_jobs"]  # type: ignore[attr-defined]
    return act


def confirmation(admin: ReadOnlyAdmin, request: HttpRequest, verb: Verb, expect: dict[int, str]) -> HttpResponse:
    """A page that says what would happen to which jobs, and asks."""
    records = JobRecord.objects.filter(pk__in=list(expect)).order_by("-pk")
    rows = list(records)
    fit = [row for row in rows if verb.possible(row) and row.token == expect[row.pk]]
    context: dict[str, Any] = {
        **admin.admin_site.each_context(request),
        "title": f"{verb.label} {jobs_in_words(len(fit))}?",
        "opts": admin.opts,
        "verb": verb,
        "reason": request.POST.get("reason", "")[:MAX_REASON],
        "max_reason": MAX_REASON,
        "expect": [f"{job_id}:{token}" for job_id, token in expect.items()],
        "ids": list(expect),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "rows": fit[:MAX_PREVIEW],
        "more": max(len(fit) - MAX_PREVIEW, 0),
        "moved_on": len(expect) - len(fit),
        "by_state": _by_state(fit),
    }
    return TemplateResponse(request, "dashboard/jobs/confirm.html", context)


def _by_state(rows: Iterable[JobRecord]) -> list[tuple[str, int]]:
    return Counter("retrying" if row.is_retrying else row.state for row in rows).most_common()


ACTIONS = [action(verb) for verb in VERBS.values()]
