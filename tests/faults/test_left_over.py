"""A queue that the code no longer names: real workers and schedulers serve it while it holds jobs, and say so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from redis import Redis

from handlers import job_scheduler, lifecycle
from handlers.lifecycle import NewJob
from handlers.models import JobRecord, WorkerProcess
from handlers.rq_transport.names import queue_key
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.outages import away, guest_url
from tests.faults.records import Notes, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

OLD = "gone-queue"


def left_behind(text: str, **when: object) -> int:
    """A job of a release that still named the queue; its message is lost."""
    (made,) = lifecycle.create([NewJob("app.Note", b'{"text": "%s"}' % text.encode(), OLD, **when)])  # type: ignore[arg-type]
    return made.job_id


@pytest.mark.parametrize("args", [("--queues", OLD), ("--queues", f"mail,{OLD}"), ()])
def test_worker_serves_a_queue_that_still_holds_jobs_and_warns(
    args: tuple[str, ...], start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    ids = [left_behind("now"), left_behind("later", run_at=timezone.now() + timedelta(seconds=2))]
    worker = start_worker(*args)
    start_scheduler()
    wait_state("succeeded", *ids)
    assert sorted(notes.lines()) == ["later", "now"]
    assert worker.log.read_text().count(f"the code no longer names queue {OLD}") == 1
    assert all(OLD in row.queues for row in WorkerProcess.objects.filter(kind="worker"))


def test_worker_refuses_a_queue_that_holds_no_jobs_and_names_those_there_are(start_worker: Start) -> None:
    worker = start_worker("--queues", f"mail,{OLD}")
    assert worker.ended() == 1
    said = worker.log.read_text()
    assert f"CommandError: --queues: unknown {OLD}, which holds no jobs either; known are " in said
    assert "default" in said
    assert "Traceback" not in said


def test_moved_job_runs_on_its_new_queue_and_its_old_message_is_void(
    start_worker: Start, notes: Notes, redis: Redis
) -> None:
    ids = [int(job_id) for job_id in job_scheduler.enqueue_many([Note(str(n)) for n in range(20)], queue="flaky")]
    assert job_scheduler.move_many(ids, "mail") == 20
    assert redis.llen(queue_key("flaky")) == 20, "a list is not searched for what is void"
    start_worker("--queues", "flaky,mail", "--burst")
    wait_state("succeeded", *ids)
    wait_for("the void messages are gone", lambda: not redis.llen(queue_key("flaky")))
    assert sorted(notes.lines(), key=int) == [str(n) for n in range(20)]
    assert set(JobRecord.objects.values_list("attempt", "queue")) == {(1, "mail")}


@pytest.mark.postgresql
def test_worker_that_cannot_ask_what_the_queue_holds_waits_until_it_can(
    start_worker: Start, start_scheduler: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    job_id = left_behind("now")
    with guest_url() as child_env["DATABASE_URL"]:
        with away():
            worker = start_worker("--queues", OLD)
            said = worker.log.read_text
            wait_for("it waits", lambda: "waiting for the database (DATABASE_URL): it does not answer" in said())
        scheduler = start_scheduler()
        wait_state("succeeded", job_id)
        assert f"the code no longer names queue {OLD}" in said()
        assert worker.terminate() == scheduler.terminate() == 0
    assert notes.lines() == ["now"]
