"""Who sees sensitive arguments: one question, asked by every page that shows a job's arguments."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from dashboard.kit import catalogue
from handlers.job_types import JobType
from handlers.masking import mask
from handlers.models import JobRecord

VIEW_SENSITIVE = "jobs.view_sensitive"


def may_see(request: HttpRequest) -> bool:
    """Whether this person sees sensitive arguments."""
    return bool(request.user.has_perm(VIEW_SENSITIVE))


def shown(request: HttpRequest, job: JobRecord | JobType | str | None, data: Any) -> Any:
    """``data``, the arguments of ``job`` (a record, a type or a type's name), as this person may see them."""
    if may_see(request):
        return data
    name = job.job_type if isinstance(job, JobRecord) else job
    return mask(catalogue.find(name) if isinstance(name, str) else name, data)
