"""Django's middleware by which what a request enqueues is about its user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from handlers.carried import Later, context


class ContextMiddleware:
    """In ``MIDDLEWARE``, below AuthenticationMiddleware: the context of jobs and events has ``user``, the login.

    The user is looked at only where a job is enqueued, and a visitor who is not logged in is none. (The request's
    language is there anyway: it is the active one, where LocaleMiddleware or a view has activated it.)
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """The response to ``request``."""
        if self._is_async:
            return self._later(request)
        with context(user=Later(lambda: _user(request))):
            response: HttpResponseBase = self._get_response(request)
            return response

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        with context(user=Later(lambda: _user(request))):
            response: HttpResponseBase = await self._get_response(request)
            return response


def _user(request: HttpRequest) -> Any:
    return getattr(request, "user", None)
