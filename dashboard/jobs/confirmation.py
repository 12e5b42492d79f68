"""The page that says what a verb would do to which jobs, and asks: sure, and where that is open, to which queue?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite, helpers
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit import serving
from dashboard.kit.pages import why
from dashboard.kit.reach import acting
from dashboard.kit.text import inert
from dashboard.kit.verbs import MAX_REASON, Verb, jobs_in_words
from handlers.models import JobRecord
from handlers.queues import targets

MAX_PREVIEW = 20  # jobs that a confirmation names


class Way(NamedTuple):
    """Where the person came from."""

    url: str
    words: str


def queue_asked(request: HttpRequest, verb: Verb, ids: Collection[int]) -> tuple[str, str]:
    """The queue that the form chose for the jobs ``ids``, where ``verb`` needs one; and what is wrong with it."""
    if not verb.to_queue:
        return "", ""
    queue = request.POST.get("queue", "")
    if not queue:
        return "", _("Choose the queue that they go to.")
    reach = acting(request, verb.permission)
    if queue not in targets() or queue not in {name for name, _words in serving.choices(request, reach=reach)}:
        return "", _("There is no queue “%(queue)s” to move to.") % {"queue": inert(queue, 70)}
    if not reach.is_whole:
        kinds = JobRecord.objects.filter(pk__in=list(ids)).values_list("job_type", flat=True).distinct()
        if not all(reach.covers(job_type, queue) for job_type in kinds):
            words = _("Not all of these jobs may go to queue %(queue)s: they would be out of your reach there.")
            return "", words % {"queue": queue}
    return queue, ""


NONE_LEFT = {
    "delete": gettext_lazy("None of these jobs can be deleted any more."),
    "move": gettext_lazy("None of these jobs can be moved any more."),
}


def ask(
    site: AdminSite, request: HttpRequest, verb: Verb, expect: dict[int, str], back: Way, problem: str = ""
) -> TemplateResponse:
    """The page. ``expect``: the token under which the person saw each job. ``problem``: with the form just sent."""
    rows = list(JobRecord.objects.filter(pk__in=list(expect)).order_by("-pk"))
    fit = [row for row in rows if verb.possible(row) and row.token == expect[row.pk]]
    queues = {row.queue for row in fit}
    what = verb.of_jobs(jobs_in_words(len(fit)))
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": (_("%(what)s to another queue?") if verb.to_queue else _("%(what)s?")) % {"what": what},
        "button": what,
        "none_left": str(NONE_LEFT.get(verb.name, "")),
        "opts": JobRecord._meta,
        "verb": verb,
        "reason": why(request),
        "max_reason": MAX_REASON,
        "expect": [f"{job_id}:{token}" for job_id, token in expect.items()],
        "ids": list(expect),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "rows": fit[:MAX_PREVIEW],
        "more": max(len(fit) - MAX_PREVIEW, 0),
        "moved_on": len(expect) - len(fit),
        "by_state": _by_state(fit),
        "queues": serving.choices(request, queues.pop() if len(queues) == 1 else "", acting(request, verb.permission))
        if verb.to_queue
        else [],
        "problem": problem,
        "back": back,
    }
    return TemplateResponse(request, "dashboard/jobs/confirm.html", context, status=400 if problem else 200)


def _by_state(rows: Iterable[JobRecord]) -> list[tuple[str, int]]:
    return Counter("retrying" if row.is_retrying else row.state for row in rows).most_common()
