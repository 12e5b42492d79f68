"""Names of job types and queues that hold what somebody types: asked for where there are too many for a select."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.admin import AdminSite
from django.http import HttpRequest, JsonResponse

from dashboard.jobs.filters import NAMES
from dashboard.kit.filters import FEW


def names(site: AdminSite, request: HttpRequest) -> JsonResponse:
    """``{"names": [...]}``, at most FEW: of ``of``, ``type`` or ``queue``, those within their sight with ``part``."""
    known = NAMES.get(request.GET.get("of", "type"))
    found = _with(request.GET.get("part", ""), known(request)) if known else []
    answer = JsonResponse({"names": found})
    answer.headers["Cache-Control"] = "private, max-age=60"
    return answer


def _with(part: str, known: Iterable[str]) -> list[str]:
    """Those that hold ``part``, first those that begin with it, or whose last part does."""
    asked = part.strip().casefold()
    found = [(not f".{name.casefold()}".rpartition(".")[2].startswith(asked), name) for name in known]
    return [name for _later, name in sorted(each for each in found if asked in each[1].casefold())[:FEW]]
