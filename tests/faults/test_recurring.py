"""Recurring jobs under several schedulers, one of which is killed: each occurrence is fired once, none is left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import JobRecord, Occurrence, RecurringJob, WorkerProcess
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import Notes
from tests.hearing import Listener, listening
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

SECOND = timedelta(seconds=1)


@pytest.fixture
def switch() -> Iterator[Listener]:
    """A dead man's switch."""
    with listening() as server:
        yield server


def fired() -> int:
    return int(RecurringJob.objects.aggregate(count=Sum("fired"))["count"])


def test_each_is_fired_once_by_several_schedulers_of_which_one_is_killed(start_scheduler: Start) -> None:
    names = [f"n{n}" for n in range(60)]
    for name in names:
        job_scheduler.add_or_update_recurring(name, Note(name), every=SECOND, misfire="each")
    killed, *others = start_scheduler(), start_scheduler(), start_scheduler()
    pids = {killed.pid, *(other.pid for other in others)}
    wait_for("all three are there", lambda: {*WorkerProcess.objects.values_list("pid", flat=True)} >= pids)
    before = fired()
    wait_for("some are fired", lambda: fired() >= before + 60)
    killed.kill_all()
    before = fired()
    wait_for("both others go on", lambda: fired() >= before + 120)
    assert [other.terminate() for other in others] == [0, 0]
    for recurring in RecurringJob.objects.filter(name__in=names):  # the shop has some, too
        dues = list(recurring.occurrences.order_by("due_at").values_list("due_at", flat=True))
        assert dues == [dues[0] + n * SECOND for n in range(len(dues))]
        assert recurring.due_at == dues[-1] + SECOND
        assert (recurring.fired, recurring.skipped) == (len(dues), 0)
    made = Occurrence.objects.values_list("job_id", flat=True)
    assert len(set(made)) == len(made) == fired() == JobRecord.objects.count()
    assert set(made) == set(JobRecord.objects.values_list("pk", flat=True))


def test_schedulers_whose_clocks_differ_fire_each_once_and_nothing_again_when_one_is_set_back(
    start_scheduler: Start, child_env: dict[str, str], tmp_path: Path
) -> None:
    clocks = {"ahead": (90, -30), "behind": (-30, 120)}  # seconds: at first, and then
    for name, (seconds, _) in clocks.items():
        (tmp_path / name).write_text(f"{seconds}")
        child_env["TEST_CLOCK"] = str(tmp_path / name)
        start_scheduler()
    names = ["a", "b"]
    for name in names:
        job_scheduler.add_or_update_recurring(name, Note(name), every=SECOND, misfire="each", catch_up=10_000)
    ours = RecurringJob.objects.filter(name__in=names)
    # By the database's clock. SQLite has none, so there what is ahead fires what is to come; and then the other one.
    leap = 80 if connection.vendor == "sqlite" else 0

    def fired_each(count: int) -> bool:
        return not ours.filter(fired__lt=count).exists()

    wait_for("both have been fired", lambda: fired_each(leap + 3))
    for name, (_, seconds) in clocks.items():
        (tmp_path / f"{name}.new").write_text(f"{seconds}")
        (tmp_path / f"{name}.new").replace(tmp_path / name)
    least = min(ours.values_list("fired", flat=True)) + 3 + leap // 4
    wait_for("it goes on", lambda: fired_each(least))
    for recurring in ours:
        dues = list(recurring.occurrences.order_by("due_at").values_list("due_at", flat=True))
        assert dues == [dues[0] + n * SECOND for n in range(len(dues))]
        if connection.vendor == "postgresql":
            assert dues[-1] <= timezone.now(), "nothing is fired early"
    made = Occurrence.objects.values_list("job_id", flat=True)
    assert len(set(made)) == len(made) == JobRecord.objects.count()


@pytest.fixture
def _inside(child_env: dict[str, str], settings: LazySettings) -> None:
    """The switch is on this machine."""
    child_env["JOBSITE_CALL_PRIVATE_ADDRESSES"] = "1"
    settings.JOBS = settings.JOBS | {"CALL_PRIVATE_ADDRESSES": True}


@pytest.mark.usefixtures("_inside")
def test_a_job_that_recurs_runs_and_its_success_is_told(
    start_scheduler: Start, start_worker: Start, notes: Notes, switch: Listener
) -> None:
    worker, scheduler = start_worker("--processes", "1"), start_scheduler()
    job_scheduler.add_or_update_recurring("it", Note("it"), every=SECOND, overlap="queue", heartbeat_url=switch.address)
    notes.wait("it", times=2)
    wait_for("two heartbeats", lambda: len(switch.heard) >= 2)
    assert {each.path for each in switch.heard} == {"/key/secret"}
    told = JobRecord.objects.filter(job_type="jobs.SendHeartbeat")
    assert "secret" not in str(list(told.values_list("arguments__data", flat=True)))
    assert (worker.terminate(), scheduler.terminate()) == (0, 0)
