"""/metrics: what it says agrees with what happened, who may read it, and what a scrape costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from handlers import folding, job_scheduler, lifecycle, told_hooks
from handlers.exceptions import TransportUnavailable
from handlers.metrics import readiness
from handlers.metrics.families import JobsCollector, families
from handlers.metrics.reading import Reading, Total, Waits
from handlers.metrics.text import text
from handlers.models import HookTrouble, JobCount, JobRecord, LimitKey, LimitSlot, WorkerProcess
from handlers.models.count import BUCKETS, Outcome
from handlers.recovery import Recovery
from handlers.transport import ServerState
from handlers.troubles import Piece, Tally, Went
from tests.app.jobs import Fail, Note
from tests.running import NotingTransport, claim, expire, record, run

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a-token-of-enough-letters"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def _open(settings: Any, noting: NotingTransport) -> None:
    settings.JOBS = settings.JOBS | {"METRICS_TOKEN": TOKEN}


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    readiness.forget()
    yield
    readiness.forget()


def scrape() -> Samples:
    """What /metrics says now: each sample by its name and labels."""
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_counters_agree_with_what_happened() -> None:
    ids = job_scheduler.enqueue_many([Note("a"), Note("b")])
    run(*ids)
    failing = job_scheduler.enqueue(Fail(9, "x"))
    run(failing)
    job_scheduler.delete(failing)
    folding.fold_all()
    found = scrape()
    note, fail = {"queue": "default", "type": "app.Note"}, {"queue": "flaky", "type": "app.Fail"}
    assert value(found, "jobs_created_total", **note) == 2
    assert value(found, "jobs_claims_total", **note) == 2
    assert value(found, "jobs_outcomes_total", **note, outcome="succeeded") == 2
    assert value(found, "jobs_retries_total", **fail) == 1
    assert value(found, "jobs_deleted_total", **fail) == 1
    for name in ("jobs_run_seconds", "jobs_wait_seconds"):
        assert value(found, f"{name}_count", **note) == value(found, f"{name}_bucket", **note, le="+Inf") == 2
        assert value(found, f"{name}_sum", **note) >= 0


def test_counters_outlive_the_counts_of_days() -> None:
    run(job_scheduler.enqueue(Note("a")))
    folding.fold_all()
    JobCount.objects.exclude(period="total").delete()
    run(job_scheduler.enqueue(Note("b")))
    folding.fold_all()
    assert value(scrape(), "jobs_created_total", queue="default", type="app.Note") == 2


def test_what_recovery_did_is_counted(noting: NotingTransport) -> None:
    lost, again = job_scheduler.enqueue_many([Note("a"), Note("b")])
    claim(lost)
    expire(lost)
    lifecycle.expire_leases(max_crashes=3)
    noting.published.clear()
    recovery = Recovery()
    for _ in range(2):
        recovery.find_lost_messages()
        recovery._suspects = dict.fromkeys(recovery._suspects, -1e9)  # as if seen long ago
    folding.fold_all()
    found = scrape()
    assert value(found, "jobs_leases_expired_total", queue="default", type="app.Note") == 1
    assert value(found, "jobs_messages_republished_total", queue="default") == 2
    assert record(again).state == "enqueued"


def test_gauges_say_where_things_stand() -> None:
    job_scheduler.enqueue_many([Note("a")] * 3)
    late = job_scheduler.schedule(Note("b"), timezone.now() + timedelta(hours=1))
    JobRecord.objects.filter(pk=late).update(run_at=timezone.now() - timedelta(seconds=30))
    JobRecord.objects.filter(state="enqueued").update(enqueued_at=timezone.now() - timedelta(seconds=60))
    job_scheduler.pause_queue("flaky")
    job_scheduler.pause_type("app.Note")
    key = LimitKey.objects.create(name="cards", key="")
    LimitSlot.objects.create(job_id=1, key_id=key.pk, token="t", taken_at=timezone.now())
    found = scrape()
    assert value(found, "jobs_queue_depth", queue="default") == 3
    assert 59 < value(found, "jobs_queue_oldest_wait_seconds", queue="default") < 120
    assert value(found, "jobs_queue_depth", queue="flaky") == 0
    assert value(found, "jobs_queue_paused", queue="flaky") == 1
    assert value(found, "jobs_queue_paused", queue="default") == 0
    assert value(found, "jobs_type_paused", type="app.Note") == 1
    assert value(found, "jobs_in_state", state="scheduled") == 1
    assert value(found, "jobs_in_state", state="enqueued") == 3
    assert value(found, "jobs_due") == 1
    assert 29 < value(found, "jobs_late_seconds") < 90
    assert value(found, "jobs_limit_slots_used", limit="cards") == 1
    assert value(found, "jobs_counts_behind_seconds") >= 0
    assert value(found, "jobs_database_up") == value(found, "jobs_redis_up") == 1


def test_processes_tell_of_their_slots() -> None:
    now = timezone.now()
    for number, running in enumerate((1, 3)):
        WorkerProcess.objects.create(
            name=f"w{number}", kind="worker", host="h", pid=number + 1, started_at=now, heartbeat_at=now, threads=4,
            running_sync=running, max_async=100, running_async=10, memory_bytes=1_000,
        )  # fmt: skip
    troubles = [{"what": "queue server", "since": now.isoformat(), "reason": "away"}]
    WorkerProcess.objects.create(
        name="s", kind="scheduler", host="h", pid=9, started_at=now, heartbeat_at=now, lag_seconds=7.5,
        troubles=troubles,
    )  # fmt: skip
    found = scrape()
    assert value(found, "jobs_processes", kind="worker") == 2
    assert value(found, "jobs_processes_memory_bytes", kind="worker") == 2_000
    assert value(found, "jobs_slots", kind="sync", state="used") == 4
    assert value(found, "jobs_slots", kind="sync", state="free") == 4
    assert value(found, "jobs_slots", kind="async", state="free") == 180
    assert value(found, "jobs_scheduler_lag_seconds") == 7.5
    assert value(found, "jobs_scheduler_troubles", duty="queue server") == 1


def test_hooks_that_went_wrong_are_counted_by_their_names() -> None:
    for process in ("w1", "w2"):
        told_hooks.write(process, {Piece("shop.hooks.Tenant", "run"): Tally(3, Went.RAISED, "KeyError")})
    found = scrape()
    of = frozenset({"hook": "run", "name": "shop.hooks.Tenant"}.items())
    assert found["jobs_hook_troubles_total", of] == 6
    last = HookTrouble.objects.get(process="").last_at
    assert found["jobs_hook_trouble_timestamp_seconds", of] == pytest.approx(last.timestamp())


def test_types_beyond_the_cap_are_counted_together_and_keep_so(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"METRICS_SERIES": 2}
    for number in range(5):
        JobCount.objects.create(
            period="total", at="1970-01-01T00:00Z", queue="default", job_type=f"t{number}", outcome="created", count=10
        )
    found = scrape()
    shown = {dict(labels)["type"]: number for (name, labels), number in found.items() if name == "jobs_created_total"}
    assert shown == {"t0": 10, "t1": 10, "other": 30}


def test_no_label_is_an_id() -> None:
    ids = job_scheduler.enqueue_many([Note("a")] * 3, correlation="order-77")
    run(*ids)
    folding.fold_all()
    names = {name for _, labels in scrape() for name, _ in labels}
    assert names <= {"queue", "type", "outcome", "le", "state", "kind", "duty", "limit"}
    assert not any("order-77" in text for _, labels in scrape() for _, text in labels)


def test_scrape_costs_few_queries_however_much_there_is() -> None:
    for number in range(30):
        job_scheduler.enqueue(Note(str(number)))
    folding.fold_all()
    with CaptureQueriesContext(connection) as queries:
        scrape()
    assert len(queries) <= 5


def test_database_that_is_away_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr("handlers.fleet.live_briefly", away)
    found = scrape()
    assert value(found, "jobs_database_up") == 0
    assert value(found, "jobs_redis_up") == 1
    assert not any(name == "jobs_queue_depth" for name, _ in found)


def test_queue_server_that_is_away_is_a_number(noting: NotingTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(queues: Any) -> ServerState:
        raise TransportUnavailable("away")

    monkeypatch.setattr(noting, "measure", away)
    found = scrape()
    assert value(found, "jobs_redis_up") == 0
    assert value(found, "jobs_database_up") == 1


@pytest.mark.redis
def test_real_queue_server_is_measured(redis_server: str) -> None:
    from handlers.rq_transport.messages import RQTransport

    transport = RQTransport()
    job_scheduler.enqueue_many([Note("a")] * 3)
    transport.publish([claimed_message(pk) for pk in JobRecord.objects.values_list("pk", flat=True)])
    found = transport.measure(["default", "flaky"])
    assert found.messages == {"default": 3, "flaky": 0}
    assert found.seconds is not None
    assert found.memory_bytes > 0


def claimed_message(job_id: int) -> Any:
    from tests.running import message

    return message(job_id)


def test_collector_can_join_a_sites_own_registry() -> None:
    registry = CollectorRegistry()
    with CaptureQueriesContext(connection) as queries:
        registry.register(JobsCollector())
    assert not queries
    assert registry.get_sample_value("jobs_database_up") == 1


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": "Bearer tökén"}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
def test_token_is_asked_for(shown: dict[str, str], status: int) -> None:
    answer = Client().get("/metrics", headers=shown)
    assert answer.status_code == status
    if status == 401:
        assert answer["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in answer.content.decode()


def test_without_a_token_nobody_reads_until_a_setting_opens_it(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"METRICS_TOKEN": ""}
    answer = Client().get("/metrics", headers={"Authorization": "Bearer "})
    assert (answer.status_code, b"METRICS_TOKEN" in answer.content) == (403, True)


@pytest.mark.parametrize(
    ("meta", "status"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, 200),
        ({"REMOTE_ADDR": "::1"}, 200),
        ({"REMOTE_ADDR": "::ffff:127.0.0.1"}, 200),
        ({"REMOTE_ADDR": "10.0.0.7"}, 403),
        ({"REMOTE_ADDR": ""}, 403),  # a unix socket, as a proxy uses it
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, 403),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=127.0.0.1"}, 403),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_PROTO": "https"}, 403),
    ],
)
def test_loopback_can_be_let_in_and_no_proxys_visitors(settings: Any, meta: dict[str, str], status: int) -> None:
    settings.JOBS = settings.JOBS | {"METRICS_TOKEN": "", "METRICS_LOOPBACK": True}
    assert Client().get("/metrics", **meta).status_code == status  # type: ignore[arg-type]


def test_probes_need_no_known_host() -> None:
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 401)):
        assert Client().get(path, headers={"Host": "10.1.2.3:8000"}).status_code == status
        assert Client().post(path).status_code in (200, 405)


def test_ready_says_what_is_missing(noting: NotingTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Client().get("/readyz").content == b"ok\n"
    monkeypatch.setattr(noting, "trouble", lambda: "redis://:secret@host is away")
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"redis: it takes no messages\n")
    assert Client().get("/readyz?without=redis").status_code == 200
    monkeypatch.setattr("handlers.execution.database_trouble", lambda: "it does not answer")
    assert b"database: it does not answer" in Client().get("/readyz").content


def test_ready_tells_tables_that_are_not_there_from_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobRecord._meta, "db_table", "jobs_not_made_yet")
    assert b"database: it lacks a table or column of this release: run manage.py migrate" in (
        Client().get("/readyz?without=migrations").content
    )


def test_ready_waits_for_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db.migrations.recorder import MigrationRecorder

    applied = MigrationRecorder.applied_migrations
    newest = max(key for key in applied(MigrationRecorder(connection)) if key[0] == JobRecord._meta.app_label)
    with monkeypatch.context() as patch:
        patch.setattr(
            MigrationRecorder,
            "applied_migrations",
            lambda self: {key: row for key, row in applied(self).items() if key != newest},
        )
        answer = Client().get("/readyz")
        assert answer.status_code == 503
        assert b"migrations:" in answer.content
    assert Client().get("/readyz").status_code == 200


@pytest.mark.parametrize("openmetrics", [False, True])
def test_text_is_that_of_the_library_to_the_byte(*, openmetrics: bool) -> None:
    awkward = 'a "b"\\\nü'
    found = Reading(
        database_seconds=0.25,
        server=ServerState(seconds=0.001, messages={"default": 3, awkward: 10**7}),
        totals=[
            Total(queue, job_type, outcome.value, number, seconds, [number, *[0] * len(BUCKETS)])
            for outcome in Outcome
            for queue, job_type, number, seconds in (("default", awkward, 7, 1e-7), (awkward, "app.Note", 10**9, 1e9))
        ],
        waits={"default": Waits(5, 1.5, more=True)},
        states={"failed": 2},
        paused_types={awkward},
    )
    wanted: list[Metric] = list(families(found))

    class Kept(Collector):
        def collect(self) -> list[Metric]:
            return wanted

    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0" if openmetrics else "")
    assert text(wanted, openmetrics=openmetrics) == encode(Kept())


@pytest.mark.parametrize(
    ("accept", "kind", "end"),
    [
        ("", "text/plain; version=0.0.4", ""),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0", "# EOF"),
        ("text/plain; version=1.0.0; escaping=dots", "text/plain; version=1.0.0", ""),
    ],
)
def test_answer_is_in_the_format_that_is_asked_for(accept: str, kind: str, end: str) -> None:
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.content.decode().rstrip("\n").endswith(end)
    assert ("jobs__in__state" if "dots" in accept else "jobs_in_state") in answer.content.decode()
