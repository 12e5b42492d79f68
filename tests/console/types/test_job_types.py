"""The job types page and a type's own page."""

from __future__ import annotations

import re
from dataclasses import make_dataclass, replace

import pytest
from django.test import Client
from django.utils import timezone

from handlers import Job, handles, job_scheduler
from handlers.models import AuditEntry, BlockingCall, WorkerProcess
from handlers.registry import registry

pytestmark = pytest.mark.django_db


def _page(client: Client, path: str) -> str:
    response = client.get(f"/admin/job-types/{path}")
    assert response.status_code == 200
    return response.content.decode()


def test_list_links_to_each_type_and_filters_by_name(viewer: Client) -> None:
    assert 'href="/admin/job-types/app.Note/"' in _page(viewer, "")
    narrowed = _page(viewer, "?q=NOTE")
    assert "app.Note" in narrowed
    assert "app.Fail" not in narrowed
    assert "No type's name contains" in _page(viewer, "?q=%3Cscript%3E").replace("&#x27;", "'")


def test_type_page_shows_what_is_declared(viewer: Client) -> None:
    html = _page(viewer, "app.Pay/")
    for words in ("tests.app.jobs.pay", "card.number", "from the code", "&quot;properties&quot;"):
        assert words in html
    assert "Enqueue one" not in html
    assert viewer.get("/admin/job-types/no.Such/").status_code == 404


def test_type_page_shows_a_priority_where_there_is_one(viewer: Client) -> None:
    assert "<dt>Priority</dt>" not in _page(viewer, "app.Note/")
    with registry.isolated():
        registry.register(replace(registry.get("app.Note"), priority=50))
        assert "<dt>Priority</dt><dd>50, as if enqueued 5 min earlier</dd>" in _page(viewer, "app.Note/")


def test_type_page_shows_in_what_company_a_type_runs(viewer: Client) -> None:
    assert "with others on the event loop of a worker" in _page(viewer, "app.AsyncNote/")
    assert "in a thread of a worker" in _page(viewer, "app.Note/")
    with registry.isolated():
        registry.register(replace(registry.get("app.AsyncNote"), exclusive=True))
        assert "alone in a worker process" in _page(viewer, "app.AsyncNote/")


def test_type_page_shows_where_a_handler_blocked_the_event_loop(viewer: Client) -> None:
    assert "Blocks the event loop" not in _page(viewer, "app.AsyncNote/")
    BlockingCall.objects.create(
        job_type="app.AsyncNote", job_id=4711, at=timezone.now(), seconds=1.2, others=1_000,
        stack='  File "<script>alert(1)</script>", line 1, in f\n    time.sleep(9)', worker="host<i>",
    )  # fmt: skip
    html = _page(viewer, "app.AsyncNote/")
    assert "Blocks the event loop" in html
    assert "/admin/jobs/jobrecord/4711/change/" in html
    assert "1,000 others" in html
    assert "time.sleep(9)" in html
    assert "<script>alert" not in html
    assert "host<i>" not in html
    assert "Blocks the event loop" not in _page(viewer, "app.Note/")


def test_list_of_two_hundred_types_takes_few_queries(viewer: Client, django_assert_max_num_queries: object) -> None:
    with registry.isolated():
        for number in range(200):
            made = make_dataclass(f"Made{number}", [("x", int)], bases=(Job,), frozen=True)
            handles(made, name=f"made.T{number}")(lambda job: None)
        with django_assert_max_num_queries(18):  # type: ignore[operator]
            first = _page(viewer, "?q=made")
        assert first.count('href="/admin/job-types/made.T') == 50
        assert "200 of" in first
        assert "page 1 of 4" in first
        named = set()
        for page in range(1, 5):
            named |= set(re.findall(r'href="/admin/job-types/(made\.T\d+)/"', _page(viewer, f"?q=made&page={page}")))
        assert len(named) == 200


def test_type_is_paused_and_resumed_with_an_audit_entry(operator: Client) -> None:
    operator.post("/admin/job-types/app.Note/pause/", {"reason": "it misbehaves"})
    assert "app.Note" in job_scheduler.paused_types()
    assert "it misbehaves" in _page(operator, "app.Note/")
    operator.post("/admin/job-types/app.Note/resume/")
    assert job_scheduler.paused_types() == {}
    assert AuditEntry.objects.count() == 2


def test_pause_needs_its_permission_and_a_post(viewer: Client, operator: Client) -> None:
    assert viewer.post("/admin/job-types/app.Note/pause/").status_code == 403
    assert operator.get("/admin/job-types/app.Note/pause/").status_code == 405


def test_type_whose_queue_nobody_serves_says_so(viewer: Client) -> None:
    now = timezone.now()
    WorkerProcess.objects.create(
        name="w", host="h", pid=1, kind="worker", started_at=now, heartbeat_at=now, queues=["default"]
    )
    note, greet = (viewer.get(f"/admin/job-types/app.{name}/").content.decode() for name in ("Note", "Greet"))
    assert "(1 worker)" in note
    assert "No live worker serves queue mail." in greet
    assert "python manage.py worker --queues mail" in greet
    assert "no worker serves it" in viewer.get("/admin/job-types/?q=greet").content.decode()
    assert "no worker serves it" not in viewer.get("/admin/job-types/?q=app.note").content.decode()
