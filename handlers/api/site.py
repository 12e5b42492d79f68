"""The API as a whole: its rooms, and how each answer leaves it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.db import OperationalError, connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.urls import URLPattern, reverse
from django.utils import translation
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.operation import Operation
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from handlers.addresses import client_address
from handlers.api import bodies, bulk, failures, jobs, looking, recurring, workflows
from handlers.api.asking import RATE, Token, refused
from handlers.api.document import DESCRIPTION, URLS, document
from handlers.api.problems import Problem
from handlers.audit import acts_from
from handlers.carried import USER, context

logger = logging.getLogger(__name__)

VERSION = "1.0.0"


class Renderer(BaseRenderer):
    """JSON by pydantic: quick, and with times to the microsecond."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        """The answer's content."""
        return to_json(data)


class JobsAPI(NinjaAPI):
    """The API, with the operations' ids as their views are called."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The view's name."""
        return operation.view_func.__name__


api = JobsAPI(
    title="Jobs",
    version=VERSION,
    description=DESCRIPTION,
    urls_namespace=URLS,
    openapi_url=None,  # served below, completed
    docs_url=None,  # a page with scripts, which the site's policy would not run
    auth=Token(),
    parser=bodies.StrictParser(),
    renderer=Renderer(),
)
for room in (jobs, bulk, recurring, workflows, failures, looking):
    api.add_router("", room.router)


def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI 3.1 document, for this site's address. Open to all: it tells nothing of the site's jobs."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    path = reverse(f"{URLS}:openapi").removesuffix("/openapi.json")
    return HttpResponse(_document(path), "application/json")


@lru_cache(maxsize=4)
def _document(path: str) -> bytes:
    """Made once: it takes a large part of a second, and anybody may ask."""
    return to_json(document(api, path))


def unknown(request: HttpRequest, path: str) -> HttpResponse:
    """An address of nothing."""
    raise Problem(404, f"There is nothing at {path[:100]!r}")


def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """``view``, whose errors are problem documents, and whose acts are audited with the client's address."""

    @wraps(view)
    def answer(request: HttpRequest, **path: Any) -> HttpResponseBase:
        # English, whatever the client reads: programs compare what is said. What is enqueued is about no language then,
        # and nobody whom a cookie of the request belongs to.
        with acts_from(client_address(request)), translation.override(None), context(**{USER: None}):
            try:
                bodies.check(request)
                response = view(request, **path)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets JSON
                response = told(request, error)
        if isinstance(response, HttpResponseNotAllowed):
            allowed = response.headers["Allow"]
            response = Problem(405, f"{request.method} is not for this address", headers={"Allow": allowed}).response()
        rate = getattr(request, RATE, None)
        if rate is not None:
            for name, value in rate.headers.items():
                response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Content-Language", "en")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response

    answer.csrf_exempt = True  # type: ignore[attr-defined] # no cookie counts here
    answer.login_required = False  # type: ignore[attr-defined] # nor does Django's LoginRequiredMiddleware ask
    # What is answered has been committed, or has not been: a transaction around the view would end after its answer.
    for alias in connections:
        transaction.non_atomic_requests(alias)(answer)
    return answer


def told(request: HttpRequest, error: Any) -> HttpResponse:
    """``error`` as a problem document."""
    if isinstance(error, HttpError) and isinstance(error.__cause__, Problem):
        error = error.__cause__  # from the body's parser
    if isinstance(error, Problem):
        return error.response()
    if isinstance(error, AuthenticationError):
        return refused("The request has no token").response()
    if isinstance(error, ValidationError):
        return _invalid(error).response()
    if isinstance(error, HttpError):
        return Problem(error.status_code if error.status_code == 400 else 422, str(error)).response()
    if isinstance(error, Http404):
        return Problem(404, "There is no such thing").response()
    if isinstance(error, SuspiciousOperation):
        return Problem(400, "The request is not one that this site takes").response()
    if isinstance(error, OperationalError):
        logger.warning("the API cannot reach the database: %s", str(error).strip().partition("\n")[0])
        return Problem(503, "The database cannot do this now", headers={"Retry-After": "5"}).response()
    logger.error("the API failed at %s %s", request.method, request.path, exc_info=error)
    return Problem(500, f"{type(error).__name__} was raised").response()


for kind in (Exception, HttpError, ValidationError, Http404):
    api.add_exception_handler(kind, told)


def _invalid(error: ValidationError) -> Problem:
    """The first of pydantic's errors as the problem, and all of them as its ``errors``."""
    errors = []
    for found in error.errors[:20]:
        source, *path = found["loc"]
        # The body's own name is that of the view's argument.
        path = path[1:] if source == "body" else path
        errors.append({"field": ".".join(map(str, path))[:200], "detail": str(found["msg"])[:300]})
    first = errors[0]
    detail = ": ".join(part for part in (first["field"], first["detail"]) if part)
    return Problem(422, detail, field=first["field"], errors=errors)


def url_patterns() -> list[URLPattern]:
    """The addresses, each guarded."""
    from django.urls import path

    patterns = [pattern for pattern in api.urls[0] if isinstance(pattern, URLPattern) and pattern.name != "api-root"]
    for pattern in patterns:
        pattern.callback = guarded(pattern.callback)
    return [
        path("openapi.json", guarded(openapi), name="openapi"),
        *patterns,
        path("<path:path>", guarded(unknown), name="unknown"),
        path("", guarded(unknown), {"path": ""}, name="root"),
    ]
