"""The saga that has sent a job, or to which a job has brought something."""

from __future__ import annotations

from typing import NamedTuple

from django.http import HttpRequest

from dashboard.kit.reach import concerning
from handlers.job_types import JobType
from handlers.models import JobRecord, SagaRecord, SagaTurn

VIEW = "jobsite_jobs.view_sagarecord"


class OfSaga(NamedTuple):
    """What the page says of it."""

    saga: SagaRecord
    is_sent: bool  # by the saga; else the job has brought it something


def saga_of(request: HttpRequest, record: JobRecord, parent_id: int | None, job_type: JobType | None) -> OfSaga | None:
    """The one of ``record``; None where there is none, or this person sees none. One query, or none."""
    ids = ([parent_id] if parent_id else []) + ([record.pk] if hasattr(job_type, "shape") else [])
    if not ids or not request.user.has_perm(VIEW):
        return None
    reach = concerning(request, VIEW)
    turns = SagaTurn.objects.filter(job_id__in=ids).select_related("saga").order_by("-pk")[:20]
    for turn in turns:
        if not reach.has_all_of_type(turn.saga.saga_type):
            continue
        asked = turn.asked if isinstance(turn.asked, list) else []
        if turn.job_id == record.pk or any(isinstance(each, dict) and each.get("job") == record.pk for each in asked):
            return OfSaga(turn.saga, is_sent=turn.job_id != record.pk)
    return None
