"""The jobs beside a job, in the list that the person came from."""

from __future__ import annotations

from django.http import HttpRequest, QueryDict
from django.urls import reverse

from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.search import selection_of
from handlers.models import JobRecord
from handlers.selection import InvalidSelection


def neighbours(request: HttpRequest, record: JobRecord) -> tuple[str | None, str | None]:
    """The addresses of the next newer and the next older job inside the list that the person came from.

    None where there is none, the list cannot be read any more, or finding out takes too long.
    """
    came_from = request.GET.get("_changelist_filters", "")
    try:
        selection = selection_of(request, QueryDict(came_from))
        with time_limit(0.5):
            newer = selection.look(1, after=record.pk).rows
            older = selection.look(1, before=record.pk).rows
    except (InvalidSelection, TookTooLong):
        return None, None
    return _job_url(request, newer, came_from), _job_url(request, older, came_from)


def _job_url(request: HttpRequest, rows: list[JobRecord], came_from: str) -> str | None:
    if not rows:
        return None
    url = reverse(
        "admin:jobsite_jobs_jobrecord_change", args=[rows[0].pk], current_app=getattr(request, "current_app", None)
    )
    query = QueryDict(mutable=True)
    if came_from:
        query["_changelist_filters"] = came_from
    return f"{url}?{query.urlencode()}" if query else url
