"""What the pages that write arguments share: which types have a form, the call as code, and the page itself."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext_lazy

from dashboard.kit.forms import PayloadForm
from dashboard.kit.sensitive import shown
from dashboard.kit.text import call
from handlers.conf import ENGINE_TYPES
from handlers.job_types import JobType

ENQUEUE = "jobsite_jobs.enqueue_jobrecord"
OWN = gettext_lazy("%(name)s is the engine's own type: written by hand, it would do what other permissions guard.")


def is_engines_own(job_type: JobType) -> bool:
    """Whether the engine declares the type. Such jobs act on other jobs, so their arguments are not for a form."""
    return job_type.name.startswith(ENGINE_TYPES)


def code_of(request: HttpRequest, job_type: JobType, data: Any, **options: Any) -> str:
    """The call with these arguments, as this person may see them, and these options of the gateway's verb."""
    seen = shown(request, job_type, data)
    return call(job_type.name, job_type.payload_class.__name__, seen, kind=job_type.kind, **options)


def is_raw(request: HttpRequest) -> bool:
    """Whether the address asks for the arguments as one JSON text."""
    return request.GET.get("raw") == "1"


def render(
    site: AdminSite, request: HttpRequest, job_type: JobType, form: PayloadForm, context: dict[str, Any]
) -> TemplateResponse:
    """The page, which no cache keeps."""
    full = {
        **site.each_context(request),
        "title": context["heading"],
        "job_type": job_type,
        "form": form,
        "is_raw": "raw" in form.fields,
        **context,
    }
    response = TemplateResponse(request, "dashboard/kit/payload_form.html", full)
    add_never_cache_headers(response)
    return response
