"""Answers health probes before anything else looks at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

PATH = "/healthz"


@sync_and_async_middleware
def answer_probes(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Say at ``/healthz`` that this process answers, whatever the Host: a probe knows an address, and no name.

    It asks no database, so that a slow one does not get healthy hosts restarted.
    """
    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> HttpResponseBase:
            return _healthy() if request.path_info == PATH else await get_response(request)

        return later

    def now(request: HttpRequest) -> HttpResponseBase:
        return _healthy() if request.path_info == PATH else get_response(request)

    return now


def _healthy() -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")
