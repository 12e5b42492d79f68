"""The failures of who sees some jobs only: groups of jobs within that are failed now, counted by looking at these.

A group is one for all jobs, and its counters, its diary and its message may be of others. Of it is told what each of
its failed jobs has in common, the exception, the line and where it is in its life; all else comes from jobs within.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from dashboard.failures import evidence, words
from dashboard.failures.access import NONE, bulk_url, found
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.queries import Count
from dashboard.kit.reach import in_words
from handlers.models import FailureGroup, JobRecord
from handlers.selection import Reach, Selection
from handlers.states import State

LOOKED_AT = 1_000  # newest failed jobs
MOST = 100  # groups
READ = ("fingerprint", "job_type", "queue", "finished_at", "error")


class Row(NamedTuple):
    """One group, as its jobs within tell of it."""

    group: FailureGroup
    heading: str
    place: str
    error: str  # of the newest of the jobs
    last_at: datetime | None
    failed: Count
    retry_url: str


def failures(site: AdminSite, request: HttpRequest, reach: Reach) -> TemplateResponse:
    """The groups of the newest of the jobs within ``reach`` that are failed now, the one that failed last first."""
    jobs: list[JobRecord] = []
    too_slow = False
    try:
        with time_limit():
            jobs = _failed(reach).page(LOOKED_AT + 1, only=READ)
    except TookTooLong:
        too_slow = True
    rows = _rows(request, [job for job in jobs[:LOOKED_AT] if job.fingerprint], cut=len(jobs) > LOOKED_AT)
    context = {
        **site.each_context(request),
        "title": _("Failures"),
        "reach_words": in_words(reach),
        "rows": rows[:MOST],
        "cut": len(jobs) > LOOKED_AT or len(rows) > MOST,
        "looked_at": LOOKED_AT,
        "too_slow": too_slow,
    }
    status = 503 if too_slow else 200
    return TemplateResponse(request, "dashboard/failures/within.html", context, status=status)


def group_page(site: AdminSite, request: HttpRequest, fingerprint: str, reach: Reach) -> TemplateResponse:
    """One group. Raises Http404 where none of the jobs within ``reach`` is of it."""
    group = found(fingerprint)
    try:
        with time_limit():
            records = evidence.jobs(group.pk, reach)
            failed, places = evidence.failed_now(group.pk, reach)
            shared, compared = evidence.shared_arguments(request, group.pk)
    except TookTooLong as slow:
        raise PermissionDenied(_("It takes too long to tell your jobs from the others of this group.")) from slow
    if not records:
        raise Http404(NONE)
    types = evidence.type_names(places) or sorted({record.job_type for record in records})
    context = {
        **site.each_context(request),
        "title": words.heading(group, types),
        "reach_words": in_words(reach),
        "group": group,
        "place": words.place(group),
        "error": records[0].error,
        "sample": evidence.sample(group.pk, records),
        "shared": shared,
        "compared": compared,
        **evidence.told(request, group.pk, failed, places, records),
    }
    return TemplateResponse(request, "dashboard/failures/group_within.html", context)


def _failed(reach: Reach) -> Selection:
    return Selection(states=(State.FAILED.value,)).kept_within(reach)


def _rows(request: HttpRequest, jobs: Sequence[JobRecord], *, cut: bool) -> list[Row]:
    by_group: dict[str, list[JobRecord]] = {}
    for job in jobs:
        by_group.setdefault(job.fingerprint, []).append(job)
    # By jobs, not by groups: a group of nobody else's is not even asked for.
    groups = FailureGroup.objects.in_bulk(list(by_group))
    rows = []
    for name, some in by_group.items():
        if (group := groups.get(name)) is None:
            continue  # its first failure is seconds old
        types = [job_type for job_type, _number in Counter(job.job_type for job in some).most_common()]
        last = max(some, key=lambda job: (job.finished_at is not None, job.finished_at, job.pk))
        rows.append(
            Row(
                group,
                words.heading(group, types, is_short=True),
                words.place(group),
                last.error,
                last.finished_at,
                Count(len(some), cut),
                bulk_url(request, "retry", name),
            )
        )
    return sorted(rows, key=lambda row: (row.last_at is not None, row.last_at), reverse=True)
