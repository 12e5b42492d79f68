"""The tools that apps test their jobs with."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone
from freezegun import freeze_time

from handlers import (
    CancellationToken,
    FixedBackoff,
    Job,
    JobCancelled,
    Limit,
    RetryPolicy,
    Sensitive,
    handles,
    job_scheduler,
)
from handlers.models import JobRecord
from handlers.registry import registry
from handlers.testing import (
    JobsTestMixin,
    assert_enqueued,
    assert_not_enqueued,
    at_time,
    captured_jobs,
    fail_next,
    run_due_jobs,
    running_worker,
    token,
)
from tests.app.jobs import Fail, Nothing

HOUR, MOMENT = timedelta(hours=1), timedelta(milliseconds=50)
IMPATIENT = {"QUEUES": ["default"], "TIMEOUT_GRACE_SECONDS": MOMENT.total_seconds()}
USERS = get_user_model()._default_manager
seen: list[str] = []


@dataclass(frozen=True)
class Say(Job):
    """Say something."""

    text: str
    secret: Annotated[str, Sensitive()] = ""


@dataclass(frozen=True)
class Chain(Job):
    """Enqueue another one, until there are no more."""

    left: int


@dataclass(frozen=True)
class Do(Job):
    """Do something to the database."""

    what: str


@dataclass(frozen=True)
class Rated(Job):
    """Two in a minute."""

    n: int


@dataclass(frozen=True)
class Overrun(Job):
    """Take longer than it may."""

    how: str


@dataclass(frozen=True)
class Flaky(Job):
    """Is tried again an hour later."""

    texts: list[str] = field(default_factory=list)


def say(job: Say, token: CancellationToken) -> str:
    seen.append(job.text)
    return job.text


def chain(job: Chain) -> None:
    seen.append(f"chain {job.left}")
    with transaction.atomic():
        transaction.on_commit(lambda: seen.append(f"committed {job.left}"))
        if job.left:
            job_scheduler.enqueue(Chain(job.left - 1))
    seen.append(f"end {job.left}")


def do(job: Do) -> None:
    match job.what:
        case "keeps what it did before it failed":
            USERS.create(username="before")
            raise ValueError(job.what)
        case "goes on after an error of the database":
            USERS.create(username="one")
            with pytest.raises(IntegrityError):
                USERS.create(username="one")
            USERS.create(username="two")
        case "fails with an error of the database":
            USERS.create(username="one")
            USERS.create(username="one")
        case "rolls its own block back":
            with pytest.raises(IntegrityError):
                USERS.bulk_create([USERS.model(username="a"), USERS.model(username="a")])
            with suppress(ValueError), transaction.atomic(savepoint=False):
                USERS.create(username="lost")
                transaction.on_commit(lambda: seen.append("lost"))
                raise ValueError("no")
            USERS.create(username="kept")
        case "leaves a block open":
            transaction.atomic().__enter__()
            USERS.create(username="lost")
        case "is durable":
            with transaction.atomic(durable=True):
                USERS.create(username="kept")


async def speak(job: Flaky) -> None:
    seen.extend([user.get_username() async for user in USERS.all()])
    raise ConnectionError("away")


def overrun(job: Overrun) -> None:
    USERS.create(username=job.how)
    seen.append("began")
    if job.how == "returns late":
        time.sleep(3 * MOMENT.total_seconds())
        return
    while True:
        time.sleep(0.001)


@pytest.fixture(autouse=True, scope="module")
def _types() -> Iterator[None]:
    with registry.isolated():
        handles(Say, queue="mail")(say)
        handles(Chain)(chain)
        handles(Do, retry=RetryPolicy(max_attempts=1))(do)
        handles(Overrun, retry=RetryPolicy(max_attempts=1), timeout=MOMENT, atomic=True)(overrun)
        handles(Rated, limits=[Limit("rated", rate="2/m")])(lambda job: seen.append(f"rated {timezone.now():%M}"))
        handles(Flaky, retry=RetryPolicy(max_attempts=3, backoff=FixedBackoff(HOUR), jitter=0))(speak)
        yield


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def states(*ids: int) -> list[str]:
    return [JobRecord.objects.get(pk=pk).state for pk in ids]


class InTestCase(JobsTestMixin, TestCase):
    def test_run_due_jobs_runs_the_real_life_cycle(self) -> None:
        job_id = job_scheduler.enqueue(Say("hello"))
        (run,) = self.run_due_jobs()
        assert (run.job_id, run.attempt, run.state, run.error) == (job_id, 1, "succeeded", "")
        record = JobRecord.objects.get(pk=job_id)
        assert record.result == "hello"
        assert [row.to_state for row in record.history.order_by("pk")] == ["processing", "succeeded"]

    def test_what_a_job_enqueues_runs_too_and_hooks_run_as_blocks_end(self) -> None:
        job_scheduler.enqueue(Chain(1))
        assert len(run_due_jobs()) == 2
        assert seen == ["chain 1", "committed 1", "end 1", "chain 0", "committed 0", "end 0"]

    def test_handler_finds_no_transaction(self) -> None:
        for what, names in {
            "keeps what it did before it failed": {"before"},
            "goes on after an error of the database": {"one", "two"},
            "fails with an error of the database": {"one"},
            "rolls its own block back": {"kept"},
            "leaves a block open": set(),
            "is durable": {"kept"},
        }.items():
            with self.subTest(what):
                USERS.all().delete()
                job_id = job_scheduler.enqueue(Do(what))
                (run,) = run_due_jobs()
                assert run.job_id == job_id
                assert set(USERS.values_list("username", flat=True)) == names
        assert "lost" not in seen
        assert run_due_jobs() == []

    def test_retry_comes_at_its_time(self) -> None:
        USERS.create(username="u")
        job_id = job_scheduler.enqueue(Flaky())
        before = timezone.now()
        (run,) = run_due_jobs().failed
        assert (run.state, run.error) == ("scheduled", "ConnectionError: away")
        assert not run_due_jobs(now=HOUR / 2)
        (run,) = run_due_jobs(now=HOUR * 1.5)
        assert (run.attempt, run.state) == (2, "scheduled")
        (run,) = run_due_jobs(now=HOUR * 24)
        assert (run.attempt, run.state) == (3, "failed")
        assert seen == ["u"] * 3
        record = JobRecord.objects.get(pk=job_id)
        assert record.finished_at is not None
        assert HOUR * 2 <= record.finished_at - before < HOUR * 4
        assert timezone.now() - before < HOUR

    def test_check_tells_of_a_failure(self) -> None:
        job_scheduler.enqueue(Do("keeps what it did before it failed"))
        with pytest.raises(AssertionError, match=r"attempt 1 of .*Do #.* failed(.|\n)*in do\n(.|\n)*ValueError"):
            run_due_jobs(check=True)

    def test_fail_next_fails_by_the_policy(self) -> None:
        job_id = job_scheduler.enqueue(Say("hello"))
        with fail_next(Say, ConnectionError("x")):
            (run,) = run_due_jobs()
        assert (run.error, run.state, seen) == ("ConnectionError: x", "scheduled", [])
        run_due_jobs(now=timedelta(days=1))
        assert states(job_id) == ["succeeded"]
        job_scheduler.enqueue(Say("again"))
        with pytest.raises(AssertionError, match="1 of 2 attempts"), fail_next(Say, ValueError, times=2):
            run_due_jobs()
        fail_next(Say, ValueError("until the end of the test"))

    def test_nothing_is_left_of_another_tests_failures(self) -> None:
        job_scheduler.enqueue(Say("hello"))
        run_due_jobs(check=True)

    def test_recurring_job_runs_each_time(self) -> None:
        job_scheduler.add_or_update_recurring("hourly", Say("tick"), "0 * * * *")
        with at_time(timezone.now().replace(minute=30)):
            runs = run_due_jobs(now=HOUR * 5)
            assert len(runs) == 5
            assert not run_due_jobs()

    def test_rate_lets_through_as_time_passes(self) -> None:
        for n in range(5):
            job_scheduler.enqueue(Rated(n))
        assert len(run_due_jobs()) == 2
        assert len(run_due_jobs(now=timedelta(minutes=10))) == 3
        assert len(set(seen)) == 3

    def test_workflow_runs_to_its_end(self) -> None:
        with job_scheduler.workflow("w") as flow:
            first = flow.enqueue(Say("first"))
            flow.enqueue(Say("second"), after=first)
        run_due_jobs(check=True)
        assert seen == ["first", "second"]

    def test_paused_queue_holds_its_jobs_until_it_is_on_again(self) -> None:
        job_scheduler.pause_queue("mail", until=timezone.now() + HOUR)
        job_scheduler.enqueue(Say("a"))
        assert run_due_jobs() == []
        assert len(run_due_jobs(now=HOUR * 2)) == 1

    def test_endless_jobs_are_an_error(self) -> None:
        job_scheduler.enqueue(Chain(1_000))
        with pytest.raises(AssertionError, match="5 attempts were made and more jobs are due"):
            run_due_jobs(most=5)

    def test_assert_enqueued_says_what_was(self) -> None:
        with pytest.raises(AssertionError, match="was enqueued; nothing was"):
            assert_enqueued(Say)
        job_id = job_scheduler.enqueue(Say("a", secret="hunter2"))
        job_scheduler.enqueue(Chain(3), delay=HOUR)
        assert assert_enqueued(Say, text="a").pk == job_id
        assert self.assertEnqueued(Say("a", secret="hunter2")).pk == job_id
        assert_not_enqueued(Say, text="b")
        self.assertNotEnqueued(Do)
        with pytest.raises(AssertionError) as caught:
            assert_enqueued(Say, text="b")
        told = str(caught.value)
        assert "2 jobs:" in told
        assert f"#{job_id} " in told
        assert "text='a'" in told
        assert "scheduled on default, at " in told
        assert "hunter2" not in told
        with pytest.raises(AssertionError, match="was enqueued; 1 job:"):
            assert_not_enqueued(Say)
        with pytest.raises(TypeError, match="has no field words; it has text, secret"):
            assert_enqueued(Say, words=1)

    def test_captured_jobs_are_those_of_the_block(self) -> None:
        job_scheduler.enqueue(Say("before"))
        with self.captureJobs() as jobs:
            assert len(jobs) == 0
            job_scheduler.enqueue(Say("in"))
            with suppress(ValueError), transaction.atomic():
                job_scheduler.enqueue(Say("rolled back"))
                raise ValueError("no")
            job_scheduler.enqueue(Chain(0))
        job_scheduler.enqueue(Say("after"))
        assert jobs.jobs == [Say("in"), Chain(0)]
        assert [each.job for each in jobs.of(Say)] == [Say("in")]
        assert jobs[0].record.queue == "mail"

    def test_captured_hooks_run_and_nothing_is_published(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            transaction.on_commit(lambda: job_scheduler.enqueue(Say("by a hook")))
        assert callbacks
        assert len(run_due_jobs()) == 1

    @override_settings(JOBS={"EAGER": True, "QUEUES": ["default"]})
    def test_eager_runs_with_the_commit(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            job_scheduler.enqueue(Chain(1))
            assert not seen
        assert seen == ["chain 1", "committed 1", "end 1", "chain 0", "committed 0", "end 0"]

    async def test_async_test_runs_jobs(self) -> None:
        await USERS.acreate(username="u")
        await job_scheduler.aenqueue(Flaky())
        (run,) = await self.arun_due_jobs()
        assert (run.state, seen) == ("scheduled", ["u"])

    @override_settings(JOBS=IMPATIENT)
    def test_a_handler_without_end_is_broken_off_at_its_hard_timeout(self) -> None:
        job_scheduler.enqueue(Overrun("never ends"))
        (run,) = run_due_jobs()
        assert (run.state, run.error) == ("failed", "JobTimeout: ran longer than its timeout of 0.05 s")
        assert seen == ["began"]
        assert not USERS.filter(username="never ends").exists()
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

    @override_settings(JOBS=IMPATIENT)
    def test_a_handler_that_nothing_can_break_off_fails_when_it_has_ended(self) -> None:
        job_scheduler.enqueue(Overrun("returns late"))
        signal.setitimer(signal.ITIMER_REAL, 3_600)  # as a test's own time limit has it
        try:
            (run,) = run_due_jobs()
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert (run.state, run.error) == ("failed", "JobTimeout: ran longer than its timeout of 0.05 s")
        assert not USERS.filter(username="returns late").exists()


class InTransactionTestCase(JobsTestMixin, TransactionTestCase):
    def test_run_due_jobs_commits(self) -> None:
        for what in (
            "keeps what it did before it failed",
            "leaves a block open",
            "fails with an error of the database",
        ):
            job_scheduler.enqueue(Do(what))
        assert [run.state for run in run_due_jobs()] == ["failed", "succeeded", "failed"]
        assert set(USERS.values_list("username", flat=True)) == {"before", "one"}
        assert not transaction.get_connection().in_atomic_block

    def test_workflow_runs_to_its_end(self) -> None:
        with job_scheduler.workflow("w") as flow:
            first = flow.enqueue(Say("first"))
            flow.enqueue(Say("second"), after=first)
        run_due_jobs(check=True)
        assert seen == ["first", "second"]

    @override_settings(JOBS=IMPATIENT | {"EAGER": True})
    def test_eager_fails_what_overruns_in_another_thread(self) -> None:
        def ask() -> None:
            job_scheduler.enqueue(Overrun("returns late"))
            connections.close_all()

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        record = JobRecord.objects.get()
        assert (record.state, record.error) == ("failed", "JobTimeout: ran longer than its timeout of 0.05 s")
        assert not USERS.exists()

    @override_settings(JOBS={"EAGER": True, "QUEUES": ["default"]})
    def test_eager_runs_with_the_commit(self) -> None:
        with transaction.atomic():
            job_scheduler.enqueue(Chain(1))
            assert not seen
        assert len(seen) == 6
        job_id = job_scheduler.enqueue(Flaky())
        assert states(job_id) == ["scheduled"]

    async def test_async_test_runs_jobs(self) -> None:
        await job_scheduler.aenqueue(Say("hello"))
        assert len(await self.arun_due_jobs()) == 1


@override_settings(JOBS={"EAGER": True, "QUEUES": ["default"]})
class Eager(JobsTestMixin, TransactionTestCase):
    def test_eager_holds_for_a_class(self) -> None:
        with fail_next(Say, ValueError("x")):
            job_id = job_scheduler.enqueue(Say("a"))
        assert states(job_id) == ["scheduled"]
        run_due_jobs(now=timedelta(days=1))
        assert (states(job_id), seen) == (["succeeded"], ["a"])


@pytest.mark.once
def test_token_cancels_when_it_is_to() -> None:
    assert not token().is_cancelled
    assert token(attempt=3).attempt == 3
    assert token(cancelled=True).is_cancelled
    late = token(after=2, reason="timeout")
    assert [late.is_cancelled for _ in range(4)] == [False, False, True, True]
    with pytest.raises(JobCancelled):
        late.raise_if_cancelled()


@pytest.mark.django_db
def test_frozen_time_is_the_time() -> None:
    with freeze_time("2031-05-05 10:00:00"):
        job_id = job_scheduler.schedule(Say("later"), timezone.now() + HOUR)
        assert run_due_jobs() == []
    with freeze_time("2031-05-05 12:00:00"):
        assert len(run_due_jobs()) == 1
    assert states(job_id) == ["succeeded"]


def test_time_passes_without_a_database() -> None:
    before = timezone.now()
    with at_time(HOUR):
        assert timezone.now() - before >= HOUR
        with at_time(HOUR):
            assert timezone.now() - before >= 2 * HOUR
    assert timezone.now() - before < HOUR
    with pytest.raises(ValueError, match="aware datetime"), at_time(timezone.now().replace(tzinfo=None)):
        pass


@pytest.mark.django_db
def test_captured_jobs_as_a_function() -> None:
    with captured_jobs() as jobs:
        job_scheduler.enqueue(Say("in"))
    assert jobs.jobs == [Say("in")]


@pytest.mark.django_db(transaction=True)
def test_running_worker_runs_jobs_in_processes_of_its_own() -> None:
    with running_worker() as worker:
        ours = job_scheduler.enqueue(Nothing())
        later = job_scheduler.enqueue(Fail(1, "a"))
        record = worker.wait_for(ours)
        assert record.state == "succeeded"
        assert "in-process" not in record.worker
        assert worker.wait_for(later).attempt == 2
        with pytest.raises(AssertionError, match=r"not within 0.1 s: pigs fly; the last of what was written:"):
            worker.wait_until(lambda: False, "pigs fly", seconds=0.1)


class InMemory(TestCase):
    def test_running_worker_refuses_a_transaction(self) -> None:
        with pytest.raises(RuntimeError, match="use a TransactionTestCase"), running_worker():
            pass
