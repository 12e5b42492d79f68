"""The host's clock is set while jobs run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from handlers import job_scheduler, lifecycle
from handlers.models import JobRecord
from tests.app.jobs import Note, Sleep
from tests.faults.conftest import Start
from tests.faults.records import Notes, record, wait_state
from tests.processes import wait_for
from tests.running import message

LEASE = timedelta(seconds=15.1)
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

if connection.vendor == "sqlite":  # PostgreSQL's clock is its server's; see the tests of recovery

    def test_a_clock_set_forwards_costs_no_job_its_worker_and_makes_due_what_is(
        start_worker: Start, start_scheduler: Start, notes: Notes, child_env: dict[str, str], tmp_path: Path
    ) -> None:
        clock = tmp_path / "clock"
        clock.write_text("0")
        child_env["TEST_CLOCK"] = str(clock)
        later = int(job_scheduler.schedule(Note("later"), timezone.now() + timedelta(minutes=9)))
        start_scheduler()
        dead = int(job_scheduler.enqueue(Note("lost")))
        lifecycle.claim([message(dead)], worker="dead", lease=-LEASE)
        wait_for("the scheduler ends leases", lambda: record(dead).state == "enqueued")
        running = [int(i) for i in job_scheduler.enqueue_many([Sleep(9, str(n)) for n in range(3)])]
        start_worker("--processes", "4")
        notes.wait("start", times=3)
        young = JobRecord.objects.filter(state="processing", lease_expires_at__lt=F("started_at") + LEASE)
        wait_for("their leases were renewed", lambda: not young.exists())  # which is the last time for a while
        clock.write_text("600")
        wait_state("succeeded", *running, later)
        alive = JobRecord.objects.exclude(pk=dead)
        assert set(alive.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
