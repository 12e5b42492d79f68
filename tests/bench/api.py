"""What an enqueue over HTTP costs beside a view of the same site and the same shape that inserts one row."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen

from django.http import HttpRequest
from django.urls import include, path
from django.utils import timezone
from ninja import NinjaAPI

from handlers.api import shapes
from handlers.api.clients import create_client
from handlers.models import Act
from tests.bench.places import Figures
from tests.processes import ROOT, wait_for

WORKERS, CALLERS = 2, 8
ROUNDS, SECONDS = 7, 3.0
BODY = json.dumps({"type": "app.Nothing", "payload": {}}).encode()

plain = NinjaAPI(urls_namespace="bench", docs_url=None, openapi_url=None)


@plain.post("/rows")
def insert(request: HttpRequest, body: shapes.NewJob) -> dict[str, str]:
    """The same view without us: the same body, checked in the same way, and one row."""
    row = Act.objects.create(key=os.urandom(16).hex(), at=timezone.now(), answer=body.type)
    return {"id": row.pk}


urlpatterns = [path("api/v1/", include("handlers.api.urls")), path("plain/", plain.urls)]


def enqueue() -> Figures:
    """Requests/s of each, in turns, and what the one is of the other; the median of the rounds."""
    _, token = create_client("bench", verbs=["enqueue"], rate_per_minute=1_000_000)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with serving() as port:
        for address in ("/plain/rows", "/api/v1/jobs"):
            rate(port, address, headers)  # what is slow once
        pairs = [(rate(port, "/plain/rows", headers), rate(port, "/api/v1/jobs", headers)) for _ in range(ROUNDS)]
    bare, ours = (statistics.median(each) for each in zip(*pairs, strict=True))
    return {
        "view that inserts a row, requests/s": bare,
        "enqueue over the API, requests/s": ours,
        "the API's share of it": statistics.median(one / other for other, one in pairs),
    }


@contextmanager
def serving(site: str = "tests.bench.api_site") -> Iterator[int]:
    """gunicorn with two workers; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [
            sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", "--workers", str(WORKERS),
            "--threads", "4", "--log-level", "error", site,
        ]  # fmt: skip
        with Popen(command, cwd=ROOT, pass_fds=[listener.fileno()]) as server:
            try:
                wait_for("the server", lambda: _answers(port), seconds=60)
                yield port
            finally:
                server.terminate()


def rate(port: int, address: str, headers: dict[str, str]) -> float:
    """Requests/s that some callers have answered, each asking again when it was."""
    counts, until = [0] * CALLERS, time.monotonic() + SECONDS

    def call(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < until:
            connection.request("POST", address, BODY, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (200, 201), answer.status
            counts[number] += 1

    callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(counts) / SECONDS


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
