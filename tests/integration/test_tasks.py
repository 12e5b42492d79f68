"""Django's Tasks as durable jobs: what Django's own tests ask of a backend, and what this one adds."""

from __future__ import annotations

import dataclasses
import pickle
from collections import UserDict, UserList
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from django.utils.module_loading import import_string

from handlers import InvalidJob, Limit, RetryPolicy, Unique, fleet, job_scheduler, recovery
from handlers.exceptions import WorkerLost
from handlers.models import JobPayload, JobRecord, KnownTypes, WorkerProcess
from handlers.registry import registry
from handlers.tasks import DurableBackend, as_job
from handlers.tasks import task as own_task
from handlers.tasks.families import family, native
from tests.running import NotingTransport, claim, drain, expire, make_due, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

examples: Any = import_module("tests.app.tasks")  # of what tasks take here, Django's hints know nothing
FAMILY = native()
import_module(f"{FAMILY.name}.signals")  # which hears that a test sets TASKS
READY, RUNNING, SUCCESSFUL, FAILED = (FAMILY.status[name] for name in ("READY", "RUNNING", "SUCCESSFUL", "FAILED"))
DURABLE = "handlers.tasks.DurableBackend"
task = import_string(f"{FAMILY.name}.task")
NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)


class OneStr(StrEnum):
    ONE = "one"


class OneInt(IntEnum):
    ONE = 1


def backend() -> Any:
    return FAMILY.backends["default"]


@contextmanager
def heard(name: str) -> Iterator[list[Any]]:
    """What a signal tells, as it is at that moment."""
    signal, told = getattr(FAMILY.signals, name), []

    def hear(sender: Any, task_result: Any, **_: Any) -> None:
        told.append((sender, dataclasses.replace(task_result, errors=[*task_result.errors])))

    signal.connect(hear)
    try:
        yield told
    finally:
        signal.disconnect(hear)


# --- as Django's own tests have it


def test_backend_is_the_one_that_is_set() -> None:
    assert isinstance(backend(), DurableBackend)
    assert isinstance(backend(), FAMILY.backend)
    assert isinstance(examples.noop, FAMILY.task)
    assert isinstance(examples.noop, backend().task_class)
    can = ("defer", "async_task", "get_result", "priority", "metadata")
    assert [getattr(backend(), f"supports_{what}") for what in can] == [True] * 5


@pytest.mark.parametrize("which", ["noop", "noop_async"])
def test_enqueue_makes_a_job_that_is_ready(which: str) -> None:
    asked = getattr(examples, which)
    result = asked.enqueue(1, two=3)
    assert (result.status, result.is_finished, result.attempts) == (READY, False, 0)
    assert (result.args, result.kwargs, result.task, result.backend) == ([1], {"two": 3}, asked, "default")
    assert result.started_at is result.last_attempted_at is result.finished_at is None
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value
    job = record(int(result.id))
    assert (job.job_type, job.queue, job.payload) == (asked.module_path, "default", {"args": [1], "kwargs": {"two": 3}})
    assert asked.get_result(result.id) == result


def test_aenqueue_and_aget_result() -> None:
    async_to_sync(ask_asynchronously)()


async def ask_asynchronously() -> None:
    result = await examples.noop_async.aenqueue(1)
    assert await examples.noop_async.aget_result(result.id) == result
    assert (await backend().aget_result(result.id)).args == [1]
    original = dataclasses.asdict(result)
    await result.arefresh()
    assert dataclasses.asdict(result) == original
    with pytest.raises(FAMILY.does_not_exist):
        await examples.noop_async.aget_result("123456789")


def test_refresh_changes_nothing_that_has_not_changed() -> None:
    result = examples.noop.using(priority=3).enqueue([1], a={"b": (2,)})
    original = dataclasses.asdict(result)
    result.refresh()
    assert dataclasses.asdict(result) == original


@pytest.mark.parametrize("which", ["noop", "noop_async"])
def test_success_is_told_in_the_result(which: str) -> None:
    result = getattr(examples, which).enqueue()
    drain()
    result.refresh()
    assert (result.status, result.is_finished, result.attempts, result.errors) == (SUCCESSFUL, True, 1, [])
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert result.return_value is None
    assert result.worker_ids == ["host-1.17.0"]


def test_return_value_is_kept() -> None:
    result = examples.meaning.enqueue()
    drain()
    assert backend().get_result(result.id).return_value == 42


@pytest.mark.parametrize(("which", "error"), [("fail", ValueError), ("fail_async", KeyError), ("leave", SystemExit)])
def test_failure_is_told_with_its_traceback(which: str, error: type[BaseException]) -> None:
    result = getattr(examples, which).enqueue()
    drain()
    result.refresh()
    assert (result.status, result.is_finished, result.attempts) == (FAILED, True, 1)
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    [told] = result.errors
    assert told.exception_class is error
    assert told.traceback.startswith("Traceback")
    assert f"in {which}" in told.traceback
    assert error.__name__ in told.traceback.splitlines()[-1]
    assert result.finished_at >= result.started_at


def test_result_of_nothing_and_of_other_jobs_does_not_exist() -> None:
    for result_id in ("123", "abc", "", "-1", "9" * 40, None):
        with pytest.raises(FAMILY.does_not_exist):
            backend().get_result(result_id)
    from tests.app.jobs import Note

    with pytest.raises(FAMILY.does_not_exist):
        backend().get_result(str(job_scheduler.enqueue(Note("no task"))))


@pytest.mark.parametrize("data", [[1], {"args": [1], "options": []}])
def test_result_is_told_whatever_somebody_wrote_into_the_table(data: Any) -> None:
    result = examples.noop.enqueue()
    JobPayload.objects.filter(pk=int(result.id)).update(data=data)
    assert backend().get_result(result.id).status == READY


def test_error_of_a_killed_worker_has_a_class() -> None:
    result = examples.noop.enqueue()
    while record(int(result.id)).state == "enqueued":
        claim(int(result.id))
        expire(int(result.id))
        recovery.bring_back()
    result.refresh()
    assert result.status == FAILED
    assert issubclass(result.errors[0].exception_class, WorkerLost)


def test_result_of_another_task_does_not_match() -> None:
    result = examples.noop.enqueue()
    mismatch = import_string(f"{FAMILY.name}.exceptions.TaskResultMismatch")
    with pytest.raises(mismatch, match="Task does not match"):
        examples.meaning.get_result(result.id)


def test_result_and_task_can_be_pickled() -> None:
    changed = examples.declared.using(priority=1, metadata={"a": 1})
    assert pickle.loads(pickle.dumps(changed)) == changed  # noqa: S301 - our own
    result = examples.noop.enqueue()
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301 - our own


def test_signals_tell_of_each_step() -> None:
    with heard("task_enqueued") as enqueued, heard("task_started") as started, heard("task_finished") as finished:
        result = examples.meaning.enqueue()
        [(sender, told)] = enqueued
        assert (sender, told) == (DurableBackend, result)
        drain()
    [(_, begun)], [(_, ended)] = started, finished
    assert (begun.status, begun.id, begun.attempts, begun.enqueued_at) == (RUNNING, result.id, 1, result.enqueued_at)
    assert (ended.status, ended.finished_at >= ended.started_at) == (SUCCESSFUL, True)


def test_finished_is_told_when_it_has_ended_and_not_before_a_retry() -> None:
    result = examples.third_time.enqueue(until=9)
    with heard("task_finished") as finished:
        for _ in range(2):
            run(int(result.id))
            assert (finished, examples.third_time.get_result(result.id).status) == ([], READY)
            make_due(int(result.id))
        run(int(result.id))
    [(_, told)] = finished
    assert (told.status, told.attempts) == (FAILED, 3)
    assert [error.exception_class for error in told.errors] == [ConnectionError] * 3


def test_a_receivers_error_changes_nothing() -> None:
    def raises(**_: Any) -> None:
        raise RuntimeError("from a receiver")

    names = ("task_enqueued", "task_started", "task_finished")
    for name in names:
        getattr(FAMILY.signals, name).connect(raises)
    try:
        result = examples.meaning.enqueue()
        drain()
    finally:
        for name in names:
            getattr(FAMILY.signals, name).disconnect(raises)
    assert backend().get_result(result.id).return_value == 42


def test_logs_of_the_signals_are_no_part_of_what_the_job_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger=FAMILY.name):
        result = examples.meaning.enqueue()
        drain()
    assert [line.getMessage().rpartition(" ")[2] for line in caplog.records if line.name == FAMILY.name] == [
        "backend=default", "state=RUNNING", "state=SUCCESSFUL",
    ]  # fmt: skip
    assert not record(int(result.id)).logs.exists()


def test_own_decorator_makes_the_task_that_djangos_makes() -> None:
    assert own_task(examples.noop.func) == examples.noop
    hang = own_task(max_attempts=2, timeout=timedelta(seconds=1), backoff=timedelta(seconds=0.1))(examples.hang.func)
    assert hang == examples.hang
    with pytest.raises(FAMILY.invalid):
        own_task(max_attempts=0)(examples.noop.func)


def test_context_tells_of_the_run() -> None:
    result = examples.look_around.enqueue("here")
    drain()
    result.refresh()
    assert result.return_value == {"id": result.id, "status": "RUNNING", "cancelled": False}
    assert result.metadata == {"seen": ["here"]}


def test_task_that_cannot_be_one_is_refused_in_djangos_words() -> None:
    with pytest.raises(FAMILY.invalid, match="Task function must be defined at a module level"):
        task()(lambda: None)
    with pytest.raises(FAMILY.invalid, match="does not have a first argument of 'context'"):
        task(takes_context=True)(examples.meaning.func)
    for priority in (-101, 101, 3.1):
        with pytest.raises(FAMILY.invalid, match="priority must be a whole number between -100 and 100"):
            examples.noop.using(priority=priority)
    with pytest.raises(FAMILY.invalid, match="run_after must be an aware datetime"):
        examples.noop.using(run_after=datetime(2031, 5, 1))  # noqa: DTZ001 - it is what is refused


@override_settings(TASKS={"default": {"BACKEND": DURABLE, "QUEUES": ["default", "low"]}})
def test_queues_are_those_that_are_named() -> None:
    assert examples.noop.using(queue_name="low").enqueue().task.queue_name == "low"
    with pytest.raises(FAMILY.invalid, match="Queue 'elsewhere' is not valid for backend"):
        examples.noop.using(queue_name="elsewhere")


def test_queues_are_looked_at_again_when_a_task_is_enqueued() -> None:
    elsewhere = examples.noop.using(queue_name="elsewhere")
    only = {"default": {"BACKEND": DURABLE}}
    refused = pytest.raises(FAMILY.invalid, match="Queue 'elsewhere' is not valid for backend")
    with override_settings(TASKS=only), refused:
        elsewhere.enqueue()


def test_any_queue_will_do_where_none_is_named() -> None:
    result = examples.noop.using(queue_name="elsewhere").enqueue()
    assert record(int(result.id)).queue == "elsewhere"
    with pytest.raises(FAMILY.invalid, match="'Else where' is no queue name"):
        examples.noop.using(queue_name="Else where")


# --- what a durable job is


def test_the_job_belongs_to_the_callers_transaction(noting: NotingTransport) -> None:
    with transaction.atomic():
        examples.noop.enqueue()
        transaction.set_rollback(True)
    assert not JobRecord.objects.exists()
    with transaction.atomic():
        result = examples.noop.enqueue()
        assert not noting.published
    assert noting.ids == [[int(result.id)]]


def test_run_after_schedules() -> None:
    later = timezone.now() + timedelta(hours=1)
    result = examples.noop.using(run_after=later).enqueue()
    job = record(int(result.id))
    assert (job.state, job.run_at) == ("scheduled", later)
    assert examples.noop.get_result(result.id) == result


def test_priority_and_queue_go_with_the_job() -> None:
    job = record(int(examples.declared.enqueue().id))
    assert (job.priority, job.queue) == (7, "mail")
    job = record(int(examples.declared.using(priority=-5, queue_name="low").enqueue().id))
    assert (job.priority, job.queue) == (-5, "low")


@pytest.mark.parametrize(
    ("value", "place", "why"),
    [
        (datetime(2031, 5, 1, tzinfo=UTC), "args.0", "Unsupported type"), (float("nan"), "args.0", "NaN"),
        ({1: 2}, "args.0", "keys must be text"), ("a\0b", "args.0", "NUL"), ("\ud800", "args.0", "surrogate"),
        ([{"deep": [b"\xff"]}], "args.0.0.deep.0", "Unsupported value"), (float("-inf"), "args.0", "infinity"),
    ],
)  # fmt: skip
def test_argument_that_no_json_has_is_refused(value: Any, place: str, why: str) -> None:
    with pytest.raises(InvalidJob, match=why) as caught:
        examples.noop.enqueue(value)
    assert isinstance(caught.value, TypeError)
    assert caught.value.field == place
    assert not JobRecord.objects.exists()


def test_arguments_are_normalised_as_django_does() -> None:
    result = examples.noop.enqueue((1, 2), b"text", key={"a": ("b",)})
    assert (result.args, result.kwargs) == ([[1, 2], "text"], {"key": {"a": ["b"]}})
    assert record(int(result.id)).payload == {"args": [[1, 2], "text"], "kwargs": {"key": {"a": ["b"]}}}


def test_arguments_are_stored_as_pythons_json_has_them() -> None:
    given: list[Any] = [
        2**64, -(10**30), 1e-07, 5e-324, 1e22, 0.1, True, None, OneStr.ONE, OneInt.ONE,
        'é\u2028\x7f\x01"\\', UserDict({"k": (UserList([1]), range(2))}), {OneStr.ONE: {}},
    ]  # fmt: skip
    stored: list[Any] = [
        2**64, -(10**30), 1e-07, 5e-324, 1e22, 0.1, True, None, "one", 1,
        'é\u2028\x7f\x01"\\', {"k": [[1], [0, 1]]}, {"one": {}},
    ]  # fmt: skip
    result = examples.echo.enqueue(given)
    assert record(int(result.id)).payload == {"args": [stored], "kwargs": {}}


@override_settings(JOBS={"MAX_PAYLOAD_BYTES": 1_000})
def test_too_many_arguments_are_refused() -> None:
    with pytest.raises(InvalidJob, match="more than the limit of 1,000"):
        examples.noop.enqueue("x" * 1_000)


def test_number_that_python_does_not_write_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"args.0.a: a number of more than 4,300 digits"):
        examples.echo.enqueue({"a": 10**5_000})
    assert examples.echo.enqueue(-(10**4_000)).args == [-(10**4_000)]
    assert JobRecord.objects.count() == 1


@pytest.mark.parametrize("kind", ["set", "nan", "key", "nul"])
def test_result_that_no_json_has_fails_the_task_for_good(kind: str) -> None:
    result = examples.unstorable.using(max_attempts=5).enqueue(kind)
    drain()
    result.refresh()
    assert (result.status, result.attempts) == (FAILED, 1)  # it has run, and would return the like again
    assert issubclass(result.errors[0].exception_class, TypeError)
    assert "result" in result.errors[0].traceback


def test_plain_task_is_tried_once_and_retried_by_hand() -> None:
    result = examples.fail.enqueue()
    run(int(result.id))
    assert backend().get_result(result.id).status == FAILED
    assert job_scheduler.retry(result.id, {"args": ["edited"], "kwargs": {}}, by="someone")
    assert backend().get_result(result.id).status == READY
    run(int(result.id))
    found = backend().get_result(result.id)
    assert (found.args, len(found.errors), found.attempts) == (["edited"], 2, 2)
    assert "ValueError: edited" in found.errors[1].traceback


@pytest.mark.parametrize(
    ("payload", "field"),
    [([], ""), ({"args": {}}, "args"), ({"kwargs": []}, "kwargs"), ({"other": 1}, "other"),
     ({"args": ["\0"]}, "args.0"), ({"options": {"max_attempts": 0}}, "max_attempts"),
     ({"options": {"colour": 1}}, "options"), ({"options": {"backoff": "never"}}, "options.backoff"),
     ({"options": {"timeout_seconds": -1}}, "timeout")],
)  # fmt: skip
def test_edited_arguments_are_checked(payload: Any, field: str) -> None:
    result = examples.fail.enqueue()
    run(int(result.id))
    with pytest.raises(InvalidJob) as caught:
        job_scheduler.retry(result.id, payload)
    assert caught.value.field == field


def test_attempts_are_told_one_by_one() -> None:
    result = examples.third_time.enqueue()
    for _ in range(2):
        run(int(result.id))
        make_due(int(result.id))
    run(int(result.id))
    result.refresh()
    assert (result.status, result.attempts, result.worker_ids) == (SUCCESSFUL, 3, ["host-1.17.0"] * 3)
    assert result.return_value == [3, result.id, 2]
    assert [error.traceback.splitlines()[-1] for error in result.errors] == [
        "ConnectionError: attempt 1 fails", "ConnectionError: attempt 2 fails",
    ]  # fmt: skip
    assert result.started_at < result.last_attempted_at
    assert result.metadata == {"attempts": 3}


def test_give_up_ends_the_retries() -> None:
    result = examples.give_up.using(max_attempts=5).enqueue()
    run(int(result.id))
    assert backend().get_result(result.id).status == FAILED


def test_requeued_and_deleted_tasks_are_told_as_django_can() -> None:
    result = examples.meaning.enqueue()
    drain()
    assert job_scheduler.requeue(result.id)
    assert backend().get_result(result.id).status == READY
    assert job_scheduler.delete(result.id)
    assert (backend().get_result(result.id).status, backend().get_result(result.id).is_finished) == (FAILED, True)


# --- what a task may say beyond Django's own


def test_options_of_the_decorator_are_its_types() -> None:
    declared = registry.get("tests.app.tasks.declared")
    assert (declared.retry.max_attempts, declared.retry.give_up_on, declared.queue) == (5, (KeyError,), "mail")
    single = registry.get("tests.app.tasks.once_for_each")
    assert (single.timeout, single.unique) == (timedelta(seconds=60), Unique(key=("order_id",)))
    assert [limit.name for limit in single.limits] == ["task-orders"]
    assert single.keys_of({"args": [5], "kwargs": {}}) == [("task-orders", "5")]
    assert registry.get("tests.app.tasks.noop").retry.max_attempts == 1
    assert declared.doc == "What says much of itself."


def test_options_of_using_go_with_the_job() -> None:
    patient = examples.fail.using(max_attempts=3, backoff=timedelta(seconds=90), timeout=7, metadata={"trace": 1})
    result = patient.enqueue()
    assert record(int(result.id)).payload["options"] == {
        "metadata": {"trace": 1}, "max_attempts": 3, "backoff": "fixed", "delay_seconds": 90.0,
        "max_delay_seconds": None, "jitter": 0.2, "on_exhausted": "fail", "timeout_seconds": 7.0,
    }  # fmt: skip
    assert result.metadata == {"trace": 1}
    run(int(result.id))
    job = record(int(result.id))
    assert (job.state, job.failures) == ("scheduled", 1)
    assert job.run_at is not None
    assert 70 < (job.run_at - timezone.now()).total_seconds() <= 90
    assert examples.fail.max_attempts is None


def test_timeout_of_using_is_the_attempts() -> None:
    from handlers import execution
    from tests.running import claim

    ids = [int(examples.noop.using(timeout=7).enqueue().id), int(examples.hang.enqueue().id)]
    assert [execution.timeout_of(each) for each in claim(*ids)] == [7.0, 1.0]


def test_unique_names_parameters_however_they_are_given() -> None:
    first = examples.once_for_each.enqueue(5)
    with heard("task_enqueued") as enqueued:
        again = examples.once_for_each.enqueue(order_id=5, note="by name")
    assert (again.id, again.args, enqueued) == (first.id, [5], [])
    assert examples.once_for_each.enqueue(6).id != first.id
    assert examples.once_for_each.using(unique=False).enqueue(5).id != first.id
    other = examples.noop.using(unique=True)
    assert other.enqueue(1).id == other.enqueue(1).id != other.enqueue(2).id


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"max_attempts": 0}, "max_attempts"), ({"backoff": 5}, "backoff"), ({"retry": "yes"}, "retry"),
        ({"timeout": -1}, "timeout"), ({"unique": "yes"}, "unique"), ({"unique": Unique(key=("colour",))}, "no field"),
        ({"limit": Limit("others", concurrency=1)}, "limit: belongs to the task"),
        ({"retry": RetryPolicy(give_up_on=(KeyError,))}, "which errors are retried belongs to the task"),
        ({"metadata": [1]}, "metadata must be a dict"), ({"metadata": {1: 2}}, "metadata keys must be strings"),
        ({"metadata": {"a": object()}}, "metadata must be JSON-serializable"),
    ],
)  # fmt: skip
def test_option_that_does_not_fit_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(FAMILY.invalid, match=why):
        examples.meaning.using(**options)


@pytest.mark.parametrize("seconds", [10**30, 1e300, float("inf"), float("nan"), 0, -1])
def test_timeout_that_no_clock_has_is_refused(seconds: float) -> None:
    with pytest.raises(FAMILY.invalid, match="timeout: must be a timedelta or seconds"):
        examples.hang.using(timeout=seconds)
    if seconds == seconds and abs(seconds) < float("inf"):
        stored = {"args": [], "kwargs": {}, "options": {"timeout_seconds": seconds}}
        with pytest.raises(InvalidJob, match="timeout: must be"):
            registry.get(examples.hang.module_path).decode(stored)


def test_using_leaves_the_task_as_it_was() -> None:
    assert examples.declared.using() == examples.declared
    assert examples.declared.using(priority=1).metadata == {"team": "mail"}
    assert examples.declared.using(metadata={}).metadata == {}
    assert hash(examples.declared.using(metadata={"a": 1})) == hash(examples.declared)


def test_enqueue_many_is_all_or_nothing() -> None:
    results = examples.echo.enqueue_many([(1,), {"value": 2}, [3]])
    assert [(result.args, result.kwargs) for result in results] == [([1], {}), ([], {"value": 2}), ([3], {})]
    drain()
    assert [backend().get_result(result.id).return_value for result in results] == [1, 2, 3]
    with pytest.raises(InvalidJob):
        examples.echo.enqueue_many([(1,), (object(),)])
    later = examples.echo.using(run_after=NOW).enqueue_many([(1,), (2,)])
    assert {record(int(result.id)).state for result in later} == {"scheduled"}
    assert JobRecord.objects.count() == 5


def test_as_job_is_whatever_takes_a_job() -> None:
    job_id = job_scheduler.enqueue(as_job(examples.echo, "from a job", key=1), delay=timedelta(hours=1))
    assert record(job_id).payload == {"args": ["from a job"], "kwargs": {"key": 1}}
    for nothing in (examples.no_task, "tests.app.tasks.echo", None):
        with pytest.raises(InvalidJob, match="must be a task"):
            as_job(nothing)


@override_settings(TASKS={"default": {"BACKEND": DURABLE, "OPTIONS": {"max_attempts": 4, "timeout": 9}}})
def test_options_of_the_backend_are_for_tasks_that_say_nothing() -> None:
    with registry.isolated():
        from handlers.tasks import task_types

        before = dict(task_types._declared)
        task_types._declared.clear()
        try:
            plain, own = examples.noop.using(), examples.hang.using()
            assert registry.get(plain.module_path).retry == RetryPolicy(max_attempts=4)
            assert registry.get(plain.module_path).timeout == timedelta(seconds=9)
            assert registry.get(own.module_path).retry.max_attempts == 2
        finally:
            task_types._declared.update(before)


def test_options_of_another_backend_hold_for_what_goes_there() -> None:
    more = {"BACKEND": DURABLE, "OPTIONS": {"max_attempts": 5, "timeout": 9}}
    with override_settings(TASKS={"default": {"BACKEND": DURABLE}, "more": more}):
        there = examples.fail.using(backend="more").enqueue()
        says = examples.hang.using(backend="more").enqueue()
        here = examples.fail.using(priority=1).enqueue()
        assert run(int(there.id), int(here.id))
        assert [record(int(each.id)).state for each in (there, here)] == ["scheduled", "failed"]
        job_type = registry.get(examples.fail.module_path)
        payload = job_type.encode(job_type.decode(record(int(there.id)).payload))
        assert job_type.timeout_of(payload) == timedelta(seconds=9)
        assert record(int(says.id)).payload["options"] == {"backend": "more"}


def test_check_says_what_would_fail_later() -> None:
    settings = {"default": {"BACKEND": DURABLE, "QUEUES": ["Loud"], "OPTIONS": {"max_attempts": 0, "tries": 1}}}
    with override_settings(TASKS=settings):
        said = {(message.id, str(message.msg)) for message in backend().check()}
    assert {number for number, _ in said} == {"jobs.E031", "jobs.E032"}
    assert any("unknown key tries" in text for _, text in said)
    assert any("max_attempts must be a whole number" in text for _, text in said)
    assert not list(backend().check())


# --- the package, also beside Django's own


def by_the_package(name: str = "") -> str:
    """A task of the package."""
    return f"by the package {name}"


def test_tasks_of_the_package_are_the_packages() -> None:
    package = family("django_tasks")
    assert isinstance(package.backends["default"], DurableBackend)
    asked = import_module("django_tasks").task(max_attempts=2)(by_the_package)
    told: list[str] = []

    def hear(task_result: Any, **_: Any) -> None:
        told.append(task_result.id)

    package.signals.task_finished.connect(hear)
    try:
        result = asked.enqueue(name="here")
        drain()
    finally:
        package.signals.task_finished.disconnect(hear)
    found = asked.get_result(result.id)
    assert (found.return_value, found.status) == ("by the package here", package.status.SUCCESSFUL)
    assert told == [result.id]
    assert isinstance(asked, package.task)
    assert isinstance(found, package.result)
    with pytest.raises(package.does_not_exist):
        asked.get_result("123")
    with pytest.raises(package.invalid, match="priority"):
        asked.using(priority=500)
    with pytest.raises(package.invalid, match="max_attempts"):
        asked.using(max_attempts=0)


# --- who is found by a job's type, and who is not


def forgotten(path: str) -> Any:
    """The type of this name as a process finds it that knows no task yet."""
    with registry.isolated():
        for known in registry.all():
            if known.name == path:
                registry._forget(known)
        registry._sought.clear()
        return registry.find(path)


def test_task_is_found_by_its_path() -> None:
    from handlers.tasks import task_types

    known = task_types._declared.pop("tests.app.tasks.echo")
    try:
        assert forgotten("tests.app.tasks.echo").task is examples.echo
    finally:
        task_types._declared["tests.app.tasks.echo"] = known


def test_a_task_that_workers_find_is_not_said_to_wait_for_nobody() -> None:
    now = timezone.now()
    row = WorkerProcess(name="w", kind="worker", host="h", pid=1, queues=["default"], started_at=now, heartbeat_at=now)
    row.types = "0" * 16
    fleet.beat([row], KnownTypes(digest="0" * 16, names={}))
    lacking = fleet.unservable_types()
    assert "app.Note" in lacking
    assert "tests.app.tasks.noop" not in lacking


def test_task_of_another_name_than_its_function_runs() -> None:
    result = examples.renamed.enqueue()
    drain()
    assert backend().get_result(result.id).return_value == "found"


@pytest.mark.parametrize(
    "path",
    ["tests.app.tasks.no_task", "os.system", "tests.app.tasks.task", "builtins.print", "nowhere.at.all", "x", ".x"],
)
def test_what_is_no_task_is_never_called(path: str) -> None:
    from handlers import NoHandler

    with pytest.raises(NoHandler):
        registry.find(path)
    result = examples.noop.enqueue()
    JobRecord.objects.filter(pk=result.id).update(job_type=path)
    run(int(result.id))
    assert record(int(result.id)).state == "enqueued"  # it waits for a worker that has a handler
    with pytest.raises(FAMILY.does_not_exist):
        backend().get_result(result.id)


def test_task_of_another_backend_comes_by_using() -> None:
    plain = {"default": {"BACKEND": f"{FAMILY.name}.backends.dummy.DummyBackend"}, "kept": {"BACKEND": DURABLE}}
    with override_settings(TASKS=plain):
        usual = {"priority": 0, "queue_name": "default", "backend": "default", "run_after": None}
        other = FAMILY.task(func=examples.meaning.func, **usual)
        assert not hasattr(other, "max_attempts")
        result = other.using(backend="kept").enqueue()
        drain()
        found = FAMILY.backends["kept"].get_result(result.id)
        assert (found.return_value, found.backend, result.backend) == (42, "kept", "kept")
