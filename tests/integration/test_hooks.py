"""Middleware is around each enqueue and each run, and whatever it does wrong, no job is harmed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.utils import translation

from handlers import Job, RetryPolicy, Run, Snooze, Unique, context, execution, handles, job_scheduler, logs
from handlers.cancellation import CancellationToken, CancelReason
from handlers.checks import check_jobs
from handlers.hooks import JobMiddleware, JobRequest, chain, deadline
from handlers.models import AttemptLog, HookTrouble, JobPayload, JobRecord, JobTag
from handlers.registry import registry
from handlers.troubles import troubles
from tests.running import WORKER, at_once, claim, drain, perform, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

done: list[Any] = []  # what middleware and handlers have done, in order


@dataclass(frozen=True)
class Work(Job):
    """Its handler is the test's."""

    number: int = 0


@dataclass(frozen=True)
class Coroutine(Job):
    """Its handler is async."""


@dataclass(frozen=True)
class Slow(Job):
    """Its handler waits for the test."""


class Outer(JobMiddleware):
    """All of it, well done."""

    def enqueue(self, jobs: Any, call_next: Any) -> Any:
        done.append(("outer enqueue", [job.payload for job in jobs]))
        done.append(("outer enqueued", call_next(jobs)))

    def run(self, run: Run, call_next: Any) -> None:
        done.append(("outer before", run.job_id))
        try:
            done.append(("outer got", call_next()))
        finally:
            done.append("outer after")

    async def arun(self, run: Run, call_next: Any) -> None:
        done.append("outer before")
        await asyncio.sleep(0)
        done.append(("outer got", await call_next()))


class Inner(JobMiddleware):
    """Runs only."""

    def run(self, run: Run, call_next: Any) -> Any:
        done.append("inner before")
        return call_next()

    async def arun(self, run: Run, call_next: Any) -> Any:
        done.append("inner before")
        return await call_next()


class Duck:
    """Not derived from the base."""

    def run(self, run: Run, call_next: Any) -> Any:
        done.append("duck")
        call_next()


class Wrong(JobMiddleware):
    """Does what the test says."""

    enqueues: ClassVar[Callable[[Any, Any], Any]]
    runs: ClassVar[Callable[[Any], Any]]
    aruns: ClassVar[Callable[[Any], Any]]

    def enqueue(self, jobs: Any, call_next: Any) -> Any:
        return type(self).enqueues(jobs, call_next)

    def run(self, run: Run, call_next: Any) -> Any:
        return type(self).runs(call_next)

    async def arun(self, run: Run, call_next: Any) -> Any:
        return await type(self).aruns(call_next)


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    done.clear()
    Wrong.enqueues = staticmethod(lambda jobs, call_next: call_next(jobs))
    Wrong.runs = staticmethod(lambda call_next: call_next())
    Wrong.aruns = staticmethod(lambda call_next: call_next())
    with registry.isolated(), translation.override("en"):  # whatever other tests have left active

        @handles(Work, retry=RetryPolicy(max_attempts=1))
        def work(job: Work) -> int:
            done.append("handler")
            if job.number < 0:
                raise ValueError("the handler's own")
            return job.number

        @handles(Coroutine)
        async def coroutine(job: Coroutine) -> str:
            await asyncio.sleep(0)
            done.append("handler")
            return "async"

        yield


@pytest.fixture
def use(settings: Any) -> Callable[..., None]:
    def use(*classes: type, seconds: float = 5.0) -> None:
        paths = [f"{each.__module__}.{each.__qualname__}" for each in classes]
        settings.JOBS = settings.JOBS | {"MIDDLEWARE": paths, "MIDDLEWARE_SECONDS": seconds}

    return use


def log_of(job_id: int) -> str:
    return "\n".join(line[3] for row in AttemptLog.objects.filter(job=job_id) for line in row.lines)


def run_on_a_loop(job_id: int, token: CancellationToken | None = None) -> JobRecord:
    """As a worker runs async handlers."""
    [claimed] = claim(job_id)

    async def attempt() -> Any:
        return await execution.arun(claimed, token or CancellationToken(job_id=job_id, attempt=1), worker=WORKER)

    logs.attach()
    try:
        move = copy_context().run(async_to_sync(attempt))()  # what it sets stays with it
    finally:
        logs.detach()
    execution.settle([move], worker=WORKER)
    return record(job_id)


# --- well done


def test_they_are_called_in_order_around_enqueue_and_run(use: Any) -> None:
    use(Outer, Duck, Inner)
    job_id = job_scheduler.enqueue(Work(7))
    assert done == [("outer enqueue", [{"number": 7}]), ("outer enqueued", [job_id])]
    done.clear()
    run(job_id)
    assert done == [
        ("outer before", job_id), "duck", "inner before", "handler", ("outer got", 7), "outer after",
    ]  # fmt: skip
    assert record(job_id).result == 7  # whatever they return


def test_async_handlers_have_the_async_ones_on_a_loop_and_without(use: Any) -> None:
    use(Outer, Inner)
    for way in (run_on_a_loop, run):
        job_id = job_scheduler.enqueue(Coroutine())
        done.clear()
        way(job_id)
        assert done == ["outer before", "inner before", "handler", ("outer got", "async")]
        assert record(job_id).result == "async"


def test_what_fails_fails_as_without_them(use: Any) -> None:
    use(Outer)
    job_id = job_scheduler.enqueue(Work(-1))
    run(job_id)
    assert record(job_id).error == "ValueError: the handler's own"
    assert done[-2:] == ["handler", "outer after"]
    assert log_of(job_id) == ""


def test_an_enqueue_can_have_other_options_and_context(use: Any) -> None:
    use(Wrong)
    Wrong.enqueues = staticmethod(
        lambda jobs, call_next: call_next(
            [
                replace(job, queue="mail", priority=9, tags=("a",), correlation="c", context={**job.context, "b": [1]})
                for job in jobs
            ]
        )
    )
    with context(user="ann"):
        ids = [*job_scheduler.enqueue_many([Work(1), Work(2)]), job_scheduler.schedule(Work(3), _later())]
    for job_id in ids:
        beside = JobPayload.objects.get(pk=job_id)
        assert (record(job_id).queue, beside.queue, record(job_id).priority) == ("mail", "mail", 9)
        assert (beside.correlation, beside.context) == ("c", {"user": "ann", "b": [1]})
        assert JobTag.objects.get(job_id=job_id).tag == "a"


def _later() -> Any:
    from django.utils import timezone

    return timezone.now() + timedelta(hours=1)


def test_they_see_jobs_of_workflows_and_unique_ones_and_none_of_the_engine_s(use: Any) -> None:
    use(Outer)
    with job_scheduler.workflow("two") as flow:
        flow.enqueue(Work(2), after=flow.enqueue(Work(1)))
    first = job_scheduler.enqueue(Work(3), unique=Unique())
    assert job_scheduler.enqueue(Work(3), unique=Unique()) == first
    seen = [payload["number"] for what, found in done if what == "outer enqueue" for payload in found]
    assert sorted(seen) == [1, 2, 3]
    assert JobRecord.objects.count() == 3
    drain()


# --- wrong around a run


def _raises(call_next: Any) -> None:
    raise LookupError("broken")


def _raises_after(call_next: Any) -> None:
    call_next()
    raise LookupError("broken")


def _leaves(call_next: Any) -> None:
    raise SystemExit(3)


def _twice(call_next: Any) -> None:
    call_next()
    call_next()


def _forgets(call_next: Any) -> None:
    pass


def _swallows(call_next: Any) -> None:
    try:
        call_next()
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (_raises, "raised LookupError: broken (test_hooks.py, line"),
        (_raises_after, "raised LookupError: broken"),
        (_leaves, "raised SystemExit: 3"),
        (_twice, "raised RuntimeError: call_next was called twice"),
        (_forgets, "did not call call_next"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_one_does_wrong_around_a_run_changes_no_outcome_and_is_in_the_job_s_log(
    use: Any, does: Any, says: str, is_async: bool
) -> None:
    use(Outer, Wrong, Inner)

    async def adoes(call_next: Any) -> None:
        waiting: list[Any] = []
        does(lambda: waiting.append(call_next()))  # what is to be awaited
        for each in waiting:
            await each

    Wrong.runs = staticmethod(does)
    Wrong.aruns = staticmethod(_alike(does))
    job_id = job_scheduler.enqueue(Coroutine() if is_async else Work(7))
    done.clear()
    row = run_on_a_loop(job_id) if is_async else (run(job_id), record(job_id))[1]
    assert row.state == "succeeded"
    assert row.result == ("async" if is_async else 7)
    assert done.count("handler") == done.count("inner before") == 1
    assert ("outer got", row.result) in done
    assert f"middleware tests.integration.test_hooks.Wrong {says}" in log_of(job_id)


def _alike(does: Any) -> Any:
    """The same, async."""

    async def twice(call_next: Any) -> None:
        await call_next()
        await call_next()

    async def after(call_next: Any) -> None:
        await call_next()
        raise LookupError("broken")

    async def alike(call_next: Any) -> None:
        does(call_next)

    return {_twice: twice, _raises_after: after}.get(does, alike)


def test_what_a_handler_raises_is_not_swallowed(use: Any) -> None:
    use(Wrong)
    Wrong.runs = staticmethod(_swallows)
    job_id = job_scheduler.enqueue(Work(-1))
    run(job_id)
    assert record(job_id).state == "failed"
    assert "swallowed what was raised, after call_next: the outcome stays" in log_of(job_id)


def test_a_snooze_goes_through(use: Any) -> None:
    use(Wrong, Outer)

    @dataclass(frozen=True)
    class Tired(Job):
        pass

    @handles(Tired)
    def tired(job: Tired) -> None:
        raise Snooze(timedelta(hours=1))

    job_id = job_scheduler.enqueue(Tired())
    run(job_id)
    assert (record(job_id).state, record(job_id).failures) == ("scheduled", 0)


# --- too long


def _sleeps(call_next: Any) -> None:
    time.sleep(60)


def _spins_after(call_next: Any) -> None:
    call_next()
    while True:
        try:
            time.sleep(0.001)
        except Exception:  # noqa: S110 - as careless code has it
            pass


@pytest.mark.parametrize("does", [_sleeps, _spins_after])
def test_one_that_hangs_is_broken_off_and_the_handler_runs(use: Any, does: Any) -> None:
    from handlers.hooks import deadline

    use(Outer, Wrong, seconds=0.1)
    Wrong.runs = staticmethod(does)
    job_id = job_scheduler.enqueue(Work(7))
    deadline.prepare()
    began = time.monotonic()
    run(job_id)
    assert time.monotonic() - began < 30
    assert (record(job_id).state, record(job_id).result) == ("succeeded", 7)
    assert "Wrong did not end within its 0.1 s, and was broken off" in log_of(job_id)


def _spins(call_next: Any) -> None:
    while True:
        try:
            time.sleep(0.001)
        except Exception:  # noqa: S110 - as careless code has it
            pass


@pytest.mark.parametrize("does", [_sleeps, _spins, _spins_after])
def test_one_that_hangs_around_an_enqueue_is_broken_off_and_the_job_is_there_once(
    use: Any, does: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In the caller's transaction, which goes on."""
    use(Outer, Wrong, seconds=0.1)
    Wrong.enqueues = staticmethod(lambda jobs, call_next: does(lambda: call_next(jobs)))
    deadline.prepare()
    troubles._begin_anew()
    began = time.monotonic()
    with transaction.atomic():
        ids = job_scheduler.enqueue_many([Work(1), Work(2)])
        job_scheduler.enqueue(Coroutine())
    assert time.monotonic() - began < 30
    assert "Wrong did not end within its 0.1 s, and was broken off" in caplog.text
    troubles.flush()
    shown = HookTrouble.objects.get(name=f"{__name__}.Wrong", hook="enqueue", process="")
    assert (shown.count, shown.went) == (2, "broken off")
    assert JobRecord.objects.count() == 3
    Wrong.enqueues = staticmethod(lambda jobs, call_next: call_next(jobs))
    drain()
    assert [record(job_id).result for job_id in ids] == [1, 2]


def _hangs_in_its_commit(call_next: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_commit", partial(_spins, None))
        with transaction.atomic():
            Group.objects.create(name="half")
    call_next()


@pytest.mark.postgresql  # sqlite3 commits when Django goes back to its autocommit
def test_one_that_is_broken_off_in_its_commit_takes_nothing_of_the_handler_along(use: Any) -> None:
    use(Outer, Wrong, seconds=0.1)
    Wrong.runs = staticmethod(_hangs_in_its_commit)

    @dataclass(frozen=True)
    class Write(Job):
        pass

    @handles(Write)
    def write(job: Write) -> None:
        Group.objects.create(name="whole")

    job_id = job_scheduler.enqueue(Write())
    run(job_id)
    assert record(job_id).state == "succeeded"
    assert [group.name for group in Group.objects.filter(name__in=["half", "whole"])] == ["whole"]


@pytest.mark.postgresql  # as above
def test_one_that_is_broken_off_in_its_commit_takes_no_enqueue_along(use: Any) -> None:
    use(Outer, Wrong, seconds=0.1)
    Wrong.enqueues = staticmethod(lambda jobs, call_next: _hangs_in_its_commit(lambda: call_next(jobs)))
    job_id = job_scheduler.enqueue(Work(7))
    connection.close()  # as a request does at its end: what is not committed is gone
    assert record(job_id).state == "enqueued"
    assert not Group.objects.filter(name="half").exists()


def test_one_that_hangs_around_an_enqueue_in_a_thread_is_broken_off_at_its_next_step(
    use: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a web server, whose threads no signal wakes: what waits in C goes on until that returns."""
    use(Wrong, seconds=0.1)
    waits = threading.Event()

    def hangs(jobs: Any, call_next: Any) -> None:
        waits.wait(0.5)
        _spins(call_next)

    Wrong.enqueues = staticmethod(hangs)
    (ids,) = at_once(lambda: job_scheduler.enqueue_many([Work(1), Work(2)]))
    assert "Wrong did not end within its 0.1 s, and was broken off" in caplog.text
    drain()
    assert [record(job_id).result for job_id in ids] == [1, 2]


def test_an_async_one_that_hangs_is_broken_off_before_and_after(use: Any) -> None:
    use(Outer, Wrong, seconds=0.05)

    async def before(call_next: Any) -> None:
        await asyncio.sleep(60)

    async def after(call_next: Any) -> None:
        await call_next()
        await asyncio.sleep(60)

    for does in (before, after):
        Wrong.aruns = staticmethod(does)
        job_id = job_scheduler.enqueue(Coroutine())
        assert run_on_a_loop(job_id).result == "async"
        assert "Wrong did not end within its 0.05 s, and was broken off" in log_of(job_id)


def test_the_time_of_the_handler_is_its_own(use: Any) -> None:
    use(Outer, seconds=1.0)

    @dataclass(frozen=True)
    class Slow(Job):
        pass

    @handles(Slow)
    def slow(job: Slow) -> None:
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            time.sleep(0.001)

    job_id = job_scheduler.enqueue(Slow())
    run(job_id)
    assert record(job_id).state == "succeeded"
    assert log_of(job_id) == ""


def test_what_is_thrown_never_comes_to_the_handler(use: Any) -> None:
    """Parts that end just as their time does: whatever is thrown then is taken back."""
    use(Wrong, seconds=0.01)
    came: list[BaseException] = []

    def last_moment(call_next: Any) -> None:
        until = time.monotonic() + 0.0195
        while time.monotonic() < until:
            pass
        call_next()

    @dataclass(frozen=True)
    class Short(Job):
        pass

    @handles(Short)
    def short(job: Short) -> None:
        try:
            for _ in range(2_000):
                pass
        except BaseException as error:
            came.append(error)
            raise

    Wrong.runs = staticmethod(last_moment)
    ids = job_scheduler.enqueue_many([Short()] * 50)
    run(*ids)
    assert not came
    assert {record(job_id).state for job_id in ids} == {"succeeded"}


# --- the run's own end


def test_a_run_that_is_asked_to_stop_in_middleware_does_not_begin(use: Any) -> None:
    use(Wrong)

    def heeds(call_next: Any) -> None:
        token.raise_if_cancelled()

    Wrong.runs = staticmethod(heeds)
    job_id = job_scheduler.enqueue(Work(7))
    done.clear()
    [claimed] = claim(job_id)
    token = CancellationToken(job_id=job_id, attempt=1)
    token.cancel(CancelReason.STOPPING)
    move = perform(claimed, token)
    assert move is not None
    execution.settle([move], worker=WORKER)
    assert record(job_id).state == "enqueued"
    assert "handler" not in done


def test_a_cancelled_task_in_middleware_does_not_begin(use: Any) -> None:
    use(Wrong)
    waits = threading.Event()

    async def wait(call_next: Any) -> None:
        waits.set()
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.sleep(60)

    Wrong.aruns = staticmethod(wait)
    job_id = job_scheduler.enqueue(Coroutine())
    token = CancellationToken(job_id=job_id, attempt=1)
    token.cancel(CancelReason.STOPPING)
    assert run_on_a_loop(job_id, token).state == "enqueued"
    assert "handler" not in done


# --- wrong around an enqueue


def _one_less(jobs: list[JobRequest], call_next: Any) -> None:
    call_next(jobs[1:])


def _no_queue(jobs: list[JobRequest], call_next: Any) -> None:
    call_next([replace(job, queue="nowhere") for job in jobs])


def _no_json(jobs: list[JobRequest], call_next: Any) -> None:
    call_next([replace(job, context={"x": object()}) for job in jobs])


def _no_correlation(jobs: list[JobRequest], call_next: Any) -> None:
    call_next([replace(job, correlation="\x00") for job in jobs])


def _in_place(jobs: list[JobRequest], call_next: Any) -> None:
    for job in jobs:
        job.context["x"] = object()  # type: ignore[index]
    call_next(jobs)


def _other_arguments(jobs: list[JobRequest], call_next: Any) -> None:
    call_next([replace(job, payload={"number": 9}) for job in jobs])


@pytest.mark.parametrize(
    "does",
    [
        _one_less, _no_queue, _no_json, _other_arguments, _no_correlation, _in_place,
        lambda jobs, call_next: _raises(None),
        lambda jobs, call_next: _raises_after(lambda: call_next(jobs)),
        lambda jobs, call_next: _twice(lambda: call_next(jobs)),
        lambda jobs, call_next: None,
    ],
)  # fmt: skip
def test_what_one_does_wrong_around_an_enqueue_is_left_out_and_logged(
    use: Any, does: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use(Outer, Wrong)
    Wrong.enqueues = staticmethod(does)
    ids = job_scheduler.enqueue_many([Work(1), Work(2)])
    assert JobRecord.objects.count() == 2
    assert [record(job_id).payload for job_id in ids] == [{"number": 1}, {"number": 2}]
    assert "middleware tests.integration.test_hooks.Wrong " in caplog.text


def test_what_the_database_raises_is_the_caller_s(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(Wrong)
    Wrong.enqueues = staticmethod(lambda jobs, call_next: _swallows(lambda: call_next(jobs)))

    def refuse(*_: Any) -> Any:
        raise IntegrityError

    monkeypatch.setattr("handlers.lifecycle.creation._create_all", refuse)
    with pytest.raises(IntegrityError):
        job_scheduler.enqueue(Work())


# --- what is named


class Async(JobMiddleware):
    async def run(self, run: Run, call_next: Any) -> Any:
        return call_next()


class Unmade:
    def __init__(self) -> None:
        raise ValueError("no")


class Empty:
    pass


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nowhere.Middleware", "'nowhere.Middleware' cannot be made: ModuleNotFoundError"),
        (f"{__name__}.Unmade", "cannot be made: ValueError: no"),
        (f"{__name__}.Empty", "has none of enqueue, run and arun"),
        (f"{__name__}.Async", "run must not be async def"),
    ],
)
def test_what_cannot_be_middleware_is_a_finding_of_the_checks_and_harms_nobody(
    settings: Any, path: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.JOBS = settings.JOBS | {"MIDDLEWARE": [path, f"{__name__}.Inner"]}
    [finding] = [each for each in check_jobs(None) if each.id == "jobs.E023"]
    assert says in finding.msg
    job_id = job_scheduler.enqueue(Work(7))
    run(job_id)
    assert done == ["inner before", "handler"]
    assert says in caplog.text
    chain._forget(setting="JOBS")


# --- a call_next that outlives the middleware


@pytest.mark.parametrize("is_async", [False, True])
def test_one_that_calls_later_what_it_should_have_called_calls_nothing(use: Any, is_async: bool) -> None:
    use(Wrong)
    kept: list[Any] = []
    Wrong.enqueues = staticmethod(lambda jobs, call_next: kept.append(lambda: call_next(jobs)))
    Wrong.runs = staticmethod(kept.append)

    async def later(call_next: Any) -> None:
        kept.append(asyncio.ensure_future(call_next()))

    Wrong.aruns = staticmethod(later)
    job_id = job_scheduler.enqueue(Coroutine() if is_async else Work(7))
    row = run_on_a_loop(job_id) if is_async else (run(job_id), record(job_id))[1]
    assert (row.state, row.result) == ("succeeded", "async" if is_async else 7)
    assert len(kept) == 2
    for late in kept:
        if callable(late):
            with pytest.raises(RuntimeError, match="too late"):
                late()
    assert done.count("handler") == 1
    assert JobRecord.objects.filter(job_type__in=[row.job_type]).count() == 1


def test_one_that_does_not_wait_for_the_handler_has_it_waited_for(use: Any) -> None:
    use(Wrong)
    tasks: list[Any] = []

    async def leave(call_next: Any) -> None:
        tasks.append(asyncio.ensure_future(call_next()))
        await asyncio.sleep(0)

    Wrong.aruns = staticmethod(leave)
    row = run_on_a_loop(job_scheduler.enqueue(Coroutine()))
    assert (row.state, row.result, done.count("handler")) == ("succeeded", "async", 1)

    handled, may_end = threading.Event(), threading.Event()

    @handles(Slow)
    def slow(job: Slow) -> str:
        handled.set()
        may_end.wait(60)
        return "in a thread"

    def leave_a_thread(call_next: Any) -> None:
        threading.Thread(target=call_next).start()
        handled.wait(60)
        threading.Timer(0.05, may_end.set).start()

    Wrong.runs = staticmethod(leave_a_thread)
    job_id = job_scheduler.enqueue(Slow())
    run(job_id)
    assert (record(job_id).state, record(job_id).result) == ("succeeded", "in a thread")


def test_one_is_not_called_for_what_it_enqueues_itself(use: Any) -> None:
    use(Outer, Wrong)

    def notes(jobs: list[JobRequest], call_next: Any) -> None:
        call_next(jobs)
        job_scheduler.enqueue(Coroutine())

    Wrong.enqueues = staticmethod(notes)
    job_scheduler.enqueue(Work(7))
    assert list(JobRecord.objects.order_by("pk").values_list("job_type", flat=True)) == [
        "tests.Work",
        "tests.Coroutine",
    ]
    assert [each[1] for each in done if each[0] == "outer enqueue"] == [[{"number": 7}]]


def test_where_no_thread_can_be_started_hooks_harm_nothing(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    use(Outer)
    monkeypatch.setattr(deadline, "_watch", deadline._Watch())
    monkeypatch.setattr(threading.Thread, "start", start)
    job_id = job_scheduler.enqueue(Work(7))
    run(job_id)
    assert (record(job_id).state, done.count("handler"), done.count("outer after")) == ("succeeded", 1, 1)
