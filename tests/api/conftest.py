"""A client of the API with a token, and a transport that only takes notes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from handlers.api import clients, rates
from handlers.api.clients import create_client
from handlers.api.scopes import VERBS
from handlers.transport import get_transport, install_transport
from tests.running import NotingTransport

ROOT = "/api/v1"


class Caller:
    """Asks the API as one client of it."""

    def __init__(self, token: str | None, client: Client | None = None) -> None:
        self.token, self._client = token, client or Client()

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer; ``body``: a JSON value, or bytes as they are. ``headers``: with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            named.setdefault("Authorization", f"Bearer {self.token}")
        kind = named.pop("Content-Type", "application/json")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self._client.generic(method, f"{ROOT}{path}", content, kind, headers=named)

    def get(self, path: str, **headers: str) -> Any:
        return self("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self("POST", path, body, **headers)


@pytest.fixture(autouse=True)
def noting() -> Iterator[NotingTransport]:
    """A transport that only takes notes, in the place of the real one."""
    before, transport = get_transport(), NotingTransport()
    install_transport(transport)
    yield transport
    install_transport(before)


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    """What the test before knew of clients and their rates, this test must not see."""
    clients.forget()
    rates.forget()


@pytest.fixture
def caller() -> Callable[..., Caller]:
    """Makes a client of the API: every verb, unless some are named."""
    made: list[int] = []

    def make(*verbs: str, **options: Any) -> Caller:
        made.append(len(made))
        options = {"rate_per_minute": None, **options}
        name = options.pop("name", f"billing-{len(made)}")
        _, token = create_client(name, verbs=verbs or [*VERBS], by="a test", **options)
        return Caller(token)

    return make


def problem(response: HttpResponse, status: int, field: str | None = None) -> dict[str, Any]:
    """The problem document of an answer, which is one."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = json.loads(response.content)
    assert {"type", "title", "status", "detail", "mend"} <= told.keys()
    assert told["status"] == status
    assert field is None or told["field"] == field, told
    return told
