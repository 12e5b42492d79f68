"""What processes say about themselves, what is read from it, and paused job types."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers import fleet, job_scheduler, recovery
from handlers.exceptions import InvalidJob
from handlers.models import AuditEntry, JobRecord, KnownTypes, QueueSwitch, TypeSwitch, WorkerProcess
from handlers.models.sql import database_now
from handlers.recovery import PATIENCE_SECONDS, Recovery
from handlers.registry import registry
from tests.app.jobs import AsyncNote, Note
from tests.running import NotingTransport, claim

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = KnownTypes(digest="a-and-b", names={"app.A": "1", "app.B": "2"})


def row(name: str, age: timedelta = timedelta(0), kind: str = "worker", types: str = "") -> WorkerProcess:
    at = database_now(connection) - age
    return WorkerProcess(name=name, kind=kind, host="h", pid=1, types=types, started_at=at, heartbeat_at=at)


def enqueue(count: int) -> list[int]:
    return [int(each) for each in job_scheduler.enqueue_many([Note(str(n)) for n in range(count)])]


# --- heartbeats ---


def test_beat_tells_who_is_asked_to_stop_and_keeps_that() -> None:
    assert fleet.beat([row("a"), row("b")], NAMES).asked == set()
    assert job_scheduler.stop_worker("a", by="ann", reason="why") is True
    assert job_scheduler.stop_worker("a", by="ann") is False
    assert fleet.beat([row("a"), row("b")], NAMES).asked == {"a"}
    fleet.leave(["a"])
    assert [process.name for process in fleet.live_workers()] == ["b"]
    assert fleet.beat([]).asked == set()


def test_beat_of_many_children_costs_no_more_statements_than_that_of_one() -> None:
    rows = [row("a")]
    fleet.beat(rows, NAMES)
    with CaptureQueriesContext(connection) as one:
        fleet.beat(rows, NAMES)
    rows = [row(f"w{n}") for n in range(20)]
    fleet.beat(rows, NAMES)
    with CaptureQueriesContext(connection) as many:
        fleet.beat(rows, NAMES)
    assert len(many) == len(one)
    assert len(fleet.live_workers()) == 21


def test_process_that_went_silent_is_not_live() -> None:
    fleet.beat([row("silent", fleet.LIVE + timedelta(seconds=2)), row("live"), row("s", kind="scheduler")])
    assert [process.name for process in fleet.live_workers()] == ["live"]
    assert [process.name for process in fleet.live_processes()] == ["live", "s"]


def test_tidy_removes_the_long_dead_and_types_that_no_row_names() -> None:
    fleet.beat([row("dead", fleet.LOST + timedelta(minutes=1), types="old"), row("new", types=NAMES.digest)], NAMES)
    KnownTypes.objects.create(digest="old", names=["app.Old"])
    fleet.tidy()
    assert list(WorkerProcess.objects.values_list("name", flat=True)) == ["new"]
    assert list(KnownTypes.objects.values_list("digest", flat=True)) == [NAMES.digest]


def test_unknown_worker_cannot_be_asked_to_stop() -> None:
    fleet.beat([row("s", kind="scheduler")])
    for name in ("", "nobody", "s"):
        with pytest.raises(InvalidJob, match="there is no worker"):
            job_scheduler.stop_worker(name, by="ann")


# --- types that nobody can run ---


def test_unservable_types_are_those_that_no_live_worker_knows() -> None:
    known = fleet.known()
    fleet.beat([row("a", types=known.digest)], known)
    assert fleet.unservable_types() == []
    JobRecord.objects.create(
        state="enqueued", token="t" * 16, job_type="gone.Type", queue="default",
        created_at=timezone.now(), enqueued_at=timezone.now(),
    )  # fmt: skip
    assert fleet.unservable_types() == ["gone.Type"]
    without = KnownTypes(digest="without", names={name: "" for name in known.names if name != "app.Note"})
    fleet.beat([row("b", types="without")], without)
    assert fleet.unservable_types() == ["gone.Type"]  # another worker knows it
    fleet.leave(["a"])
    assert fleet.unservable_types() == ["app.Note", "gone.Type"]


def test_unservable_types_are_all_when_no_worker_lives_or_its_list_is_gone() -> None:
    everything = fleet.unservable_types()
    assert "app.Note" in everything
    fleet.beat([row("a", types="unheard-of")])
    assert fleet.unservable_types() == everything
    assert fleet.unservable_types([]) == everything


# --- paused types ---


def test_paused_type_is_paused_under_its_former_names_too(noting: NotingTransport) -> None:
    note = registry.get("app.Note")
    old = replace(note, aliases=("old.Note",))
    with registry.isolated():
        registry.register(old)
        (job_id,) = enqueue(1)
        JobRecord.objects.filter(pk=job_id).update(job_type="old.Note")  # stored before the type was renamed
        job_scheduler.pause_type("old.Note", by="ann", reason="why")
        assert set(TypeSwitch.objects.values_list("name", flat=True)) == {"app.Note", "old.Note"}
        assert set(job_scheduler.paused_types()) == {"app.Note"}
        assert AuditEntry.objects.get(verb="pause_type").target == "type app.Note"
        assert claim(job_id) == []
        noting.published.clear()
        job_scheduler.resume_type("app.Note", by="ann")
        assert not TypeSwitch.objects.exists()
        assert noting.ids == [[job_id]]
        assert len(claim(job_id)) == 1


def test_pause_of_a_type_refuses_a_naive_time_and_an_unknown_name() -> None:
    with pytest.raises(InvalidJob, match="aware"):
        job_scheduler.pause_type("app.Note", datetime(2030, 1, 1), by="ann")  # noqa: DTZ001 - that is the point
    with pytest.raises(InvalidJob, match="not known"):
        job_scheduler.pause_type("no.Such", by="ann")
    assert not TypeSwitch.objects.exists()
    assert not AuditEntry.objects.exists()


def test_paused_type_is_claimed_again_once_its_time_is_over(noting: NotingTransport) -> None:
    (job_id,) = enqueue(1)
    job_scheduler.pause_type("app.Note", timezone.now() + timedelta(hours=1), by="ann")
    assert claim(job_id) == []
    TypeSwitch.objects.update(until=database_now(connections["default"]) - timedelta(seconds=1))
    assert job_scheduler.paused_types() == {}
    assert len(claim(job_id)) == 1


def test_resumed_type_is_published_at_once_without_a_scheduler(noting: NotingTransport) -> None:
    job_scheduler.pause_type("app.Note", by="ann")
    ids = enqueue(2_500)
    other = int(job_scheduler.enqueue(AsyncNote("b")))
    noting.published.clear()  # workers dropped them
    job_scheduler.resume_type("app.Note", by="ann")
    sent = [job_id for call in noting.ids for job_id in call]
    assert sent == ids
    assert other not in sent
    noting.published.clear()
    job_scheduler.resume_type("app.Note", by="ann")  # it was not paused
    assert noting.published == []


def test_resumed_type_with_very_many_jobs_publishes_the_first_of_them(
    noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    from handlers import switches

    monkeypatch.setattr(switches, "CHUNK", 10)
    monkeypatch.setattr(switches, "CHUNKS", 2)
    job_scheduler.pause_type("app.Note", by="ann")
    ids = enqueue(50)
    noting.published.clear()
    job_scheduler.resume_type("app.Note", by="ann")
    assert noting.ids == [ids[:10], ids[10:20]]


def test_queue_that_nobody_names_any_more_can_be_resumed() -> None:
    QueueSwitch.objects.create(name="gone", paused_at=timezone.now())
    job_scheduler.resume_queue("gone", by="ann")
    assert not QueueSwitch.objects.exists()
    with pytest.raises(InvalidJob, match="not known"):
        job_scheduler.resume_queue("gone", by="ann")


# --- recovery behind paused jobs ---


class Clock:
    """The clock that recovery goes by."""

    now = 10_000.0

    def monotonic(self) -> float:
        return self.now


def test_recovery_finds_a_lost_message_behind_thousands_of_paused_jobs(
    noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, rescue = Clock(), Recovery()
    monkeypatch.setattr(recovery, "time", clock)
    enqueue(5_000)
    other = int(job_scheduler.enqueue(AsyncNote("lost"), queue="default"))
    job_scheduler.pause_type("app.Note", by="ann")
    noting.published.clear()
    assert rescue.find_lost_messages() == 0
    clock.now += PATIENCE_SECONDS
    with CaptureQueriesContext(connection) as found:
        assert rescue.find_lost_messages() == 1
    assert noting.ids == [[other]]
    assert len([each for each in found if "jobs_typeswitch" in each["sql"]]) == 1
    behind = [each["sql"] for each in found if "app.Note" in each["sql"]]
    assert behind
    assert all("j.enqueued_at >= " in sql for sql in behind), "the paused head is not read again"


def test_recovery_finds_what_comes_behind_paused_jobs_that_are_alone(
    noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, rescue = Clock(), Recovery()
    monkeypatch.setattr(recovery, "time", clock)
    paused = enqueue(5)
    job_scheduler.pause_type("app.Note", by="ann")
    assert rescue.find_lost_messages() == 0
    other = int(job_scheduler.enqueue(AsyncNote("lost"), queue="default"))
    noting.published.clear()
    assert rescue.find_lost_messages() == 0
    clock.now += PATIENCE_SECONDS
    assert rescue.find_lost_messages() == 1
    assert noting.ids == [[other]]
    TypeSwitch.objects.all().delete()  # behind the back of resume_type
    assert rescue.find_lost_messages() == 0
    clock.now += PATIENCE_SECONDS
    assert rescue.find_lost_messages() == 5
    assert noting.ids[1] == paused
