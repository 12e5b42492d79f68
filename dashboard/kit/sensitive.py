"""Who sees sensitive arguments: one question, asked by every page that shows a job's arguments."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest

from dashboard.kit import catalogue
from handlers.job_types import JobType
from handlers.masking import mask, mask_context, mask_result
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


def shown_signal(request: HttpRequest, record: JobRecord, data: Any, payload: Any) -> Any:
    """What came with a signal of the job, as this person may see it: what its arguments hide is hidden there, too."""
    if data is None or may_see(request):
        return data
    job_type = catalogue.find(record.job_type)
    return mask_result(job_type, mask(job_type, data), payload)


def shown_context(request: HttpRequest, context: dict[str, Any] | None) -> dict[str, str]:
    """What travels with a job, as this person may see it, as text."""
    found = (context if may_see(request) else mask_context(context)) if context else {}
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in found.items()
    }


def shown_result(request: HttpRequest, record: JobRecord, payload: Any) -> Any:
    """What the job's handler returned, as this person may see it; ``payload``: its arguments, with what is secret."""
    if record.state != State.SUCCEEDED or record.result is None or may_see(request):
        return record.result if record.state == State.SUCCEEDED else None
    return mask_result(catalogue.find(record.job_type), record.result, payload)
