"""The verbs on ticked rows: each is one call of the gateway and an honest count."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from dashboard.jobs.confirmation import Way, ask, queue_asked
from dashboard.kit import health, undoing
from dashboard.kit.became import became, what_happened
from dashboard.kit.once import act_once
from dashboard.kit.pages import why
from dashboard.kit.reach import beyond, kept, seen
from dashboard.kit.readonly import ReadOnlyAdmin
from dashboard.kit.said import say
from dashboard.kit.verbs import MAX_TICKED, VERBS, Verb, jobs_in_words, refusal
from handlers.audit import noted
from handlers.models import AuditEntry


def expected(request: HttpRequest) -> dict[int, str]:
    """The token under which the page showed each job, by id, from its ``expect`` fields (``17:0f3a...``)."""
    seen = {}
    for item in request.POST.getlist("expect"):
        job_id, _, token = item.partition(":")
        if _is_id(job_id):
            seen[int(job_id)] = token.replace("\x00", "")
    return seen


def ticked(request: HttpRequest) -> dict[int, str]:
    """The ticked jobs and their tokens; a job without one, which no page of ours sends, gets one that never fits."""
    seen = expected(request)
    ids = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    return {int(pk): seen.get(int(pk), "") for pk in ids if _is_id(pk)}


def pass_over_what_is_no_id(request: HttpRequest) -> None:
    """Take away ticks that can be no job's, which no page of ours sends: the stock admin fails at them."""
    sent = request.POST.copy()
    ids = sent.getlist(helpers.ACTION_CHECKBOX_NAME)
    sent.setlist(helpers.ACTION_CHECKBOX_NAME, [pk for pk in ids if _is_id(pk)])
    request.POST = sent  # type: ignore[assignment]


def pass_over_what_is_out_of_reach(request: HttpRequest) -> None:
    """Take away ticks on jobs that this person may not see: of these no page of theirs says a word."""
    if seen(request).is_whole:
        return
    sent = request.POST.copy()
    ids = [int(pk) for pk in sent.getlist(helpers.ACTION_CHECKBOX_NAME)]
    within = kept(request, dict.fromkeys(ids[: MAX_TICKED + 1], ""))
    sent.setlist(helpers.ACTION_CHECKBOX_NAME, [str(pk) for pk in ids if pk in within])
    request.POST = sent  # type: ignore[assignment]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def action(verb: Verb) -> Callable[[ReadOnlyAdmin, HttpRequest, QuerySet[Model]], HttpResponse | None]:
    """An admin action that does ``verb`` to the ticked rows."""

    def act(admin: ReadOnlyAdmin, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponse | None:
        if not verb.allowed(request.user):
            raise PermissionDenied(verb.refusal)
        # Not the queryset: a job that has left the page's filter since must be counted as moved on, not forgotten.
        expect = ticked(request)
        if len(expect) > MAX_TICKED:
            messages.error(
                request, _("At most %(jobs)s at once; nothing was done.") % {"jobs": jobs_in_words(MAX_TICKED)}
            )
        elif why := refusal(expect) or beyond(request, expect, verb.permission):
            messages.error(request, why)
        else:
            return _act(admin, request, verb, expect)
        return None

    act.__name__ = verb.name
    # What the admin reads: the button's words, and has_retry_jobs_permission and its like.
    act.short_description = verb.label  # type: ignore[attr-defined]
    act.allowed_permissions = [f"{verb.name}_jobs"]  # type: ignore[attr-defined]
    return act


def _act(admin: ReadOnlyAdmin, request: HttpRequest, verb: Verb, expect: dict[int, str]) -> HttpResponse | None:
    """Do it, once it is confirmed where that is needed, and say how many really moved."""
    queue, problem = queue_asked(request, verb, expect)
    confirmed = "confirmed" in request.POST
    if verb.confirm and (problem or not confirmed):
        back = Way(request.get_full_path(), _("Back to the list"))
        return ask(admin.admin_site, request, verb, expect, back, problem if confirmed else "")
    reason = why(request)
    with noted() as entries:
        did, is_new = act_once(request, lambda: str(verb.many(expect, request.user, reason, queue)))
    if is_new:
        health.forget()  # the next page must not say that they still wait where they were
        _tell(request, verb, expect, queue, entries)
    else:
        before = _("That was when this was sent before; nothing was done now.")
        answer = verb.answer(int(did), len(expect), queue)
        messages.info(request, f"{answer} {became(list(expect)).text} {before}")
    return None


def _tell(request: HttpRequest, verb: Verb, expect: dict[int, str], queue: str, entries: list[int]) -> None:
    """How many moved, what became of those that had moved on, and a way to undo it."""
    entry = AuditEntry.objects.filter(pk__in=entries).first()
    moved = (entry.data or {}).get("job_ids", []) if entry else []
    late = sorted(set(expect) - set(moved))
    answer = verb.answer(len(moved), len(expect), queue)
    if story := what_happened(request, late):
        answer = (
            f"{verb.done(jobs_in_words(len(moved)), queue)} {story}"
            if moved
            else f"{story} {_('Nothing was done now.')}"
        )
    undo = undoing.offered(entries)
    jobs = moved if verb.is_followed else []
    say(request, messages.WARNING if late else messages.SUCCESS, answer, undo=undo.pk if undo else None, jobs=jobs)


ACTIONS = [action(verb) for verb in VERBS.values()]
