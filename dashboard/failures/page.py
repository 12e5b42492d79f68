"""A failure group's page: what is broken, since when, for whom, and what to do about it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.failures import assignees, evidence, within, words
from dashboard.failures.access import found, may_change
from dashboard.kit import charts, metrics
from dashboard.kit.reach import seen
from dashboard.kit.text import inert
from dashboard.kit.verbs import MAX_REASON
from handlers import deploys
from handlers.conf import NEXT_VERSION, jobs_settings
from handlers.failure_groups import LONGEST_NOTE, MOST_TIMES
from handlers.models import FailureGroup, GroupEvent, JobRecord

SPANS = {"24h": gettext_lazy("24 hours"), "30d": gettext_lazy("30 days")}
EVENTS = 20  # of the diary that are shown
VERSIONS = 8  # offered, and told


def group_page(site: AdminSite, request: HttpRequest, fingerprint: str) -> TemplateResponse:
    """One failure group. Raises Http404."""
    if not (reach := seen(request)).is_whole:
        return within.group_page(site, request, fingerprint, reach)
    group, now = found(fingerprint), timezone.now()
    counts = metrics.group_counts([group.pk])[group.pk]
    span = request.GET.get("span", "")
    if span not in SPANS:
        span = "24h" if counts.day else "30d"
    curve = metrics.group_curve(group.pk, span)
    failed, places = evidence.failed_now(group.pk, reach)
    records = evidence.jobs(group.pk, reach)
    types = counts.types or evidence.type_names(places) or list(curve.types) or _types_of(group)
    shared, compared = evidence.shared_arguments(request, group.pk)
    heading = words.heading(group, types)
    changes = may_change(request)
    assignee = assignees.names_of([group.assignee_id]).get(group.assignee_id, "")
    marks = deploys.between(curve.points[0].at, now)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": heading,
        "group": group,
        "badge": words.badge_of(group, now),
        "standing": words.standing(group),
        "place": words.place(group),
        "sample": evidence.sample(group.pk),
        "counts": counts,
        "chart": charts.failure_chart(curve.points, marks),
        "curve": curve,
        "curve_types": list(curve.types.items())[: evidence.PLACES],
        "span_words": SPANS[span],
        "spans": [(name, told, name == span) for name, told in SPANS.items()],
        "shared": shared,
        "compared": compared,
        **evidence.told(request, group.pk, failed, places, records),
        "more_jobs": len(records) > evidence.NEWEST,
        "changes": changes,
        "assignee": assignee,
        "people": assignees.choices(request, group.assignee_id) if changes else [],
        "versions": _choices(group) if changes else [],
        "seen_versions": [(inert(str(v), 64), n) for v, n in (group.versions or [])[: -VERSIONS - 1 : -1]],
        "events": [(event, words.event_words(event)) for event in _events(group)[:EVENTS]],
        "max_reason": MAX_REASON,
        "max_note": LONGEST_NOTE,
        "max_times": MOST_TIMES,
    }
    return TemplateResponse(request, "dashboard/failures/group.html", context)


def group_url(request: HttpRequest, fingerprint: str, **query: str) -> str:
    """The group's address."""
    url = reverse("admin:failure_group", args=[fingerprint], current_app=request.current_app)
    return f"{url}?{urlencode(query)}" if query else url


def _types_of(group: FailureGroup) -> list[str]:
    """The type of the job that failed last, where nothing else tells any more."""
    return list(JobRecord.objects.filter(pk=group.last_job_id or 0).values_list("job_type", flat=True))


def _choices(group: FailureGroup) -> list[tuple[str, str]]:
    """In which versions it can be said to be mended."""
    marked = [deploy.version for deploy in deploys.newest(VERSIONS)]
    ours = jobs_settings().version
    known = dict.fromkeys([*([ours] if ours else []), *marked, *(str(v) for v, _n in (group.versions or [])[::-1])])
    if not known:
        return []
    named = [(version, inert(version, 64)) for version in list(known)[:VERSIONS]]
    return [(NEXT_VERSION, _("in the next version")), *((v, _("in %(version)s") % {"version": w}) for v, w in named)]


def _events(group: FailureGroup) -> QuerySet[GroupEvent]:
    return GroupEvent.objects.filter(group=group).order_by("-pk")
