"""``manage.py jobs signal``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from handlers import Job, Run, WaitFor, handles, job_scheduler
from handlers.models import AuditEntry
from handlers.registry import registry
from tests.integration.test_command_line import Ran
from tests.running import record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


@dataclass(frozen=True)
class Ask(Job):
    """Waits for an answer."""


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with registry.isolated():
        yield


def test_a_job_that_waits_is_answered() -> None:
    @handles(Ask)
    def ask(job: Ask, run: Run) -> Any:
        if "approval" not in run.signals:
            raise WaitFor("approval")
        return run.signals["approval"]

    job_id = int(job_scheduler.enqueue(Ask()))
    run(job_id)
    assert "waits_for" in Ran("show", str(job_id)).out
    assert "is no JSON" in Ran("signal", str(job_id), "approval", "--data", "{").error
    assert "waits for 'approval', not for 'other'" in Ran("signal", str(job_id), "other").error
    assert record(job_id).state == "waiting"
    done = Ran("signal", str(job_id), "approval", "--data", '{"approved": true}', "--reason", "they called")
    assert (done.code, done.out.strip()) == (0, f"job {job_id} has got approval")
    run(job_id)
    assert record(job_id).result == {"approved": True}
    assert AuditEntry.objects.get(verb="signal").reason == "they called"
    assert Ran("signal", "999999", "approval").code == 1
