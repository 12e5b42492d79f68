"""What a handler logs, and which jobs it enqueues, is recorded with its job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from handlers import EnqueueJobCommand, InvalidJob, job_scheduler, lifecycle
from handlers.job_types import JobType
from handlers.models import AttemptLog, JobPayload
from handlers.states import State
from tests.app.jobs import Announce, Note
from tests.running import claim, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let the handler of Note do something else."""

    def use(function: Callable[[], object]) -> None:
        monkeypatch.setattr(JobType, "run", lambda self, payload, token, run: function())

    return use


def test_log_lines_are_recorded_with_the_attempt(handle) -> None:  # type: ignore[no-untyped-def]
    handle(lambda: logging.getLogger("shop").warning("low stock of %s", "tea"))
    job_id = job_scheduler.enqueue(Note("x"))
    run(job_id)
    log = AttemptLog.objects.get(job_id=job_id)
    assert log.attempt == 1
    assert log.lines[0][1:] == ["WARNING", "shop", "low stock of tea"]


def test_job_that_logs_nothing_has_no_row() -> None:
    run(job_scheduler.enqueue(Note("x")))
    assert not AttemptLog.objects.exists()


def test_log_lines_age_out_with_their_job(handle) -> None:  # type: ignore[no-untyped-def]
    handle(lambda: logging.getLogger("shop").warning("low"))
    run(job_scheduler.enqueue(Note("x")))
    assert lifecycle.age_out(State.SUCCEEDED, before=timezone.now() + timedelta(days=1)) == 1
    assert not AttemptLog.objects.exists()


def test_child_has_its_parent_and_a_correlation_that_its_own_child_inherits(handle) -> None:  # type: ignore[no-untyped-def]
    handle(lambda: job_scheduler.enqueue(Note("child")))
    first = job_scheduler.enqueue(Note("x"))
    run(first)
    child = JobPayload.objects.get(parent_id=first)
    assert child.correlation == str(first)
    run(child.pk)
    assert JobPayload.objects.get(parent_id=child.pk).correlation == str(first)


def test_async_handler_and_command_bus_inherit_the_correlation_and_log() -> None:
    first = job_scheduler.enqueue(Announce("ann"), correlation="order-7")
    run(first)
    child = JobPayload.objects.get(parent_id=first)
    assert (child.job_type, child.correlation) == ("app.Greet", "order-7")
    assert AttemptLog.objects.get(job_id=first).lines[0][1:] == ["WARNING", "shop", "announcing ann"]


def test_enqueue_command_that_is_a_job_itself_is_the_parent_of_what_it_enqueues() -> None:
    first = job_scheduler.enqueue(EnqueueJobCommand(Note("x")))
    run(first)
    child = JobPayload.objects.get(parent_id=first)
    assert (child.job_type, child.correlation) == ("app.Note", str(first))


def test_job_enqueued_after_a_job_ran_has_no_parent() -> None:
    run(job_scheduler.enqueue(Note("x")))
    assert JobPayload.objects.get(pk=job_scheduler.enqueue(Note("y"))).parent_id is None


def test_correlation_given_is_kept_and_inherited(handle) -> None:  # type: ignore[no-untyped-def]
    handle(lambda: job_scheduler.enqueue(Note("child")))
    first = job_scheduler.enqueue(Note("x"), correlation="order-7")
    assert claim(first)[0].correlation == "order-7"


@pytest.mark.parametrize("wrong", ["", "x" * 65, "a\nb", "\x00", 7])
def test_correlation_that_cannot_be_one_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidJob, match="correlation"):
        job_scheduler.enqueue(Note("x"), correlation=wrong)  # type: ignore[arg-type]
    assert not JobPayload.objects.exists()
