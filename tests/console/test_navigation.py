"""What the navigation says: pages in groups, and the trouble that each leads to."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dashboard.kit import health
from handlers import job_scheduler
from handlers.models import BulkOperation, SagaRecord, WorkerProcess
from tests.console.factories import make_job, make_saga

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def nav_of(client: Client, url: str = "/admin/") -> str:
    health.forget()
    return client.get(url).content.decode().partition('class="console-nav"')[2].partition("</nav>")[0]


def mark(nav: str, name: str) -> str:
    """The words beside the entry ``name``."""
    found = re.search(rf'id="mark-{name}"(.*?)</li>', nav, re.DOTALL)
    assert found, nav
    said = re.search(r"\((.*?)\)</span>", found[1])
    return said[1] if said else ""


def icon_of(client: Client) -> str:
    health.forget()
    found = re.search(r'id="favicon"[^>]*href="([^"]+)"', client.get("/admin/").content.decode())
    assert found
    return found[1]


@pytest.fixture(autouse=True)
def _redis_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_scheduler, "transport_trouble", lambda: "")


def live_fleet() -> None:
    for kind in ("worker", "scheduler"):
        WorkerProcess.objects.create(
            name=f"{kind}-1", kind=kind, host="h", pid=1, queues=["default"], started_at=timezone.now(),
            heartbeat_at=timezone.now(),
        )  # fmt: skip


def test_entries_are_in_groups_and_the_present_one_is_marked(superuser: Client) -> None:
    nav = nav_of(superuser, "/admin/queues/")
    titles = re.findall(r'class="nav-title"[^>]*>([^<]+)<', nav)
    assert titles[:3] == ["Capacity", "Rules", "Access"]
    assert re.findall(r'href="([^"]+)" aria-current="page"', nav) == ["/admin/queues/"]
    assert nav.index("/admin/jobs/jobrecord/") < nav.index("Capacity") < nav.index("/admin/workers/")


def test_entries_say_how_much_trouble_they_lead_to(superuser: Client) -> None:
    live_fleet()
    assert not re.search(r'class="mark[^>]*title', nav_of(superuser))
    for _ in range(2):
        make_job("failed")
    job_scheduler.pause_queue("default", by=User.objects.get())
    job_scheduler.pause_type("app.Note", by=User.objects.get())
    make_job("enqueued", queue="lonely")
    now = timezone.now()
    BulkOperation.objects.create(
        verb="retry", selection={}, upper_id=1, count=1, state="paused", created_at=now, username="x", progressed_at=now
    )
    nav = nav_of(superuser)
    assert mark(nav, "failures") == "2 jobs are failed now"
    assert mark(nav, "queues") == "1 without a worker, 1 paused"
    assert mark(nav, "job-types") == "1 paused"
    assert mark(nav, "bulk") == "1 run is paused"
    assert not mark(nav, "workers")


def test_sagas_that_need_somebody_are_counted_each_once(superuser: Client) -> None:
    now = timezone.now()
    make_saga("order_id 1")
    assert not mark(nav_of(superuser), "sagas")
    make_saga("order_id 2", stuck_at=now - timedelta(hours=1))
    assert mark(nav_of(superuser), "sagas") == "1 saga needs somebody"
    make_saga("order_id 3", error="ValueError", failed_at=now, stuck_at=now - timedelta(hours=1))
    make_saga("order_id 4", unreadable="paid must be a bool")
    make_saga("order_id 5", stuck_at=None, completed_at=now)
    assert mark(nav_of(superuser), "sagas") == "3 sagas need somebody"
    for number, state in ((1, "failed"), (1, "failed"), (2, "failed"), (3, "failed"), (5, "failed"), (6, "succeeded")):
        saga = SagaRecord.objects.filter(label=f"order_id {number}").first() or make_saga(f"order_id {number}")
        make_job(state, correlation=saga.correlation)
    make_job("failed", correlation="")
    assert mark(nav_of(superuser), "sagas") == "4 sagas need somebody", "the first one, whose jobs failed"


def test_icon_turns_when_something_fails_and_back_when_it_is_long_ago(superuser: Client) -> None:
    live_fleet()
    assert "icon-failing" not in icon_of(superuser)
    job = make_job("failed")
    assert "icon-failing" in icon_of(superuser)
    type(job).objects.filter(pk=job.pk).update(finished_at=timezone.now() - timedelta(hours=1))
    assert "icon-failing" not in icon_of(superuser)
    WorkerProcess.objects.filter(kind="worker").delete()
    assert "icon-failing" in icon_of(superuser)


def test_who_may_not_see_jobs_is_told_of_no_trouble(client: Client) -> None:
    make_job("failed")
    client.force_login(User.objects.create_user("outsider", is_staff=True))
    nav = nav_of(client)
    assert "/admin/" in nav
    assert "failed" not in nav
    assert "icon-failing" not in icon_of(client)


def test_navigation_is_folded_from_the_start_for_who_folded_it(superuser: Client) -> None:
    assert 'class="nav-switch on-desk" open' in superuser.get("/admin/").content.decode()
    superuser.cookies["console_nav"] = "folded"
    assert 'class="nav-switch on-desk" open' not in superuser.get("/admin/").content.decode()
