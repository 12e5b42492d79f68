"""Answers probes and scrapes before anything else looks at them: they know an address, and no name, and no HTTPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from handlers.metrics import views

PATH = "/healthz"


@sync_and_async_middleware
def answer_probes(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Say at ``/healthz`` that this process answers, whatever the Host; at ``/readyz`` whether it can do its work; at
    ``/metrics`` the numbers, for whoever may read them.

    The first asks no database, so that a slow one does not get healthy hosts restarted.
    """
    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> HttpResponseBase:
            if (view := VIEWS.get(request.path_info)) is None:
                response: HttpResponseBase = await get_response(request)
                return response
            return view(request) if view is _healthy else await sync_to_async(view)(request)

        return later

    def now(request: HttpRequest) -> HttpResponseBase:
        view = VIEWS.get(request.path_info)
        response: HttpResponseBase = get_response(request) if view is None else view(request)
        return response

    return now


def _healthy(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


VIEWS: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    PATH: _healthy,
    "/readyz": views.ready,
    "/metrics": views.metrics,
}
