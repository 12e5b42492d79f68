"""What a handler has of its run: progress, steps, checkpoints and cursors, each under the job's token."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections, transaction
from django.utils import timezone

from handlers import (
    InvalidJob,
    Job,
    JobCancelled,
    JobsError,
    RetryAfter,
    RetryPolicy,
    Run,
    Sensitive,
    Snooze,
    current_run,
    handles,
    job_scheduler,
    lifecycle,
)
from handlers.cancellation import CancellationToken, CancelReason
from handlers.models import AttemptError, JobCountDelta, JobRecord, JobStep, RunState, sql
from handlers.registry import registry
from handlers.runs import keeping, live
from handlers.states import State
from tests.processes import wait_for
from tests.running import claim, make_due, perform, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


@dataclass(frozen=True)
class Work(Job):
    """Its handler is the test's."""

    number: int = 0


@dataclass(frozen=True)
class Secret(Job):
    """Its handler is the test's, too."""

    card: Annotated[str, Sensitive()]


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with registry.isolated():
        yield


class Effects(list[Any]):
    """What the steps of a handler have done, in order."""

    def do(self, what: Any, answer: Any = None) -> Any:
        self.append(what)
        return answer


@pytest.fixture
def effects() -> Effects:
    return Effects()


def work(handler: Callable[..., Any], number: int = 0) -> int:
    """A job that this handler runs."""
    handles(Work, retry=RetryPolicy(max_attempts=9))(handler)
    return int(job_scheduler.enqueue(Work(number)))


def again(job_id: int, **options: Any) -> JobRecord:
    """Run it once more: now, whatever its backoff says."""
    assert job_scheduler.retry(job_id, **options)
    run(job_id)
    return record(job_id)


def error_of(job_id: int) -> str:
    return AttemptError.objects.filter(job=job_id).latest("pk").message


# --- how a handler gets it


def test_a_handler_takes_it_by_name_or_asks_for_it() -> None:
    found: list[Any] = []

    def second(job: Work, run: Run) -> None:
        found.append((run, current_run() is run))

    def third(job: Work, token: CancellationToken, context: Run) -> None:
        found.append((context, context.token is token))

    for handler in (second, third):
        with registry.isolated():
            job_id = work(handler)
            run(job_id)
        one, is_same = found.pop()
        assert is_same
        assert (one.job_id, one.attempt, one.queue, one.job_type) == (job_id, 1, "default", "tests.Work")
        assert one.correlation == str(job_id)


def test_a_class_and_a_coroutine_take_it_as_well() -> None:
    found: list[int] = []

    async def handler(job: Work, run: Run) -> None:
        await asyncio.sleep(0)
        found.append(run.attempt)

    run(work(handler))
    assert found == [1]


def test_outside_of_a_handler_there_is_none() -> None:
    with pytest.raises(JobsError, match="no job runs here"):
        current_run()


def test_a_thread_of_the_handlers_own_is_handed_it(effects: Effects) -> None:
    def handler(job: Work, run: Run) -> None:
        thread = threading.Thread(target=lambda: effects.append(run.step("apart", lambda: run.attempt)))
        thread.start()
        thread.join()

    run(work(handler))
    assert effects == [1]
    assert JobStep.objects.get().finished_at


# --- steps


def test_a_step_that_is_done_is_not_done_again(effects: Effects) -> None:
    def handler(job: Work, run: Run) -> Any:
        charged = run.step("charge", effects.do, "charge", {"id": 7})
        if run.attempt < 3:
            run.step("ship", effects.do, f"ship {run.attempt}")
            raise RetryAfter(timedelta(0))
        run.step("ship", effects.do, "ship")
        return charged

    job_id = work(handler)
    run(job_id)
    again(job_id)
    assert again(job_id).result == {"id": 7}
    assert effects == ["charge", "ship 1"]
    assert list(JobStep.objects.values_list("name", "attempt")) == [("charge", 1), ("ship", 1)]


def test_a_step_that_raised_is_done_again(effects: Effects) -> None:
    def fail_once(attempt: int) -> str:
        effects.append(attempt)
        if attempt == 1:
            raise OSError("no answer")
        return "fine"

    job_id = work(lambda job, run: run.step("ask", fail_once, run.attempt))
    run(job_id)
    step = JobStep.objects.get()
    assert (step.finished_at, step.attempt) == (None, 1)
    assert again(job_id).result == "fine"
    assert effects == [1, 2]
    step.refresh_from_db()
    assert step.finished_at
    assert step.attempt == 2
    assert step.finished_at >= step.started_at


@dataclass(frozen=True)
class Receipt:
    day: date
    total: Decimal


def test_what_a_step_returned_comes_back_as_its_hint_says() -> None:
    found = []

    def pay() -> Receipt:
        return Receipt(date(2026, 11, 30), Decimal("12.50"))

    def handler(job: Work, run: Run) -> None:
        found.append(run.step("pay", pay))
        assert run.attempt == 2

    job_id = work(handler)
    run(job_id)
    again(job_id)
    assert found == [Receipt(date(2026, 11, 30), Decimal("12.50"))] * 2


def test_a_step_may_be_a_coroutine(effects: Effects) -> None:
    async def charge(amount: int) -> int:
        await asyncio.sleep(0)
        effects.append(amount)
        return amount * 2

    async def handler(job: Work, run: Run) -> int:
        doubled = await run.step("charge", charge, amount=21)
        if run.attempt == 1:
            raise RetryAfter(timedelta(0))
        return doubled

    job_id = work(handler)
    run(job_id)
    assert again(job_id).result == 42
    assert effects == [21]


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        (["charge", "charge"], "step 'charge': this attempt has a step of this name already"),
        ([""], "is no name: use 1 to 100 characters"),
        (["x" * 101], "is no name: use 1 to 100 characters"),
    ],
)
def test_a_name_that_is_none_is_refused_in_words(steps: list[str], complaint: str, effects: Effects) -> None:
    def handler(job: Work, run: Run) -> None:
        for name in steps:
            run.step(name, effects.do, name)

    job_id = work(handler)
    run(job_id)
    assert complaint in error_of(job_id)
    assert len(effects) == len(steps) - 1


def test_a_step_without_a_function_is_refused_in_words() -> None:
    job_id = work(lambda job, run: run.step("charge"))
    run(job_id)
    assert "run.step('charge', function, *args)" in error_of(job_id)


def test_a_result_that_is_no_json_fails_the_attempt_and_the_step_is_not_done(effects: Effects) -> None:
    job_id = work(lambda job, run: run.step("ask", effects.do, "asked", object()))
    run(job_id)
    assert "step ask: cannot be stored as JSON" in error_of(job_id)
    assert JobStep.objects.get().finished_at is None


def test_an_edit_makes_steps_and_checkpoints_anew_and_a_retry_does_not(effects: Effects) -> None:
    def handler(job: Work, run: Run) -> None:
        effects.append((run.resume_value, run.idempotency_key))
        run.step("charge", effects.do, job.number)
        run.checkpoint(job.number)
        raise RetryAfter(timedelta(0))

    job_id = work(handler, 1)
    run(job_id)
    again(job_id)
    again(job_id, payload=Work(2))
    again(job_id)
    (first, one), charged, (second, two), (third, three), charged_anew, (fourth, four) = effects
    assert (first, second, third, fourth) == (None, 1, None, 2)
    assert (charged, charged_anew) == (1, 2)
    assert one == two != three == four
    assert len(one) == 32


def test_a_job_that_succeeded_and_runs_again_begins_anew(effects: Effects) -> None:
    def handler(job: Work, run: Run) -> None:
        effects.append((run.resume_value, run.token.idempotency_key))
        run.step("charge", effects.do, "charge")
        run.checkpoint("here")

    job_id = work(handler)
    run(job_id)
    assert job_scheduler.requeue(job_id)
    run(job_id)
    (first, one), _, (second, two), _ = effects
    assert (first, second) == (None, None)
    assert effects.count("charge") == 2
    assert one == two, "a replay is the same request"


def test_the_key_is_of_one_job(effects: Effects) -> None:
    handles(Work)(lambda job, token: effects.append(token.idempotency_key))
    for _ in range(2):
        run(int(job_scheduler.enqueue(Work())))
    assert len(set(effects)) == 2


# --- checkpoints


@pytest.mark.parametrize("value", [0, "", {"page": [1, None, "ü"]}, 2**60])
def test_a_checkpoint_is_what_the_next_attempt_finds(value: Any, effects: Effects) -> None:
    def handler(job: Work, run: Run) -> None:
        effects.append(run.resume_value)
        if run.attempt == 1:
            run.checkpoint("not this one")
            run.checkpoint(value)
            raise RetryAfter(timedelta(0))

    job_id = work(handler)
    run(job_id)
    again(job_id)
    assert effects == [None, value]


def test_a_checkpoint_is_there_when_it_returns_and_in_a_transaction_with_it() -> None:
    seen = []

    def handler(job: Work, run: Run) -> None:
        run.checkpoint("outside")
        in_thread(lambda: seen.append(RunState.objects.get().checkpoint))
        with transaction.atomic():
            run.checkpoint("inside")
            transaction.set_rollback(True)
        seen.append(RunState.objects.get().checkpoint)

    run(work(handler))
    assert seen == ["outside", "outside"]


def in_thread(function: Callable[[], None]) -> None:
    """On another connection."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_what_is_no_checkpoint_is_refused_in_words(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"MAX_RESULT_BYTES": 100}
    for value, complaint in ((datetime(2026, 1, 1, tzinfo=UTC), "JSON"), ("x" * 100, "checkpoint: takes 102 bytes")):
        with registry.isolated():
            job_id = work(lambda job, run, value=value: run.checkpoint(value))
            run(job_id)
        assert complaint in error_of(job_id)
    assert not RunState.objects.exists()


def test_an_asynchronous_handler_keeps_and_finds_one() -> None:
    async def handler(job: Work, run: Run) -> Any:
        if run.attempt == 1:
            await run.acheckpoint(41)
            raise RetryAfter(timedelta(0))
        return await run.aresume_value()

    job_id = work(handler)
    run(job_id)
    assert again(job_id).result == 41


# --- whoever has lost the job


def test_a_run_that_lost_its_job_keeps_nothing_any_more(effects: Effects) -> None:

    def handler(job: Work, run: Run) -> None:
        if run.attempt == 1:
            run.checkpoint("mine")
            lose(run.job_id)
            for write in (lambda: run.checkpoint("late"), lambda: run.step("late", effects.do, "late")):
                with pytest.raises(JobCancelled, match="no longer this run's"):
                    write()

    job_id = work(handler)
    perform(claim(job_id)[0])
    assert RunState.objects.get().checkpoint == "mine"
    assert not JobStep.objects.exists()
    assert effects == []


def lose(job_id: int) -> None:
    """Another worker has it by now."""
    JobRecord.objects.filter(pk=job_id).update(token="another", attempt=2)


# --- progress


def test_progress_is_on_record_once_the_run_has_ended() -> None:
    def handler(job: Work, run: Run) -> None:
        for done in range(101):
            run.progress(done, 100, f"row {done}")

    run(work(handler))
    state = RunState.objects.get()
    assert (state.done, state.total, state.message, state.attempt) == (100, 100, "row 100", 1)
    assert state.at
    assert (state.checkpoint, state.lines) == (None, None)


class Clock:
    """In place of the module ``time``: it stands still until somebody moves it."""

    def __init__(self) -> None:
        self._now, self._until, self._moved = 0.0, 0.0, threading.Condition()

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._moved:
            self._until = self._now + seconds
            self._moved.wait_for(lambda: self._now >= self._until)

    def has_sleeper(self) -> bool:
        return self._until > self._now

    def move(self, seconds: float) -> None:
        with self._moved:
            self._now += seconds
            self._moved.notify_all()


@pytest.mark.parametrize(("takes", "between"), [(0.0, 1.0), (0.125, 6.25)], ids=["quick", "slow"])
def test_progress_is_written_once_a_second_at_most_or_less_where_a_write_is_slow(
    takes: float, between: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written, told, fetch = Clock(), list[float](), live.Live(), sql.fetch
    has_closed = threading.Event()

    def noted(*args: Any) -> Any:
        if threading.current_thread().name == "live":
            has_closed.clear()
        written.append(clock.monotonic())
        clock.move(takes)
        return fetch(*args)

    def close_all() -> None:
        connections.close_all()
        has_closed.set()

    def is_over() -> bool:
        """Its thread gives its connection back, before the test's database is taken away."""
        clock.move(10)
        return has_closed.is_set()

    def handler(job: Work, run: Run) -> None:
        def tell() -> bool:
            for _ in range(500):
                run.progress(clock.monotonic(), 40, "seconds")
            return clock.has_sleeper()

        told.begin()
        while clock.monotonic() < 20:
            wait_for("its writer waits for its time", tell)
            clock.move(0.5)

    monkeypatch.setattr(live, "time", clock)
    monkeypatch.setattr(live, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(live, "connections", SimpleNamespace(close_all=close_all))
    monkeypatch.setattr("handlers.runs.run.live", told)
    monkeypatch.setattr("handlers.execution.live", told)
    monkeypatch.setattr(keeping, "fetch", noted)  # each call is one statement
    job_id = work(handler)
    run(job_id)
    told.end()
    wait_for("its writer has nothing more to do", is_over)
    assert record(job_id).state == State.SUCCEEDED
    *during, _ = written
    assert all(later - earlier >= between for earlier, later in itertools.pairwise(during))
    assert len(during) >= 20 // between - 1, "and as often as that"
    assert (RunState.objects.get().done or 0) >= 19.5, "the last word is written too"


@pytest.mark.parametrize(
    "told", [(7, 3), (-1, 3), (float("nan"), 3), (1, float("inf")), ("1", 2), (1, 2, 3), (True, None, None)]
)
def test_progress_that_is_none_is_refused_in_words(told: tuple[Any, ...]) -> None:
    job_id = work(lambda job, run: run.progress(*told))
    run(job_id)
    assert error_of(job_id).startswith("progress: ")
    assert not RunState.objects.exists()


def test_a_sensitive_argument_is_not_shown_as_progress() -> None:
    handles(Secret)(lambda job, run: run.progress(1, 2, f"charging {job.card}"))
    run(int(job_scheduler.enqueue(Secret("4111-1111-1111"))))
    assert "4111" not in RunState.objects.get().message


# --- cursors


@pytest.fixture
def groups() -> list[str]:
    names = [f"group {number:03}" for number in range(450)]
    Group.objects.all().delete()
    Group.objects.bulk_create(Group(name=name) for name in names)
    return names


def test_each_row_is_done_once_and_another_attempt_goes_on(groups: list[str], effects: Effects) -> None:
    def handler(job: Work, run: Run) -> None:
        for number, group in enumerate(run.each(Group.objects.all())):
            if run.attempt < 3 and number == 150:
                raise OSError("broken")
            effects.append(group.name)

    job_id = work(handler)
    run(job_id)
    again(job_id)
    assert again(job_id).state == "succeeded"
    assert effects == groups


def test_what_a_transaction_took_back_is_done_again(groups: list[str]) -> None:
    def handler(job: Work, run: Run) -> None:
        with transaction.atomic():
            for number, group in enumerate(run.each(Group.objects.filter(name__startswith="group"))):
                Group.objects.filter(pk=group.pk).update(name=f"done {group.name}")
                if run.attempt == 1 and number == 100:
                    raise OSError("broken")

    job_id = work(handler)
    run(job_id)
    assert not Group.objects.filter(name__startswith="done").exists()
    assert again(job_id).state == "succeeded"
    assert Group.objects.filter(name__startswith="done").count() == len(groups)


def test_asked_to_stop_it_ends_between_two_rows(groups: list[str], effects: Effects) -> None:
    def handler(job: Work, run: Run) -> None:
        for group in run.each(Group.objects.all()):
            effects.append(group.name)
            if run.attempt == 1 and len(effects) == 7:
                run.token.cancel(CancelReason.STOPPING)

    job_id = work(handler)
    run(job_id)
    assert (record(job_id).state, len(effects)) == ("enqueued", 7)
    run(job_id)
    assert effects == groups


def test_a_loop_that_is_over_is_left_out_and_others_have_names(groups: list[str], effects: Effects) -> None:
    def handler(job: Work, run: Run) -> None:
        effects.append(sum(1 for _ in run.each(Group.objects.all())))
        effects.append(sum(1 for _ in run.each(Group.objects.filter(pk__lte=0), name="none")))
        if run.attempt == 1:
            raise RetryAfter(timedelta(0))

    job_id = work(handler)
    run(job_id)
    again(job_id)
    assert effects == [450, 0, 0, 0]


def test_an_asynchronous_handler_goes_over_them(groups: list[str], effects: Effects) -> None:
    async def handler(job: Work, run: Run) -> None:
        async for group in run.aeach(Group.objects.all()):
            if run.attempt == 1 and len(effects) == 9:
                raise OSError("broken")
            effects.append(group.name)

    job_id = work(handler)
    run(job_id)
    assert again(job_id).state == "succeeded"
    assert effects == groups


def test_a_queryset_that_has_no_place_to_go_on_from_is_refused_in_words() -> None:
    for queryset in (Group.objects.order_by("name"), Group.objects.all()[:3]):
        with registry.isolated():
            job_id = work(lambda job, run, queryset=queryset: list(run.each(queryset)))
            run(job_id)
        assert "goes by primary key" in error_of(job_id)


# --- afterwards


def test_what_runs_left_goes_with_the_job() -> None:
    def handler(job: Work, run: Run) -> None:
        run.step("one", int)
        run.progress(1, 2)

    job_id = work(handler)
    run(job_id)
    assert lifecycle.age_out(State.SUCCEEDED, before=datetime.now(UTC) + timedelta(days=1)) == 1
    assert not JobStep.objects.exists()
    assert not RunState.objects.exists()


def test_nothing_of_a_run_stays_in_memory() -> None:
    known: list[weakref.ref[Run]] = []

    def handler(job: Work, run: Run) -> None:
        known.append(weakref.ref(run))
        run.log("it has told something", level=logging.WARNING)

    run(work(handler))
    gc.collect()
    assert [each() for each in known] == [None]


def test_a_handler_that_takes_more_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"\(job\), \(job, token\), \(job, run\) or \(job, token, run\)"):
        handles(Work)(lambda job, run, context, more: None)


# --- to be called again later


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_can_ask_to_be_called_later_which_is_no_failure(effects: Effects, is_async: bool) -> None:
    def handle(job: Work, run: Run) -> None:
        effects.append(run.attempt)
        if run.attempt < 4:
            raise Snooze(timedelta(minutes=5), "not yet")

    async def ahandle(job: Work, run: Run) -> None:
        handle(job, run)

    handles(Work, retry=RetryPolicy(max_attempts=1))(ahandle if is_async else handle)
    job_id = int(job_scheduler.enqueue(Work()))
    for _ in range(3):
        before = timezone.now()
        run(job_id)
        row = record(job_id)
        assert (row.state, row.failures, row.error) == ("scheduled", 0, "")
        assert row.run_at
        assert before + timedelta(minutes=4) < row.run_at < before + timedelta(minutes=6)
        assert [message.job_id for message in make_due(job_id)] == [job_id]
    run(job_id)
    assert (record(job_id).state, record(job_id).attempt, effects) == ("succeeded", 4, [1, 2, 3, 4])
    reasons = record(job_id).history.filter(to_state="scheduled").values_list("reason", flat=True)
    assert list(reasons) == ["not yet"] * 3
    outcomes = Counter(JobCountDelta.objects.values_list("outcome", flat=True))
    assert (outcomes["snoozed"], outcomes["retried"], outcomes["failed"]) == (3, 0, 0)
    assert not AttemptError.objects.exists()


@pytest.mark.parametrize("delay", [5, timedelta(seconds=-1), timedelta(days=366), None])
def test_a_snooze_for_no_time_fails_the_attempt_in_words(delay: Any) -> None:
    def handle(job: Work) -> None:
        raise Snooze(delay)

    job_id = work(handle)
    run(job_id)
    assert error_of(job_id).startswith("Snooze: delay must be a timedelta from 0 to 365 days")


def test_a_snoozed_job_keeps_its_failures_and_its_steps(effects: Effects) -> None:
    def handle(job: Work, run: Run) -> None:
        run.step("once", effects.do, "once")
        if run.attempt == 1:
            raise OSError("a failure")
        if run.attempt == 2:
            raise Snooze(timedelta(0))

    job_id = work(handle)
    run(job_id)
    make_due(job_id)
    run(job_id)
    assert (record(job_id).state, record(job_id).failures) == ("scheduled", 1)
    make_due(job_id)
    run(job_id)
    assert (record(job_id).state, effects) == ("succeeded", ["once"])
