"""The banners: what is wrong with the whole, said on every page, to those who may know."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.kit import health
from handlers import told_hooks
from handlers.gateway import job_scheduler
from handlers.models import HookTrouble, JobRecord, KnownTypes, QueueSwitch, StrandedJob, TypeSwitch, WorkerProcess
from handlers.registry import registry
from handlers.states import State
from handlers.troubles import Piece, Tally, Went
from tests.console.factories import make_job
from tests.console.reading import as_read

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis takes messages."""
    monkeypatch.setattr(job_scheduler, "transport_trouble", lambda: "")


def process(kind: str, age: float = 0, **fields: object) -> WorkerProcess:
    """A worker that knows every type, or a scheduler, last heard of ``age`` seconds ago."""
    names = [name for job_type in registry.all() for name in (job_type.name, *job_type.aliases)]
    KnownTypes.objects.get_or_create(digest="all", defaults={"names": names})
    at = timezone.now() - timedelta(seconds=age)
    return WorkerProcess.objects.create(
        name=f"{kind}-{age}",
        kind=kind,
        host="h",
        pid=1,
        started_at=at,
        heartbeat_at=at,
        **({"queues": ["default"], "types": "all"} | fields),
    )


def page(client: Client, url: str = "/admin/job-types/") -> str:
    """A page's banners."""
    html = as_read(client.get(url).content.decode())
    return html.partition('id="banners"')[2].partition("</div>")[0]


def test_nothing_is_said_when_all_is_well(viewer: Client) -> None:
    process("worker")
    process("scheduler")
    assert "banner-" not in page(viewer)


def test_missing_processes_are_said_with_what_to_try(viewer: Client) -> None:
    process("worker", age=300)
    said = page(viewer)
    assert "No worker is connected" in said
    assert "manage.py worker" in said
    assert "No scheduler is running" in said
    assert said.count('role="alert"') == 2


def test_redis_away_is_said_with_the_time_of_the_live_data(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    process("worker")
    process("scheduler")
    page(viewer)
    monkeypatch.setattr(job_scheduler, "transport_trouble", lambda: "Redis is full: give it <more> room")
    monkeypatch.setattr(health, "KEPT_SECONDS", 0)
    said = page(viewer)
    assert "Redis is full: give it &lt;more&gt; room." in said
    assert "Live data as of" in said
    assert "Nothing is lost" in said
    assert 'role="alert"' in said


def test_type_that_no_live_worker_knows_is_said(viewer: Client) -> None:
    KnownTypes.objects.create(digest="few", names=["some.Other"])
    process("worker", types="few")
    process("scheduler")
    assert "No live worker can run" in page(viewer)


def test_duty_that_fails_is_said_once_until_it_works_with_its_reason(viewer: Client) -> None:
    process("worker")
    since = timezone.now().replace(hour=3, minute=4, second=5)
    clock = f"{since:%Y-%m-%d} 03:04:05 UTC"
    told = {"what": "counts", "since": since.isoformat(), "reason": "ProgrammingError: permission <b>denied"}
    scheduler = process("scheduler", troubles=[told])
    later = {**told, "since": (since + timedelta(minutes=1)).isoformat()}
    process("scheduler", age=1, troubles=[later, {**told, "what": "queue server"}])
    process("scheduler", age=300, troubles=[{**told, "what": "what a dead one said"}])
    said = page(viewer)
    assert said.count(f"A scheduler has trouble with counts since {clock}: ProgrammingError: permission") == 1
    assert "trouble with queue server" in said
    assert "dead one" not in said
    assert "<b>" not in said
    shown = viewer.get("/admin/workers/").content.decode()
    assert shown.count("Trouble with counts since") == 2
    WorkerProcess.objects.filter(kind="scheduler").exclude(pk=scheduler.pk).delete()
    WorkerProcess.objects.filter(pk=scheduler.pk).update(troubles=[])
    health.forget()
    assert "banner-" not in page(viewer)


def test_hook_that_went_wrong_is_said_for_an_hour_and_on_the_worker_it_went_wrong_in(viewer: Client) -> None:
    worker = process("worker")
    process("scheduler")
    taken = {Piece("shop.hooks.Tenant", "run"): Tally(12, Went.RAISED, "KeyError: <b>4711 (hooks.py, line 3)")}
    told_hooks.write(worker.name, taken)
    said = page(viewer)
    assert "Middleware shop.hooks.Tenant (run) went wrong 12 times, for the last time at" in said
    assert "raised KeyError: &lt;b&gt;4711 (hooks.py, line 3)" in said
    assert "/admin/workers/#hooks" in said
    shown = as_read(viewer.get("/admin/workers/").content.decode())
    assert "Middleware shop.hooks.Tenant (run) went wrong here 12 times" in shown
    assert "Hooks that went wrong" in shown
    HookTrouble.objects.update(last_at=timezone.now() - timedelta(hours=2))
    health.forget()
    assert "banner-" not in page(viewer)
    assert "Hooks that went wrong" in viewer.get("/admin/workers/").content.decode(), "there it stays"


def test_many_hooks_that_went_wrong_are_said_in_one_sentence(viewer: Client) -> None:
    process("worker")
    process("scheduler")
    told_hooks.write("", {Piece(f"shop.hooks.{name}", "jobs_moved"): Tally(1, Went.RAISED, "") for name in "abcdefgh"})
    said = page(viewer)
    assert said.count("Middleware or receivers go wrong: ") == 1
    assert "Receiver shop.hooks" not in said


def test_dead_process_is_dead_though_the_clock_was_set_back(viewer: Client) -> None:
    process("worker")
    process("scheduler", age=-3600)
    assert "No scheduler is running" in page(viewer)
    assert viewer.get("/admin/workers/").content.decode().count(">Lost<") == 1


def test_paused_queue_and_type_are_said_until_resumed(viewer: Client) -> None:
    process("worker")
    process("scheduler")
    now = timezone.now()
    QueueSwitch.objects.create(name="mail", paused_at=now)
    for number in range(7):
        TypeSwitch.objects.create(name=f"app.<b>{number}", paused_at=now)
    said = page(viewer)
    assert "Queue mail is paused" in said
    assert "and 2 more are paused" in said
    assert "<b>" not in said
    QueueSwitch.objects.all().delete()
    assert "Queue mail" not in page(viewer)


def test_banners_are_for_those_who_may_see_jobs(nobody: Client) -> None:
    assert "banner-" not in page(nobody, "/admin/")


def test_banners_of_a_second_page_read_only_the_switches(superuser: Client) -> None:
    page(superuser)
    with CaptureQueriesContext(connection) as found:
        page(superuser, "/admin/auth/group/")
    assert not [query["sql"] for query in found if WorkerProcess._meta.db_table in query["sql"]]


def test_log_in_page_has_no_banner(client: Client, db: None) -> None:
    assert "banner" not in page(client, "/admin/login/")


def test_banners_cost_six_queries_at_most_and_then_one(viewer: Client, rf: RequestFactory) -> None:
    process("worker")
    process("scheduler")
    asked = rf.get("/")
    asked.user = User(is_superuser=True)
    with CaptureQueriesContext(connection) as cold:
        health.banners(asked)
    assert len(cold) <= 6, [query["sql"][:80] for query in cold]
    again = rf.get("/")
    again.user = asked.user
    with CaptureQueriesContext(connection) as warm:
        health.banners(again)
    assert len(warm) == 1


@pytest.mark.parametrize("url", ["/admin/", "/admin/queues/"])
def test_page_that_shows_queues_looks_at_them_once_for_its_banners_too(viewer: Client, url: str) -> None:
    process("worker")
    process("scheduler")
    page(viewer)  # which found that nobody waits in vain
    for queue in ("mail", "default"):  # the worker serves the second one
        make_job(State.ENQUEUED, queue=queue)
    with CaptureQueriesContext(connection) as found:
        said = page(viewer, url)
    assert "No live worker serves queue mail" in said
    assert len([query["sql"] for query in found if "few(name, number, since)" in query["sql"]]) == 1


def test_pause_that_is_over_is_not_said(viewer: Client) -> None:
    process("worker")
    process("scheduler")
    now = timezone.now()
    QueueSwitch.objects.create(name="mail", paused_at=now, until=now - timedelta(seconds=5))
    TypeSwitch.objects.create(name="app.A", paused_at=now, until=now + timedelta(hours=1), by="ann", reason="why")
    said = page(viewer)
    assert "Queue mail" not in said
    assert "Job type app.A is paused" in said


def test_queue_whose_jobs_wait_for_nobody_is_said_with_since_when_and_where_to_go(viewer: Client) -> None:
    process("worker", queues=["default"])
    process("scheduler")
    for minutes in (30, 9):
        make_job(State.ENQUEUED, queue="gone-queue", age=timedelta(minutes=minutes))
    make_job(State.ENQUEUED)
    make_job(State.ENQUEUED, job_type="jobs.RunBulk", queue="system")
    since = timezone.now() - timedelta(minutes=30)
    said = page(viewer)
    assert "No live worker serves queue gone-queue, which the code no longer names: 2 jobs wait there" in said
    assert f"the first since {since:%Y-%m-%d %H:}" in said
    assert "python manage.py worker --queues gone-queue" in said
    assert 'href="/admin/queues/#queue-gone-queue"' in said
    assert 'href="/admin/jobs/jobrecord/?queue=gone-queue&amp;state=enqueued"' in said
    assert said.count('role="alert"') == 1
    process("worker", age=1, queues=["gone-queue"])
    health.forget()
    assert "gone-queue" not in page(viewer)


def test_several_queues_that_nobody_serves_are_one_sentence(viewer: Client) -> None:
    process("worker", queues=["default"])
    process("scheduler")
    for number in range(7):
        make_job(State.ENQUEUED, queue=f"gone-{number}")
    said = page(viewer)
    assert said.count('role="alert"') == 1
    assert "and 2 more: their jobs wait, the first since" in said
    assert said.count("#queue-gone-") == 5


def test_queue_that_nobody_serves_and_where_nothing_waits_is_no_news(viewer: Client) -> None:
    process("worker", queues=["default"])
    process("scheduler")
    make_job(State.SCHEDULED, queue="gone-queue")
    make_job(State.FAILED, queue="gone-queue")
    assert "banner-" not in page(viewer)


def test_without_any_worker_one_sentence_says_all(viewer: Client) -> None:
    process("scheduler")
    make_job(State.ENQUEUED, queue="gone-queue")
    said = page(viewer)
    assert "No worker is connected" in said
    assert "gone-queue" not in said


@pytest.mark.parametrize(
    ("exception", "words"),
    [
        ("handlers.exceptions.NoHandler", "for a worker that has a handler for its type"),
        ("handlers.exceptions.InvalidJob", "for a worker whose code reads arguments of another release"),
    ],
)
def test_jobs_that_no_worker_could_run_are_said_with_how_many_and_since_when(
    viewer: Client, exception: str, words: str
) -> None:
    KnownTypes.objects.create(digest="few", names=[job_type.name for job_type in registry.all()])
    process("worker", types="few")
    process("scheduler")
    since = timezone.now() - timedelta(minutes=30)
    jobs = [make_job(State.ENQUEUED, job_type="shop.<b>Gone") for _ in range(3)]
    for job in jobs:
        StrandedJob.objects.create(
            job_id=job.pk, token=job.token, job_type=job.job_type, queue="default", since=since, refused_by="few",
            exception=exception, reason="x",
        )  # fmt: skip
    said = page(viewer)
    assert f"3 jobs of type shop.&lt;b&gt;Gone wait {words}, the first since {since:%Y-%m-%d %H:%M} UTC." in said
    assert "What waits for 4 h fails" in said
    assert 'href="/admin/jobs/jobrecord/?type=shop.%3Cb%3EGone&amp;state=enqueued"' in said
    assert "No live worker can run" not in said
    JobRecord.objects.filter(pk__in=[job.pk for job in jobs]).update(state=State.DELETED)
    health.forget()
    assert "banner-" not in page(viewer)
