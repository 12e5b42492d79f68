"""Jobs that wait for a signal without a worker: what they come back with, and that no signal is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.utils import timezone

from handlers import (
    GiveUp,
    InvalidJob,
    Job,
    RetryAfter,
    RetryPolicy,
    Run,
    SignalJobCommand,
    Snooze,
    Unique,
    WaitFor,
    command_bus,
    current_run,
    execution,
    handles,
    job_scheduler,
    lifecycle,
)
from handlers.models import AuditEntry, JobCountDelta, JobSignal
from handlers.registry import registry
from handlers.states import State
from tests.running import NotingTransport, claim, make_due, moves_of, perform, record, run

pytestmark = [pytest.mark.django_db(transaction=True)]


@dataclass(frozen=True)
class Order(Job):
    """Its handler is the test's."""

    number: int = 0


@pytest.fixture(autouse=True)
def apart(noting: NotingTransport) -> Iterator[NotingTransport]:
    with registry.isolated():
        yield noting


def work(handler: Callable[..., Any], **options: Any) -> int:
    """A job that this handler runs, and that waits once it has run."""
    handles(Order, **options)(handler)
    return int(job_scheduler.enqueue(Order()))


def asks(name: str = "approval", **options: Any) -> Callable[[Order, Run], Any]:
    """A handler that waits for ``name`` and returns what it has got."""

    def handler(job: Order, run: Run) -> Any:
        if name in run.timed_out:
            return "nobody answered"
        if name not in run.signals:
            raise WaitFor(name, **options)
        return run.signals[name]

    return handler


def overdue(job_id: int) -> list[int]:
    """Let the time of its wait be over; which jobs go on."""
    type(record(job_id)).objects.filter(pk=job_id).update(run_at=timezone.now() - timedelta(seconds=1))
    return [message.job_id for message in lifecycle.end_waits()]


# --- a wait and its end


def test_a_job_waits_in_no_workers_hands_and_comes_back_with_what_was_sent(apart: NotingTransport) -> None:
    job_id = work(asks())
    run(job_id)
    row = record(job_id)
    assert (row.state, row.attempt, row.failures, row.worker, row.run_at) == ("waiting", 1, 0, "", None)
    assert row.lease_expires_at is None
    with transaction.atomic():
        assert job_scheduler.signal(str(job_id), "approval", {"approved": True}, by="olga", reason="fine") is True
        published = list(apart.ids)
    assert apart.ids[len(published) :] == [[job_id]], "after the commit"
    assert record(job_id).state == "enqueued"
    run(job_id)
    assert (record(job_id).state, record(job_id).result, record(job_id).attempt) == ("succeeded", {"approved": True}, 2)
    assert moves_of(job_id)[1:4] == [("processing", "waiting"), ("waiting", "enqueued"), ("enqueued", "processing")]
    entry = AuditEntry.objects.get()
    assert entry.data
    assert (entry.verb, entry.username, entry.reason, entry.data["signal"]) == ("signal", "olga", "fine", "approval")


def test_a_transaction_that_is_rolled_back_has_sent_nothing(apart: NotingTransport) -> None:
    job_id = work(asks())
    run(job_id)
    with transaction.atomic():
        job_scheduler.signal(job_id, "approval")
        transaction.set_rollback(True)
    assert record(job_id).state == "waiting"
    assert JobSignal.objects.get().status == "waits"


def test_it_is_counted_apart() -> None:
    run(work(asks()))
    outcomes = set(JobCountDelta.objects.values_list("outcome", flat=True))
    assert outcomes == {"created", "started", "waited"}


@pytest.mark.parametrize("before", ["before it runs", "while it runs"])
def test_a_signal_that_comes_before_the_wait_is_kept(before: str) -> None:
    def handler(job: Order, run: Run) -> Any:
        if "approval" not in run.signals:
            job_scheduler.signal(run.job_id, "approval", 7)
            raise WaitFor("approval")
        return run.signals["approval"]

    job_id = work(handler if before == "while it runs" else asks())
    if before == "before it runs":
        assert job_scheduler.signal(job_id, "approval", 7)
    else:
        run(job_id)
        assert moves_of(job_id)[-2:] == [("processing", "waiting"), ("waiting", "enqueued")]
    run(job_id)
    assert record(job_id).result == 7


def test_an_unread_signal_of_another_name_does_not_end_the_wait() -> None:
    def handler(job: Order, run: Run) -> Any:
        if "one" not in run.signals:
            job_scheduler.signal(run.job_id, "other")
            raise WaitFor("one")
        return sorted(run.signals)

    job_id = work(handler)
    run(job_id)
    assert record(job_id).state == "waiting"
    job_scheduler.signal(job_id, "one")
    run(job_id)
    assert record(job_id).result == ["one", "other"]


def test_the_next_wait_for_the_same_name_waits_again() -> None:
    def handler(job: Order, run: Run) -> Any:
        votes = [*(run.resume_value or []), *([run.signals["vote"]] if "vote" in run.signals else [])]
        run.checkpoint(votes)
        if len(votes) < 3:
            raise WaitFor("vote")
        return votes

    job_id = work(handler)
    run(job_id)
    for vote in "abc":
        assert record(job_id).state == "waiting"
        job_scheduler.signal(job_id, "vote", vote)
        run(job_id)
    assert record(job_id).result == ["a", "b", "c"]


def test_a_retry_has_what_the_failed_attempt_had() -> None:
    def handler(job: Order, run: Run) -> Any:
        if "approval" not in run.signals:
            raise WaitFor("approval")
        if run.attempt == 2:
            raise RetryAfter(timedelta(0))
        return run.signals["approval"]

    job_id = work(handler)
    run(job_id)
    job_scheduler.signal(job_id, "approval", "yes")
    run(job_id)
    assert record(job_id).state == "scheduled"
    job_scheduler.retry(job_id)
    run(job_id)
    assert record(job_id).result == "yes"


def test_an_async_handler_waits_as_well() -> None:
    async def handler(job: Order, run: Run) -> Any:
        if "approval" not in current_run().signals:
            assert dict(await run.asignals()) == {}
            raise WaitFor("approval", timeout=timedelta(hours=1))
        return (await run.asignals())["approval"]

    job_id = work(handler)
    run(job_id)
    assert record(job_id).state == "waiting"
    assert async_to_sync(job_scheduler.asignal)(job_id, "approval", "yes")
    run(job_id)
    assert record(job_id).result == "yes"


# --- in time


def test_a_wait_that_is_over_comes_back_without_the_signal(apart: NotingTransport) -> None:
    before = timezone.now()
    job_id = work(asks(timeout=timedelta(minutes=5)))
    run(job_id)
    run_at = record(job_id).run_at
    assert run_at
    assert before + timedelta(minutes=4) < run_at < before + timedelta(minutes=6)
    assert lifecycle.end_waits() == []
    assert not lifecycle.agenda().waits_over
    token = record(job_id).token
    type(record(job_id)).objects.filter(pk=job_id).update(run_at=before)
    assert lifecycle.agenda().waits_over
    assert overdue(job_id) == [job_id]
    assert record(job_id).token != token
    run(job_id)
    assert record(job_id).result == "nobody answered"


def test_a_signal_that_comes_after_the_timeout_and_before_the_run_counts() -> None:
    job_id = work(asks(timeout=timedelta(minutes=5)))
    run(job_id)
    overdue(job_id)
    job_scheduler.signal(job_id, "approval", "late")
    run(job_id)
    assert record(job_id).result == "late"


def test_what_timed_out_is_forgotten_when_somebody_retries() -> None:
    def handler(job: Order, run: Run) -> Any:
        if "approval" in run.timed_out:
            raise GiveUp("nobody answered")
        raise WaitFor("approval", timeout=timedelta(minutes=5))

    job_id = work(handler)
    run(job_id)
    overdue(job_id)
    run(job_id)
    assert record(job_id).state == "failed"
    job_scheduler.retry(job_id)
    run(job_id)
    assert record(job_id).state == "waiting"


@pytest.mark.parametrize("options", [{"timeout": timedelta(0)}, {"timeout": 5}, {"timeout": timedelta(days=9999)}])
def test_a_timeout_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match="WaitFor: timeout must be"):
        WaitFor("approval", **options)


@pytest.mark.parametrize("name", ["", "x" * 101, "a\0b", 7])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(InvalidJob, match=r"WaitFor: name: .* is no name of a signal"):
        WaitFor(name)
    with pytest.raises(InvalidJob, match="is no name of a signal"):
        job_scheduler.signal(1, name)


# --- what is refused


def refused(job_id: int, name: str = "approval", data: Any = None) -> str:
    before = list(JobSignal.objects.values())
    with pytest.raises(InvalidJob) as found:
        job_scheduler.signal(job_id, name, data, by="olga")
    assert list(JobSignal.objects.values()) == before
    assert not AuditEntry.objects.exists()
    return f"{found.value.field} | {found.value}"


def test_a_signal_that_nobody_can_use_is_refused_in_words() -> None:
    assert job_scheduler.signal(10**9, "approval") is False
    assert job_scheduler.signal("x", "approval") is False
    job_id = work(asks())
    run(job_id)
    assert refused(job_id, "payment") == f"name | name: job {job_id} waits for 'approval', not for 'payment'"
    job_scheduler.signal(job_id, "approval")
    assert "has got 'approval' already, and has not read it" in refused(job_id)
    run(job_id)
    assert refused(job_id) == f"name | name: job {job_id} is succeeded: it waits for no signal"
    with pytest.raises(InvalidJob, match="data: ") as found:
        job_scheduler.signal(job_id, "approval", object())
    assert found.value.field == "data"
    with pytest.raises(InvalidJob, match="more than the limit of"):
        job_scheduler.signal(job_id, "approval", "x" * 10**7)
    for data in ("\x00", "\ud800", float("nan"), {"\x00": 1}):
        with pytest.raises(InvalidJob) as found:
            job_scheduler.signal(job_id, "approval", data)
        assert found.value.field == "data"


def test_a_page_that_shows_an_earlier_job_changes_nothing() -> None:
    job_id = work(asks())
    seen = record(job_id).token
    run(job_id)
    job_scheduler.signal(job_id, "approval")
    assert job_scheduler.signal(job_id, "other", expect=seen) is False
    assert JobSignal.objects.count() == 1


# --- with everything else


def test_it_is_deleted_and_restored_and_waits_on() -> None:
    job_id = work(asks(timeout=timedelta(hours=1)))
    run(job_id)
    run_at = record(job_id).run_at
    assert job_scheduler.delete(job_id)
    assert lifecycle.end_waits() == []
    assert job_scheduler.restore(job_id)
    assert (record(job_id).state, record(job_id).run_at) == ("waiting", run_at)
    job_scheduler.signal(job_id, "approval", "yes")
    run(job_id)
    assert record(job_id).result == "yes"


def test_its_key_is_held_and_it_is_moved_and_not_retried() -> None:
    job_id = work(asks(), unique=Unique())
    run(job_id)
    assert job_scheduler.enqueue(Order()) == job_id
    assert not job_scheduler.retry(job_id)
    assert job_scheduler.move(job_id, "mail")
    assert (record(job_id).state, record(job_id).queue) == ("waiting", "mail")
    job_scheduler.signal(job_id, "approval")
    assert record(job_id).state == "enqueued"


def test_a_new_round_of_work_begins_without_signals() -> None:
    job_id = work(asks())
    run(job_id)
    job_scheduler.signal(job_id, "approval", "yes")
    run(job_id)
    job_scheduler.requeue(job_id)
    run(job_id)
    assert record(job_id).state == "waiting"
    job_scheduler.signal(job_id, "approval", "yes")
    type(record(job_id)).objects.filter(pk=job_id).update(state="failed")
    job_scheduler.retry(job_id, Order(8))
    assert not JobSignal.objects.exists()
    job_scheduler.signal(job_id, "approval", "for eight")
    assert job_scheduler.take_back(job_id)
    assert not JobSignal.objects.exists()


def test_what_came_goes_with_the_job() -> None:
    job_id = work(asks())
    job_scheduler.signal(job_id, "approval")
    run(job_id)
    assert lifecycle.age_out(State.SUCCEEDED, before=datetime.now(UTC) + timedelta(days=1)) == 1
    assert not JobSignal.objects.exists()


def test_a_command_sends_one() -> None:
    job_id = work(asks())
    run(job_id)
    assert command_bus.send(SignalJobCommand(job_id, "approval", {"approved": False})) is True
    run(job_id)
    assert record(job_id).result == {"approved": False}


# --- at the same moment, on two connections


def elsewhere(act: Callable[[], Any]) -> Any:
    try:
        return act()
    finally:
        connections.close_all()


@pytest.mark.parametrize("first", ["signal", "wait"])
def test_a_signal_and_the_wait_for_it_at_the_same_moment_miss_each_other_never(first: str) -> None:
    """Whoever has the job's row first holds its transaction open, and the other one waits for it."""
    job_id = work(asks())
    (claimed,) = claim(job_id)
    move = perform(claimed)
    assert move
    holds, go_on = Event(), Event()

    def send() -> bool:
        return job_scheduler.signal(job_id, "approval", "yes")

    def settle() -> bool:
        return bool(execution.settle([move], worker="w"))

    ahead, behind = (send, settle) if first == "signal" else (settle, send)

    def hold() -> None:
        with transaction.atomic():
            assert ahead()
            holds.set()
            assert go_on.wait(60)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(elsewhere, hold)
        assert holds.wait(60)
        other = pool.submit(elsewhere, behind)
        with pytest.raises(TimeoutError):
            other.result(timeout=0.3)
        go_on.set()
        one.result(60)
        assert other.result(60)
    assert record(job_id).state == "enqueued"
    run(job_id)
    assert record(job_id).result == "yes"


def test_two_who_answer_at_once_are_one_answer() -> None:
    job_id = work(asks())
    run(job_id)

    def send(who: int) -> bool:
        try:
            return job_scheduler.signal(job_id, "approval", who)
        except InvalidJob:
            return False

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda who: elsewhere(lambda: send(who)), range(4)))
    assert sorted(answers) == [False, False, False, True]
    run(job_id)
    assert record(job_id).result == answers.index(True)


def test_a_timeout_and_a_signal_at_once_are_one_end() -> None:
    job_id = work(asks(timeout=timedelta(minutes=1)))
    run(job_id)
    type(record(job_id)).objects.filter(pk=job_id).update(run_at=timezone.now() - timedelta(seconds=1))
    with ThreadPoolExecutor(2) as pool:
        ended = pool.submit(elsewhere, lifecycle.end_waits)
        assert pool.submit(elsewhere, lambda: job_scheduler.signal(job_id, "approval", "yes")).result(60)
        ended.result(60)
    run(job_id)
    assert record(job_id).result == "yes"
    assert record(job_id).attempt == 2


def test_the_time_that_it_was_scheduled_for_is_no_timeout() -> None:
    handles(Order)(asks())
    job_id = int(job_scheduler.schedule(Order(), timezone.now() + timedelta(hours=1)))
    make_due(job_id)
    run(job_id)
    assert (record(job_id).state, record(job_id).run_at) == ("waiting", None)
    assert lifecycle.end_waits() == []


# --- of another make


class Careless(WaitFor):
    """Does not call its base."""

    def __init__(self) -> None:
        self.mine = 1


class Sleepy(Snooze):
    """Neither does this one."""

    def __init__(self) -> None:
        self.mine = 1


class Mute(WaitFor):
    """Has no words."""

    def __str__(self) -> str:
        raise ValueError("mute")


class Hourly(Snooze):
    """Its delay is a number."""

    def __init__(self) -> None:
        super().__init__(timedelta(hours=1))
        self.delay = 3600  # type: ignore[assignment]


class Numbered(WaitFor):
    """Its name is one."""

    def __init__(self) -> None:
        super().__init__("approval")
        self.name = 7  # type: ignore[assignment]


@pytest.mark.parametrize("error", [Careless, Sleepy, lambda: Mute("approval"), Hourly, Numbered])
def test_one_of_another_make_that_lacks_what_it_needs_is_a_failure(error: Callable[[], BaseException]) -> None:
    def handler(job: Order) -> None:
        raise error()

    job_id = work(handler, retry=RetryPolicy(max_attempts=1))
    run(job_id)
    assert record(job_id).state == "failed"
