"""What one person's exports cost the others: an Overview asked for while eight of one Viewer are under way."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections import Counter
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore

from dashboard.roles import group_of
from tests.bench.api import serving
from tests.bench.places import Figures

EXPORTS = 8
EXPORT = "/admin/jobs/export/?format=csv"


def exporting(*, requests: int = 60) -> Figures:
    """Milliseconds of ``requests`` Overviews, one after the other, without and with the exports; by two workers."""
    viewer, reader = (cookie(name) for name in ("greedy", "reader"))
    with serving("jobsite.wsgi:application") as port:
        for _ in range(8):
            _overview(port, reader)  # each worker loads what it needs
        quiet = [_overview(port, reader) for _ in range(requests)]
        answers: Counter[int] = Counter()
        end = threading.Event()
        threads = [threading.Thread(target=_export, args=(port, viewer, answers, end)) for _ in range(EXPORTS)]
        for thread in threads:
            thread.start()
        time.sleep(1)  # let them begin
        busy = [_overview(port, reader) for _ in range(requests)]
        end.set()
        for thread in threads:
            thread.join()
    told = {f"exports answered with {status}": number for status, number in sorted(answers.items())}
    p95 = [statistics.quantiles(each, n=20)[18] * 1_000 for each in (quiet, busy)]
    return {"Overview, p95, ms": p95[0], f"Overview beside {EXPORTS} exports, p95, ms": p95[1], **told}


def cookie(name: str, role: str = "Viewer") -> str:
    """The header of somebody who is signed in and has a role."""
    user, _ = User.objects.get_or_create(username=name, is_staff=True)
    user.groups.add(group_of(role, Group))
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[-1]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.set_expiry(timedelta(hours=1))
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


def _overview(port: int, cookie: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    began = time.perf_counter()
    connection.request("GET", "/admin/", headers={"Cookie": cookie})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return time.perf_counter() - began


def _export(port: int, cookie: str, answers: Counter[int], end: threading.Event) -> None:
    """Read as fast as it comes, until it ends, or asked to stop; who is refused asks again, as the answer says."""
    while not end.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", EXPORT, headers={"Cookie": cookie})
        answer = connection.getresponse()
        answers[answer.status] += 1
        while answer.read(65_536) and not end.is_set():
            pass
        connection.close()
        if answer.status != 200:
            end.wait(5)
