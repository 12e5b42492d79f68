"""The Workers page: who runs jobs, and asking one to finish."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers.models import AuditEntry, KnownTypes, WorkerProcess

pytestmark = pytest.mark.django_db
PAGE = "/admin/workers/"


def process(name: str = "host.1.a", age: float = 0) -> WorkerProcess:
    now = timezone.now()
    return WorkerProcess.objects.create(
        name=name,
        kind="worker",
        host="host",
        pid=4711,
        queues=["default"],
        started_at=now,
        heartbeat_at=now - timedelta(seconds=age),
        job_id=12345,
        job_since=now,
    )


def test_workers_says_how_to_start_one_when_there_is_none(viewer: Client) -> None:
    assert "python manage.py worker" in viewer.get(PAGE).content.decode()


def test_workers_shows_job_and_marks_the_lost(viewer: Client) -> None:
    process()
    process("host.2.b", age=60)
    shown = viewer.get(PAGE).content.decode()
    assert "/admin/jobs/jobrecord/12345/change/" in shown
    assert shown.count(">Lost<") == 1
    assert "Finish and stop" not in shown


def test_stop_is_refused_to_a_viewer(viewer: Client) -> None:
    row = process()
    assert viewer.post(f"{PAGE}stop/", {"name": row.name}).status_code == 403
    assert WorkerProcess.objects.get().stop_requested_at is None


def test_stop_is_recorded_with_an_audit_entry(superuser: Client) -> None:
    row = process()
    answer = superuser.post(f"{PAGE}stop/", {"name": row.name}, follow=True).content.decode()
    assert "is asked to finish and stop; it stays until its job ends" in answer
    assert WorkerProcess.objects.get().stop_requested_at is not None
    assert AuditEntry.objects.filter(verb="stop_worker").count() == 1


@pytest.mark.parametrize("name", ["", "nobody", "\x00", "x" * 500])
def test_stop_of_an_unknown_worker_says_so(superuser: Client, name: str) -> None:
    answer = superuser.post(f"{PAGE}stop/", {"name": name}, follow=True)
    assert "there is no worker" in answer.content.decode()


def test_workers_are_grouped_by_host_with_what_they_cannot_run(superuser: Client) -> None:
    KnownTypes.objects.create(digest="few", names=["some.<b>Other"])
    for number in range(3):
        process(f"one.{number}.a")
    WorkerProcess.objects.filter(name="one.0.a").update(types="few")
    WorkerProcess.objects.filter(name="one.2.a").update(host="two<i>")
    shown = superuser.get(PAGE).content.decode()
    assert shown.count('class="host"') == 2
    assert "2 workers, 2 busy" in shown
    assert shown.count("Cannot run") == 1
    assert "and " in shown
    assert "two<i>" not in shown
    assert shown.count('name="reason"') == 3


def test_stop_keeps_the_reason(superuser: Client) -> None:
    row = process()
    superuser.post(f"{PAGE}stop/", {"name": row.name, "reason": "deploy"})
    assert AuditEntry.objects.get(verb="stop_worker").reason == "deploy"


def test_workers_reads_as_often_with_a_hundred_as_with_one(superuser: Client) -> None:
    process()
    superuser.get(PAGE)
    for number in range(99):
        process(f"more.{number}")
    with CaptureQueriesContext(connection) as found:
        shown = superuser.get(PAGE).content.decode()
    assert "100 workers" in shown
    assert len(found) <= 12, [query["sql"][:80] for query in found]
