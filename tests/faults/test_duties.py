"""A scheduler whose one duty fails does the others, and says which it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from handlers import job_scheduler
from handlers.models import WorkerProcess
from handlers.models.sql import is_postgresql
from tests.app.jobs import Sleep
from tests.faults.conftest import Start
from tests.faults.outages import ROLE, guest_url, say
from tests.faults.records import Notes, record
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]
DELTAS = "jobs_jobcountdelta"


@contextmanager
def counts_cannot_be_folded() -> Iterator[tuple[str, str, Callable[[], None]]]:
    """The URL of a database in which that is so, what is said of it, and how to mend it."""
    with guest_url() as url:
        if is_postgresql(connection):
            say(f"REVOKE DELETE ON {DELTAS} FROM {ROLE}")
            reason = f"ProgrammingError: permission denied for table {DELTAS}"
            yield url, reason, lambda: say(f"GRANT DELETE ON {DELTAS} TO {ROLE}")
            return
        say(f"CREATE TRIGGER no_counts BEFORE DELETE ON {DELTAS} BEGIN SELECT RAISE(ABORT, 'no counts today'); END")
        mend = "DROP TRIGGER IF EXISTS no_counts"
        try:
            yield url, "IntegrityError: the scheduler's log says more", lambda: say(mend)
        finally:
            say(mend)


def troubles() -> list[dict[str, Any]] | None:
    """What the scheduler's row says."""
    return WorkerProcess.objects.values_list("troubles", flat=True).filter(kind="scheduler").first()


def test_a_lost_workers_job_runs_again_and_the_row_tells_while_a_duty_fails(
    start_worker: Start, start_scheduler: Start, notes: Notes, child_env: dict[str, str]
) -> None:
    child_env["TEST_JOBS"] = '{"LEASE_SECONDS": 4}'
    here = child_env["DATABASE_URL"]
    job = int(job_scheduler.enqueue(Sleep(25, "it")))
    worker = start_worker("--processes", "1")
    notes.wait("start it")
    with counts_cannot_be_folded() as (there, reason, mend):
        child_env["DATABASE_URL"] = there
        scheduler = start_scheduler()
        wait_for("the row says so", troubles)
        [trouble] = troubles() or []
        assert (trouble["what"], trouble["reason"]) == ("counts", reason)
        worker.kill_all()
        child_env["DATABASE_URL"] = here
        start_worker("--processes", "1")
        notes.wait("start it", times=2)
        assert [each["since"] for each in troubles() or []] == [trouble["since"]]
        row = record(job)
        assert (row.state, row.attempt, row.crashes) == ("processing", 2, 1)
        mend()
        wait_for("the row says that it works", lambda: troubles() == [])
        assert scheduler.terminate() == 0
