"""The list of failure groups: one dense row each, trouble first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import Count as CountOf
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.failures import assignees, within, words
from dashboard.failures.access import bulk_url
from dashboard.failures.order import SORTS, Order
from dashboard.kit import charts, metrics
from dashboard.kit.numbers import thousands
from dashboard.kit.queries import Count, failed_of_groups
from dashboard.kit.reach import seen
from dashboard.kit.text import inert
from handlers.models import OPEN_STATES, FailureGroup, GroupState, JobCount, JobRecord

PAGE = 30
LONGEST_TYPE = 200  # characters
TYPE_DAYS = 8  # in which a type failed
# What the list shows of their lives; the first one unless another is asked for.
STATES: dict[str, str | Promise] = {
    "open": gettext_lazy("Open"),
    "regressed": gettext_lazy("Regressed"),
    "new": gettext_lazy("New"),
    "ignored": gettext_lazy("Ignored"),
    "resolved": gettext_lazy("Resolved"),
    "all": gettext_lazy("All"),
}
ASSIGNEES: dict[str, str | Promise] = {
    "": gettext_lazy("anybody"),
    "me": gettext_lazy("me"),
    "nobody": gettext_lazy("nobody"),
}


class GroupRow(NamedTuple):
    """One group, and what is known of it at this moment."""

    group: FailureGroup
    heading: str
    badge: str
    place: str
    counts: metrics.GroupCounts
    spark: SafeString
    failed_now: Count
    assignee: str
    retry_url: str


class Tab(NamedTuple):
    """One choice of the states."""

    words: str | Promise
    number: int
    url: str
    current: bool


class Head(NamedTuple):
    """A column by which the list can be sorted."""

    url: str
    current: bool


class Asked(NamedTuple):
    """What the address asks for, as far as it makes sense."""

    state: str
    job_type: str
    assignee: str
    sort: str
    problem: str

    def url(self, **other: str) -> str:
        """The address that asks for this, but for what is told otherwise."""
        told = {"state": self.state, "type": self.job_type, "assignee": self.assignee, "sort": self.sort} | other
        unsaid = {"state": "open", "sort": "trouble"}
        return f"?{urlencode({name: value for name, value in told.items() if value and value != unsaid.get(name)})}"


def failures(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """The failure groups, by pages."""
    if not (reach := seen(request)).is_whole:
        return within.failures(site, request, reach)
    asked, now = _asked(request), timezone.now()
    narrowed = _narrowed(request, asked, now)
    order = Order(asked.sort, now - words.NEW_SINCE)
    place, problem = order.read(request.GET.get("after", ""))
    page = order.page(_in_state(narrowed, asked.state, now), place, PAGE)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Failures"),
        "rows": _rows(request, page.groups, now),
        "asked": asked,
        "job_type": inert(asked.job_type, LONGEST_TYPE),
        "assignees": [(value, told, value == asked.assignee) for value, told in ASSIGNEES.items()],
        "tabs": _tabs(narrowed, asked, now),
        "heads": {name: Head(asked.url(sort=name), name == asked.sort) for name in SORTS},
        "problem": asked.problem or problem,
        "cut": page.cut,
        "is_first": place is None,
        "any": bool(page.groups) or FailureGroup.objects.exists(),
        "is_narrowed": bool(asked.job_type or asked.assignee),
        "first_url": asked.url(),
        "all_url": asked.url(type="", assignee=""),
        "next_url": asked.url(after=page.following) if page.following else "",
    }
    return TemplateResponse(request, "dashboard/failures/failures.html", context)


def _asked(request: HttpRequest) -> Asked:
    job_type, state = request.GET.get("type", "").strip(), request.GET.get("state", "") or "open"
    assignee, sort = request.GET.get("assignee", ""), request.GET.get("sort", "") or "trouble"
    problem = ""
    if "\0" in job_type or len(job_type) > LONGEST_TYPE:
        job_type, problem = "", _("There is no such job type; these are the failures of all.")
    if state not in STATES or assignee not in ASSIGNEES or sort not in SORTS:
        problem = _("There is no such list of failures; these are the open ones.")
        state = state if state in STATES else "open"
        assignee = assignee if assignee in ASSIGNEES else ""
        sort = sort if sort in SORTS else "trouble"
    return Asked(state, job_type, assignee, sort, problem)


def _narrowed(request: HttpRequest, asked: Asked, now: datetime) -> QuerySet[FailureGroup]:
    """The groups of the type and the assignee that are asked for, in whatever state."""
    groups = FailureGroup.objects.all()
    if asked.job_type:
        since = now - timedelta(days=TYPE_DAYS)
        counts = JobCount.objects.filter(period="day", job_type=asked.job_type, queue="", at__gte=since)
        groups = groups.filter(pk__in=counts.exclude(fingerprint="").values("fingerprint"))
    if asked.assignee == "me":
        groups = groups.filter(assignee_id=request.user.pk)
    elif asked.assignee == "nobody":
        groups = groups.filter(assignee_id=None)
    return groups


def _in_state(groups: QuerySet[FailureGroup], state: str, now: datetime) -> QuerySet[FailureGroup]:
    return groups if state == "all" else groups.filter(_is(state, now))


def _is(state: str, now: datetime) -> Q:
    if state == "open":
        return Q(state__in=OPEN_STATES)
    if state == "new":
        return Q(state=GroupState.OPEN, first_at__gte=now - words.NEW_SINCE)
    return Q(state=state)


def _tabs(groups: QuerySet[FailureGroup], asked: Asked, now: datetime) -> list[Tab]:
    named = {state: CountOf("pk", filter=_is(state, now)) for state in STATES if state != "all"}
    numbers = groups.aggregate(all=CountOf("pk"), **named)
    return [Tab(told, numbers[state], asked.url(state=state), state == asked.state) for state, told in STATES.items()]


def _rows(request: HttpRequest, groups: Sequence[FailureGroup], now: datetime) -> list[GroupRow]:
    names = [group.pk for group in groups]
    counts, failed_now = metrics.group_counts(names), failed_of_groups(names)
    people = assignees.names_of(group.assignee_id for group in groups)
    types = _types(groups, counts)
    rows = []
    for group in groups:
        known = counts[group.pk]
        told = _("%(number)s failed attempts in 24 hours, by hour") % {"number": thousands(known.day)}
        rows.append(
            GroupRow(
                group,
                words.heading(group, types[group.pk], is_short=True),
                words.badge_of(group, now),
                words.place(group),
                known,
                charts.sparkline(known.sparkline, told),
                failed_now[group.pk],
                people.get(group.assignee_id, ""),
                bulk_url(request, "retry", group.pk) if failed_now[group.pk].value else "",
            )
        )
    return rows


def _types(groups: Sequence[FailureGroup], counts: Mapping[str, metrics.GroupCounts]) -> dict[str, list[str]]:
    """The types that each failed in this week, or else that of the job that failed last."""
    silent = [group.last_job_id for group in groups if not counts[group.pk].types and not group.job_type]
    last = dict(JobRecord.objects.filter(pk__in=[pk for pk in silent if pk]).values_list("pk", "job_type"))
    return {
        group.pk: counts[group.pk].types
        or [name for name in (group.job_type or last.get(group.last_job_id or 0),) if name]
        for group in groups
    }
