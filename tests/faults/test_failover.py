"""Sentinel makes the replica the master, under load: nothing is lost, doubled or mixed up, and all processes stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import Notes, broken_trails, wait_state
from tests.processes import wait_for
from tests.sentinels import Watched, watched

# It is Redis that fails, by taking longer to answer than we wait.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.redis,
    pytest.mark.once,
    pytest.mark.usefixtures("usual_times"),
]


@pytest.fixture
def servers(redis_server: str, tmp_path: Path) -> Iterator[Watched]:
    """Master, replica and Sentinel, at which the settings point."""
    with watched(tmp_path) as servers, override_settings(JOBS=settings.JOBS | {"REDIS_URL": servers.url}):
        yield servers


def test_failover_under_load_loses_doubles_and_mixes_up_nothing(
    servers: Watched, start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    ids: list[int] = []

    def enqueue_some() -> int:
        ids.extend(int(i) for i in job_scheduler.enqueue_many([Note(str(len(ids) + n)) for n in range(20)]))
        return len(ids)

    worker, scheduler = start_worker("--processes", "2"), start_scheduler()
    enqueue_some()
    wait_state("succeeded", *ids)
    servers.freeze_master()
    wait_for("the replica is the master", lambda: enqueue_some() and servers.master_port() == servers.second)
    wait_for("this process knows", lambda: enqueue_some() and not job_scheduler.transport_trouble())
    servers.thaw_master()
    enqueue_some()
    servers.demote_first()
    enqueue_some()
    wait_state("succeeded", *ids)
    assert set(JobRecord.objects.values_list("attempt", "failures", "crashes")) == {(1, 0, 0)}
    assert broken_trails(ids) == []
    assert Counter(notes.lines()) == Counter(str(n) for n in range(len(ids)))
    assert (worker.terminate(), scheduler.terminate()) == (0, 0)
    for process in (worker, scheduler):
        assert "Traceback" not in process.log.read_text()
