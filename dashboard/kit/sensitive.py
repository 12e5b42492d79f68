"""Who sees sensitive arguments: one question, asked by every page that shows a job's arguments."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from dashboard.kit import catalogue
from handlers.job_types import JobType
from handlers.masking import mask, mask_result
from handlers.models import JobRecord
from handlers.states import State

VIEW_SENSITIVE = "jobsite_jobs.view_sensitive"


def may_see(request: HttpRequest) -> bool:
    """Whether this person sees sensitive arguments."""
    return bool(request.user.has_perm(VIEW_SENSITIVE))


def shown(request: HttpRequest, job: JobRecord | JobType | str | None, data: Any) -> Any:
    """``data``, the arguments of ``job`` (a record, a type or a type's name), as this person may see them."""
    if may_see(request):
        return data
    name = job.job_type if isinstance(job, JobRecord) else job
    return mask(catalogue.find(name) if isinstance(name, str) else name, data)


def shown_result(request: HttpRequest, record: JobRecord, payload: Any) -> Any:
    """What the job's handler returned, as this person may see it; ``payload``: its arguments, with what is secret."""
    if record.state != State.SUCCEEDED or record.result is None or may_see(request):
        return record.result if record.state == State.SUCCEEDED else None
    return mask_result(catalogue.find(record.job_type), record.result, payload)
