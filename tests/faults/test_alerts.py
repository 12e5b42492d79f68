"""An alert to a host that takes the call and never answers: real workers go on with all else meanwhile."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from handlers import job_scheduler
from handlers.alerts import add_rule, send_test
from handlers.alerts.edits import Terms
from handlers.models import AlertRule, JobRecord, WorkerProcess
from tests.app.jobs import Note
from tests.faults.conftest import Start
from tests.faults.records import wait_state
from tests.hearing import listening
from tests.processes import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def rule(name: str, url: str) -> AlertRule:
    return add_rule(Terms(name, "bulk", webhook_url=url))


def test_an_alert_to_a_silent_host_holds_up_no_other_alert_and_no_job(
    start_worker: Start, child_env: dict[str, str], settings: Any
) -> None:
    child_env["TEST_JOBS"] = '{"CALL_PRIVATE_ADDRESSES": true}'
    settings.JOBS = {**settings.JOBS, "CALL_PRIVATE_ADDRESSES": True}
    with socket.create_server(("127.0.0.1", 0)) as server, listening() as hook:
        to_silence = rule("silent", f"http://127.0.0.1:{server.getsockname()[1]}/")
        to_hook = rule("other", hook.address)
        start_worker("--processes", "2")
        wait_for("the worker lives: where none does, whoever asks sends it", WorkerProcess.objects.exists)
        send_test(to_silence.pk, by="anna")
        silent = JobRecord.objects.get(job_type="jobs.SendAlert").pk
        together = [int(job_scheduler.enqueue(Note(f"with it {number}"))) for number in range(5)]
        server.settimeout(60)
        called, _place = server.accept()
        with called:
            after = int(job_scheduler.enqueue(Note("after")))
            send_test(to_hook.pk, by="anna")
            wait_state("succeeded", *together, after)
            wait_for("the other host heard of it", lambda: hook.heard)
            job = JobRecord.objects.get(pk=silent)
            assert (job.state, job.attempt) == ("processing", 1), "it waits for its answer still"
        wait_state("scheduled", silent)  # hung up on, it is tried again
