"""What stands around the rows of the job list: ways on for all that match, what is new, and help where nothing fits."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.jobs import columns, tagged
from dashboard.jobs.changelist import JobChangeList
from dashboard.jobs.searched import searched
from dashboard.kit import verbs
from dashboard.kit.languages import in_language
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.queries import RETRYING, capped
from dashboard.kit.search import place, selection_of
from dashboard.views import saved
from handlers.models import JobRecord
from handlers.registry import registry
from handlers.selection import WINDOW, InvalidSelection, Selection
from handlers.states import State

MAX_NEW = 99  # new jobs that are counted
EXPORTS = (("csv", "CSV"), ("json", "JSON lines"))

# Shown beside the search box: what can be typed there.
HELP = (
    ("4711", gettext_lazy("the job with this id, and those with 4711 in an argument; a number beside words is a word")),
    ("receipt 4711", gettext_lazy("words in type, last error or arguments; an error or a traceback as you copied it")),
    ("type:shop.SendReceipt", gettext_lazy("a job type, or a part of one")),
    ("state:failed,retrying", gettext_lazy("one of these states")),
    ("queue:mail", gettext_lazy("a queue")),
    ('error:"connection refused"', gettext_lazy("a part of the last error")),
    ("args.order_id:7", gettext_lazy("an argument, with : or =; args.customer.email: for one inside another")),
    ("args:7", gettext_lazy("whichever argument has this value")),
    ("tag:nightly tag:customer:42", gettext_lazy("with each of these tags, its own or its type's")),
    ("since:2h until:2026-11-24", gettext_lazy("created then")),
    ("worker:host-1.4411.0", gettext_lazy("the worker that has it or had it")),
    ("group:3f2a9c…", gettext_lazy("a failure group")),
    ("priority:50", gettext_lazy("with this priority")),
    ("correlation:… parent:17 bulk:3 workflow:7", gettext_lazy("what belongs together")),
)


def company(request: HttpRequest, changelist: JobChangeList, action_form: Any) -> dict[str, Any]:
    """The context that the job list's template needs beside the stock one. ``action_form``: the stock one, or None."""
    query = changelist.list_query
    return {
        **searched(request, changelist),
        **saved.menu(request),
        "search_help": HELP,
        "choices": _useful(changelist, action_form) if action_form else [],
        "bulk_links": _bulk_links(request, changelist),
        "exports": [
            {"name": words, "url": f"{_url(request, 'jobs_export')}?{query}{'&' if query else ''}format={name}"}
            for name, words in EXPORTS
        ]
        if changelist.selection is not None
        else [],
        "columns": columns.choices(request),
        "columns_url": _url(request, "jobs_columns"),
        "back": request.GET.urlencode(),
        "tags": tagged.most_common(changelist.tags),
        "words_url": _words_url(changelist),
        "passes_over": _passes_over(changelist.selection),
        "new_url": _new_url(request, changelist),
        "same_url": f"?{query}",
        "window": WINDOW if changelist.looked else None,
        "reached_at": _created(changelist.reached),
        "narrower": _narrower(changelist.selection) if changelist.too_slow and changelist.selection else [],
    }


def new_jobs(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """How many jobs have joined the list since the one that stands first: ``{"count": 12, "text": "12 new"}``."""
    try:
        after = place(request.GET, "after") or 0
        selection = selection_of(request)
        with time_limit():
            newest = replace(selection, lowest=max(after + 1, selection.lowest or 0))
            count = capped(newest.rows(), MAX_NEW)
    except InvalidSelection as error:
        return JsonResponse({"error": in_language(error)}, status=400)
    except TookTooLong:
        return JsonResponse({"error": _("This took too long.")}, status=503)
    return JsonResponse(
        {"count": count.value, "more": count.more, "text": _("%(count)s new") % {"count": count} if count.value else ""}
    )


def _useful(changelist: JobChangeList, action_form: Any) -> list[tuple[str, str]]:
    """The actions that can apply to some row of this list: a list of failed jobs has nothing to restore."""
    spec = changelist.state_filter
    shown = spec.value() if spec else None
    state = str(State.SCHEDULED) if shown == RETRYING else shown
    return [
        (name, label)
        for name, label in action_form.fields["action"].choices
        if name and (state is None or name not in verbs.VERBS or state in verbs.VERBS[name].sources)
    ]


def _bulk_links(request: HttpRequest, changelist: JobChangeList) -> list[dict[str, str]]:
    """A way to a bulk operation over all that match, for each verb that this person may use and that can apply."""
    if not changelist.result_count or changelist.selection is None or not request.user.has_perm(verbs.RUN_BULK):
        return []
    try:
        url = _url(request, "bulk_new")
    except NoReverseMatch:  # a site without those pages
        return []
    rest = f"&{changelist.list_query}" if changelist.list_query else ""
    chosen = {State.SCHEDULED.value if name == RETRYING else name for name in changelist.selection.states}
    return [
        {
            "name": verb.name,
            "label": _("%(verb)s all that match …") % {"verb": verb.label},
            "url": f"{url}?{urlencode({'verb': verb.name})}{rest}",
        }
        for verb in verbs.BULK_VERBS
        if verb.allowed(request.user) and (not chosen or chosen & {str(state) for state in verb.sources})
    ]


def _words_url(changelist: JobChangeList) -> str:
    """Where numbers that were read as ids are looked for as words; empty where none were."""
    words = changelist.query.split()
    read_as_ids = changelist.selection is not None and changelist.selection.ids
    if not read_as_ids or not all(word.removeprefix("#").isdecimal() for word in words):
        return ""
    query = QueryDict(changelist.list_query, mutable=True)
    query["q"] = " ".join(f'"{word}"' for word in words)
    return f"?{query.urlencode()}"


def _passes_over(selection: Selection | None) -> bool:
    """Whether there are arguments in which this person's words are not looked for."""
    is_narrowed = selection is not None and bool(selection.text) and not selection.sensitive
    return is_narrowed and any(job_type.sensitive_fields for job_type in registry.all())


def _new_url(request: HttpRequest, changelist: JobChangeList) -> str:
    newest = changelist.newest_id
    if newest is None:
        return ""
    query = changelist.list_query
    return f"{_url(request, 'jobs_new')}?{query}{'&' if query else ''}after={newest}"


def _created(job_id: int | None) -> datetime | None:
    if job_id is None:
        return None
    return JobRecord.objects.filter(pk=job_id).values_list("created_at", flat=True).first()


def _narrower(selection: Selection) -> list[str]:
    """What would make the list quicker to read."""
    told = []
    if selection.since is None:
        told.append(_("Choose a time, such as the last 24 hours."))
    if not selection.states:
        told.append(_("Choose a state: all but Succeeded are quick to read."))
    if not selection.types:
        told.append(_("Choose a job type."))
    if selection.text or selection.error:
        told.append(_("Look for fewer words, or for an argument by its name, such as args.order_id:7."))
    return told or [_("Leave out a part of the filter.")]


def _url(request: HttpRequest, name: str) -> str:
    return reverse(f"admin:{name}", current_app=getattr(request, "current_app", None))
