"""The page of failure groups: what is broken, rather than which job failed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import Q
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString

from dashboard.kit import charts, metrics
from dashboard.kit.queries import Count, failed_of_groups
from dashboard.kit.text import inert
from dashboard.kit.verbs import RUN_BULK
from handlers.models import FailureGroup, JobCount

PAGE = 25
TYPES = 5  # named for each group
NEW_SINCE = timedelta(days=1)


class GroupRow(NamedTuple):
    """One group, and what is known of it at this moment."""

    group: FailureGroup
    counts: metrics.GroupCounts
    spark: SafeString
    types: list[str]
    more_types: int
    failed_now: Count
    is_new: bool
    retry_url: str
    delete_url: str


def failures(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """All failure groups, newest first, by pages; ``type`` narrows to those that a job type failed in lately."""
    job_type = request.GET.get("type", "").strip()
    position, problem = _position(request.GET.get("after", ""))
    now = timezone.now()
    groups = FailureGroup.objects.order_by("-last_at", "-fingerprint")
    if "\0" in job_type or len(job_type) > 200:
        job_type, problem = "", "There is no such job type; these are the failures of all."
    if job_type:
        counts = JobCount.objects.filter(period="day", job_type=job_type, queue="", at__gte=now - timedelta(days=8))
        groups = groups.filter(pk__in=counts.exclude(fingerprint="").values("fingerprint"))
    if position:
        at, fingerprint = position
        groups = groups.filter(Q(last_at__lt=at) | Q(last_at=at, fingerprint__lt=fingerprint))
    found = list(groups[: PAGE + 1])
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": "Failures",
        "rows": _rows(request, found[:PAGE], now),
        "job_type": inert(job_type, 200),
        "problem": problem,
        "is_first": position is None,
        "first_url": f"?{urlencode({'type': job_type})}" if job_type else "?",
        "next_url": _next_url(found[PAGE - 1], job_type) if len(found) > PAGE else "",
    }
    return TemplateResponse(request, "dashboard/failures/failures.html", context)


def _rows(request: HttpRequest, groups: list[FailureGroup], now: datetime) -> list[GroupRow]:
    names = [group.pk for group in groups]
    counts = metrics.group_counts(names)
    failed_now = failed_of_groups(names)
    runs = request.user.has_perm(RUN_BULK)
    may = {verb: runs and request.user.has_perm(f"jobsite_jobs.{verb}_jobrecord") for verb in ("retry", "delete")}
    rows = []
    for group in groups:
        known = counts[group.pk]
        urls = {
            verb: _bulk_url(request, verb, group.pk) if may[verb] and failed_now[group.pk].value else ""
            for verb in ("retry", "delete")
        }
        words = f"{known.day:,} failed attempts in 24 hours, by hour"
        rows.append(
            GroupRow(
                group,
                known,
                charts.sparkline(known.sparkline, words),
                known.types[:TYPES],
                len(known.types[TYPES:]),
                failed_now[group.pk],
                group.first_at >= now - NEW_SINCE,
                urls["retry"],
                urls["delete"],
            )
        )
    return rows


def _bulk_url(request: HttpRequest, verb: str, fingerprint: str) -> str:
    try:
        url = reverse("admin:bulk_new", current_app=request.current_app)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode({'verb': verb, 'q': f'group:{fingerprint}', 'state': 'failed'})}"


def _position(text: str) -> tuple[tuple[datetime, str] | None, str]:
    """Where a page begins, as ``time~fingerprint``; and what was wrong with it."""
    if not text:
        return None, ""
    at, _, fingerprint = text.partition("~")
    try:
        time = parse_datetime(at)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not fingerprint.isalnum() or len(fingerprint) > 16:
        return None, "There is no such page; this is the first."
    return (time, fingerprint), ""


def _next_url(last: FailureGroup, job_type: str) -> str:
    query = {"type": job_type} if job_type else {}
    return f"?{urlencode(query | {'after': f'{last.last_at.isoformat()}~{last.pk}'})}"
