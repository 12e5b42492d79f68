"""Each failure is one line on the logger ``handlers.jobs`` once it is recorded, and no line tells a secret."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import override_settings

from handlers import execution, job_scheduler, lifecycle, recovery, stranded
from handlers.logs import JobLogHandler
from handlers.models import AttemptError, AttemptLog, JobPayload, JobRecord
from tests.app.jobs import Card, Crash, Fail, Hostile, Note, Pay, Vanish
from tests.running import WORKER, claim, expire, facts, perform, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

FINAL = "job %d (%s) failed for good with attempt %d: %s"
RETRIED = "job %d (%s): attempt %d failed, next one in %.1f s: %s"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """What the logger was told since this was called last."""
    caplog.set_level(logging.INFO, logger="handlers.jobs")

    def lines() -> list[Any]:
        found = [entry for entry in caplog.records if entry.name == "handlers.jobs"]
        caplog.clear()
        return found

    return lines


def test_log_of_a_retry_and_of_the_final_failure(lines: Any) -> None:
    job_id = job_scheduler.enqueue(Fail(9, "k"), correlation="order-7")
    for attempt in (1, 2):
        run(job_id)
        (line,) = lines()
        assert (line.levelname, line.msg) == ("INFO", RETRIED)
        assert (line.attempt, line.retry_in_seconds) == (attempt, 0.2)
        job_scheduler_due(job_id)
    run(job_id)
    (line,) = lines()
    assert (line.levelname, line.msg) == ("ERROR", FINAL)
    assert (
        line.getMessage() == f"job {job_id} (app.Fail) failed for good with attempt 3: ValueError: attempt 3 of k fails"
    )
    assert (line.job_id, line.job_type, line.queue, line.attempt) == (job_id, "app.Fail", "flaky", 3)
    assert (line.exception, line.error) == ("ValueError", "ValueError: attempt 3 of k fails")
    assert line.correlation == "order-7"
    assert (line.fingerprint,) == facts(job_id, "fingerprint")
    assert line.traceback == AttemptError.objects.filter(job=job_id).latest("pk").traceback
    assert line.exc_info is None


def job_scheduler_due(job_id: int) -> None:
    """Run the scheduled job now, without a new round."""
    JobRecord.objects.filter(pk=job_id).update(run_at=JobRecord.objects.get(pk=job_id).created_at)
    lifecycle.promote_due()


def test_log_of_a_failure_that_deletes_its_job_is_final(lines: Any) -> None:
    job_id = job_scheduler.enqueue(Vanish())
    run(job_id)
    assert [(line.levelname, line.job_id) for line in lines()] == [("ERROR", job_id)]


@pytest.mark.parametrize("how", ["giveup", "exit", "str", "nul", "surrogate"])
def test_log_of_hostile_endings(lines: Any, how: str) -> None:
    run(job_scheduler.enqueue(Hostile(how)))
    (line,) = lines()
    assert line.levelname == "ERROR"
    assert line.getMessage().isprintable()


def test_log_of_a_type_that_nobody_handles(lines: Any) -> None:
    job_id = job_scheduler.enqueue(Note("a"), correlation="c")
    JobRecord.objects.filter(pk=job_id).update(job_type="gone.Type")
    run(job_id)
    assert lines() == [], "it waits for a worker that knows it"
    stranded.look_after(hours=-1)
    (line,) = lines()
    assert (line.levelname, line.job_type, line.exception) == ("ERROR", "gone.Type", "handlers.exceptions.NoHandler")
    assert (line.attempt, line.queue, line.correlation) == (0, "default", "c")


def test_log_of_arguments_that_no_longer_fit(lines: Any) -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    JobPayload.objects.filter(job=job_id).update(data={"text": {"not": "text"}})
    run(job_id)
    (line,) = lines()
    assert (line.levelname, line.exception) == ("ERROR", "handlers.exceptions.InvalidJob")


def test_log_of_what_recovery_decides(lines: Any) -> None:
    with override_settings(JOBS={"MAX_CRASHES": 1}):
        job_id = job_scheduler.enqueue(Crash(), correlation="c")
        claim(job_id)
        expire(job_id)
        recovery.bring_back()
    (line,) = [line for line in lines() if line.job_id == job_id]
    assert (line.levelname, line.exception, line.job_type) == ("ERROR", "handlers.WorkerLost", "app.Crash")
    assert (line.queue, line.attempt, line.correlation) == ("default", 1, "c")


def test_log_of_what_a_supervisor_decides(lines: Any) -> None:
    job_id = job_scheduler.enqueue(Note("a"), correlation="c")
    claim(job_id)
    (held,) = lifecycle.claims_of(WORKER)
    execution.settle([execution.failed(held, execution.timed_out(held), worker=WORKER, seconds=9)], worker="s")
    (line,) = lines()
    assert (line.job_id, line.attempt, line.correlation) == (job_id, 1, "c")
    assert line.exception == "handlers.exceptions.JobTimeout"


def test_log_of_several_in_a_batch(lines: Any) -> None:
    ids = [job_scheduler.enqueue(job) for job in (Vanish(), Note("fine"), Vanish(), Fail(1))]
    run(*ids)
    assert [(line.job_id, line.levelname) for line in lines()] == [
        (ids[0], "ERROR"),
        (ids[2], "ERROR"),
        (ids[3], "INFO"),
    ]


def test_log_has_nothing_of_a_settlement_that_came_too_late(lines: Any) -> None:
    job_id = job_scheduler.enqueue(Vanish())
    (claimed,) = claim(job_id)
    move = perform(claimed)
    assert move is not None
    expire(job_id)
    recovery.bring_back()
    assert execution.settle([move], worker=WORKER) == set()
    assert lines() == []


def test_log_has_nothing_of_success_and_deletion(lines: Any) -> None:
    run(job_scheduler.enqueue(Note("a")))
    job_scheduler.delete(job_scheduler.enqueue(Note("b")))
    assert lines() == []


def test_log_tells_no_secret(lines: Any) -> None:
    run(job_scheduler.enqueue(Pay(7, "sesame-open", Card("4111-1111", "Ada"), [271828], note="open")))
    (line,) = lines()
    told = repr(vars(line)) + line.getMessage()
    for secret in ("sesame-open", "4111-1111", "271828"):
        assert secret not in told
    assert "order 7: cannot pay with ••••••" in line.getMessage()


def test_line_is_not_among_what_the_job_logged(lines: Any) -> None:
    job_id = job_scheduler.enqueue(Vanish())
    run(job_id)
    assert lines()
    assert not AttemptLog.objects.exists()
    assert not any(isinstance(handler, JobLogHandler) for handler in logging.root.handlers)


def test_log_that_raises_costs_no_outcome(lines: Any) -> None:
    def refuse(_: logging.LogRecord) -> bool:
        raise RuntimeError("a bug in an app's filter")

    logger = logging.getLogger("handlers.jobs")
    logger.addFilter(refuse)
    try:
        ids = [job_scheduler.enqueue(Vanish()) for _ in range(2)]
        assert run(*ids) == set(ids)
    finally:
        logger.removeFilter(refuse)
