"""The Workers page: who runs jobs, and asking one to finish."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers import fleet
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
    assert "2 workers, 1 busy with 1 job<" in shown, "what a lost one ran is not known"
    assert "Finish and stop" not in shown


def test_workers_shows_what_a_process_runs_and_its_slots(viewer: Client) -> None:
    row = process()
    since = timezone.now().isoformat()
    row.runs = [{"job": 100 + number, "since": since} for number in range(fleet.NAMED_RUNS)]
    row.running_async, row.max_async, row.running_sync, row.threads = 998, 1_000, 2, 4
    row.save()
    process("old.release")
    shown = viewer.get(PAGE).content.decode()
    for number in range(fleet.NAMED_RUNS):
        assert f"/admin/jobs/jobrecord/{100 + number}/change/" in shown
    assert "/admin/jobs/jobrecord/?state=processing&amp;worker=host.1.a" in shown
    assert "and 997 more" in shown
    assert "all 1,000<" in shown
    assert "998 of 1,000 async" in shown
    assert "2 free" in shown
    assert "2 of 4 sync" in shown
    assert "2 workers, 2 busy with 1,001 jobs" in shown
    assert shown.count(" free<") == 2, "an older release's worker does not say"


def test_workers_of_many_runs_is_bounded(viewer: Client) -> None:
    since = timezone.now().isoformat()
    for number in range(100):
        row = process(f"w{number}.<b>")
        row.runs = [{"job": job_id, "since": since} for job_id in range(1, fleet.NAMED_RUNS + 1)]
        row.running_async, row.max_async, row.running_sync, row.threads = 1_000, 1_000, 1, 1
        row.save()
    with CaptureQueriesContext(connection) as found:
        answer = viewer.get(PAGE).content
    assert len(found) <= 15, [query["sql"][:80] for query in found]  # two of them are the navigation's, one the keys'
    assert b"busy with 100,100 jobs" in answer
    assert b".<b>" not in answer
    assert len(answer) < 500_000


def test_stop_is_refused_to_a_viewer(viewer: Client) -> None:
    row = process()
    assert viewer.post(f"{PAGE}stop/", {"name": row.name}).status_code == 403
    assert WorkerProcess.objects.get().stop_requested_at is None


def test_stop_is_recorded_with_an_audit_entry(superuser: Client) -> None:
    row = process()
    answer = superuser.post(f"{PAGE}stop/", {"name": row.name}, follow=True).content.decode()
    assert "is asked to finish and stop; it stays until its jobs have ended" in answer
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
