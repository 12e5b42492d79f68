"""What callers get wrong is refused in words that name the argument and the mend, and leaves nothing half written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from handlers import (
    CancellationToken,
    DuplicateJob,
    EnqueueJobCommand,
    Event,
    InvalidJob,
    Job,
    NoHandler,
    ScheduleJobCommand,
    Unique,
    current_run,
    event_bus,
    handles_command,
    handles_many,
    job_scheduler,
    on_event,
    on_timeout,
    recurring,
)
from handlers.mail import EmailBackend
from handlers.models import AuditEntry, EventRecord, JobRecord, QueueSwitch, RecurringJob, Workflow
from handlers.registry import registry
from handlers.selection import Selection
from handlers.testing import run_due_jobs
from tests.app import tasks
from tests.app.jobs import Greet, Note

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

HOUR = timedelta(hours=1)
ANY: Any = Note("Ada")


@dataclass(frozen=True)
class Moved(Event):
    """Something was moved."""

    place: int


MOVED: Any = Moved(1)
NONE: Any = None
ALL = Selection.parse("state:failed")


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with registry.isolated():
        yield


def ends_with(**ends: Any) -> None:
    with job_scheduler.workflow(**ends) as flow:
        flow.enqueue(ANY)


def many_of_one() -> None:
    with job_scheduler.workflow() as flow:
        flow.enqueue_many(ANY)


def stranger() -> None:
    with job_scheduler.workflow() as one, job_scheduler.workflow() as other:
        other.enqueue(ANY, after=one.enqueue(ANY))


def ago() -> datetime:
    return timezone.now() - HOUR


def pause_for(until: Any) -> None:
    job_scheduler.pause_queue("default", until=until)


@pytest.mark.parametrize(
    ("call", "field", "words"),
    [
        (lambda: job_scheduler.enqueue_many(ANY), "jobs", "such as a list of jobs, not Note"),
        (lambda: event_bus.publish_many(MOVED), "events", "such as a list of events, not Moved"),
        (lambda: job_scheduler.delete_many("12"), "job_ids", "such as a list of the ids of jobs, not '12'"),
        (lambda: job_scheduler.retry_many(ANY), "job_ids", "such as a list of the ids of jobs, not Note"),
        (many_of_one, "jobs", "such as a list of jobs"),
        (stranger, "after", "follow its job with job_scheduler.continue_with"),
        (lambda: ends_with(on_end="report"), "on_end", "on_end: .*an instance of a Job or Command, not a str"),
        (lambda: ends_with(on_success=Note), "on_success", "not the class Note"),
        (lambda: job_scheduler.enqueue(MOVED), "job", r"not a Moved: event_bus\.publish\(event\)"),
        (lambda: event_bus.publish(cast_class(Moved)), "event", r"publish an instance, such as Moved\(\.\.\.\)"),
        (lambda: pause_for(HOUR), "until", "must be an aware datetime, not datetime.timedelta"),
        (lambda: pause_for(ago()), "until", "has passed: name a later time, or none"),
        (lambda: job_scheduler.pause_type(registry.for_object(ANY).name, until=ago()), "until", "has passed"),
        (lambda: job_scheduler.delete(1, by="ann", reason=NONE), "reason", "must be text, empty where there is none"),
        (lambda: job_scheduler.enqueue(ANY, by="ann", reason=NONE), "reason", "must be text"),
        (lambda: job_scheduler.pause_queue("default", reason=NONE), "reason", "must be text"),
        (lambda: job_scheduler.delete_many([1], expect=cast_any("token")), "expect", "a dict of tokens by the jobs'"),
        (lambda: job_scheduler.pause_type(cast_any([])), "type", "is not known"),
        (lambda: job_scheduler.start_bulk(cast_any([]), ALL), "verb", "must be one of retry"),
        (lambda: job_scheduler.start_bulk("retry", cast_any("state:failed")), "selection", r"Selection\.parse\('"),
        (lambda: job_scheduler.start_bulk("retry", ALL, count=-1), "count", "a whole number, 0 or more, not -1"),
        (lambda: job_scheduler.start_bulk("retry", ALL, count=cast_any(1.5)), "count", "a whole number, 0 or more"),
        (lambda: job_scheduler.ignore_group("a" * 16, until=cast_any(5)), "until", "an aware datetime, not 5"),
        (lambda: job_scheduler.assign_group("a" * 16, cast_any("ann")), "user", "must be a user, or None, not 'ann'"),
        (lambda: recurring("n", ANY, "@daily", timezone=cast_any(["UTC"])), "timezone", "is not known"),
        (lambda: ScheduleJobCommand(ANY, cast_any("tomorrow")), "at", "must be an aware datetime"),
        (lambda: CancellationToken(job_id=1, attempt=1).wait(cast_any("5")), "timeout", "seconds or a timedelta"),
        (lambda: EnqueueJobCommand(ANY, delay=5), "delay", "delay: must be a timedelta"),  # type: ignore[arg-type]
    ],
)
def test_call_that_cannot_be_right_names_the_argument_and_its_mend(
    call: Callable[[], object], field: str, words: str
) -> None:
    with pytest.raises(InvalidJob, match=words) as caught:
        call()
    assert caught.value.field == field
    for model in (JobRecord, EventRecord, QueueSwitch, AuditEntry):
        assert not model._default_manager.exists()


def cast_class(cls: type) -> Any:
    return cls


def cast_any(value: object) -> Any:
    return value


@pytest.mark.parametrize(
    ("declare", "field", "words"),
    [
        (lambda: on_event(cast_any(ends_with)), "event", r"such as @on_event\(OrderPlaced\), not <function"),
        (on_event, "event", "not none"),
        (lambda: on_event(Moved)(cast_any(5)), "function", r"put @on_event\(Moved\) above def told\(event\), not 5"),
        (
            lambda: on_event(Moved, name="app.more")(lambda event, token, run, more: None),
            "",
            r"must take \(event\), .*event, token, run",
        ),
        (lambda: handles_many(Note)(lambda jobs, token, more: None), "", r"must take \(jobs\) or \(jobs, token\)$"),
        (lambda: handles_command(Greet)(lambda: None), "", r"must take \(command\), \(command, token\), .*, run\)$"),
        (lambda: on_timeout(cast_any(ends_with)), "on_timeout", r'@on_timeout\("late"\)'),
    ],
)
def test_declaration_that_cannot_be_right_names_what_its_function_takes(
    declare: Callable[[], object], field: str, words: str
) -> None:
    with pytest.raises(InvalidJob, match=words) as caught:
        declare()
    assert caught.value.field == field


@pytest.mark.parametrize("verb", ["pause_bulk", "resume_bulk", "try_bulk", "stop_bulk"])
@pytest.mark.parametrize("operation", [None, "x", [], float("nan"), 2**70])
def test_what_is_no_id_is_no_bulk_operation(verb: str, operation: Any) -> None:
    assert getattr(job_scheduler, verb)(operation, by="ann") is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": 5}, "limit: must be a Limit, or a list of them, not 5"),
        ({"limit": [5]}, "limit: must be a Limit, or a list of them"),
        ({"priority": "high"}, "priority must be a whole number .*, not 'high'"),
        ({"run_after": "tomorrow"}, "run_after must be an aware datetime, not 'tomorrow'"),
    ],
)
def test_tasks_option_that_cannot_be_is_the_familys_own_error(options: dict[str, Any], words: str) -> None:
    with pytest.raises(type(ECHO.get_backend().family.invalid("")), match=words):
        ECHO.using(**options)


def test_job_at_the_calendars_end_does_not_run_now() -> None:
    job_scheduler.schedule(ANY, datetime.max.replace(tzinfo=UTC) - timedelta(microseconds=1))
    assert not run_due_jobs()


def test_pause_of_a_recurring_job_that_would_be_over_is_refused() -> None:
    job_scheduler.add_or_update_recurring("nightly", ANY, "@daily")
    with pytest.raises(InvalidJob, match=r"until: .* has passed: name a later time, or none"):
        job_scheduler.pause_recurring("nightly", until=ago())
    assert RecurringJob.objects.get().paused_at is None
    assert job_scheduler.pause_recurring("nightly", until=timezone.now() + HOUR)


def flow_many(*jobs: Any) -> None:
    with job_scheduler.workflow() as flow:
        flow.enqueue_many(jobs)


def follow(*parents: Any) -> None:
    with transaction.atomic():
        job_scheduler.continue_with([int(job_scheduler.enqueue(ANY)), *parents], ANY)


@dataclass(frozen=True)
class Undeclared(Job):
    """Nobody handles it."""


ECHO: Any = tasks.echo
WRONG: Any = Note(7)  # type: ignore[arg-type]
BARE, NOBODYS, ODD = EmailMessage("Hello", to=["ada@example.org"]), EmailMessage("Hello"), EmailMessage(to=["ada"])
ODD.when = object()  # type: ignore[attr-defined]
NUL = EmailMessage("Hello", "\0", to=["ada@example.org"])


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: job_scheduler.enqueue_many([ANY, ANY, WRONG]), "jobs.2.text"),
        (lambda: job_scheduler.enqueue_many([ANY, MOVED]), "jobs.1"),
        (lambda: job_scheduler.enqueue_many([ANY, Note("long" * 2_000)], unique=Unique()), "jobs.1.unique"),
        (lambda: event_bus.publish_many([MOVED, Moved("there")]), "events.1.place"),  # type: ignore[arg-type]
        (lambda: event_bus.publish_many([MOVED, ANY]), "events.1"),
        (lambda: flow_many(*[ANY] * 1_001, WRONG), "jobs.1001.text"),
        (lambda: follow("stranger"), "parent.1"),
        (lambda: follow(2**40), "parent.1"),
        (lambda: ECHO.enqueue_many([(1,), (object(),)]), "calls.1.args.0"),
        (lambda: ECHO.using(run_after=timezone.now()).enqueue_many([(1,), (object(),)]), "calls.1.args.0"),
        (lambda: ECHO.enqueue_many([(1,), 5]), "calls.1"),
        (lambda: ECHO.enqueue_many("ab"), "calls"),
        (lambda: EmailBackend().send_messages([BARE, NOBODYS, ODD, BARE]), "messages.2.when"),
        (lambda: EmailBackend().send_messages([BARE, NOBODYS, NUL]), "messages.2.body"),
    ],
)
def test_of_several_the_one_that_is_wrong_is_named(call: Callable[[], object], field: str) -> None:
    which = ".".join(field.split(".")[:2])
    with pytest.raises(InvalidJob, match=f"^{which}: ") as caught:
        call()
    assert caught.value.field == field
    for model in (EventRecord, Workflow, JobRecord):
        assert not model._default_manager.exists()


def test_of_several_the_one_that_nobody_handles_is_named_and_the_one_whose_key_is_held() -> None:
    with pytest.raises(NoHandler, match=r"^jobs\.1: no handler is registered for Undeclared"):
        job_scheduler.enqueue_many([ANY, Undeclared()])
    holder = job_scheduler.enqueue(ANY, unique=Unique())
    with pytest.raises(DuplicateJob, match=f"^jobs.2: unique: job {holder} holds") as caught:
        job_scheduler.enqueue_many([Note("1"), Note("2"), ANY], unique=Unique(on_conflict="error"))
    assert caught.value.place == 2
    assert JobRecord.objects.count() == 1


def test_rule_that_is_none_is_the_calls_fault_and_no_jobs() -> None:
    with pytest.raises(InvalidJob, match=r"^unique: must be a Unique") as caught:
        job_scheduler.enqueue_many([ANY, ANY], unique=cast_class(Unique))
    assert caught.value.field == "unique"


def test_workflow_to_which_many_were_added_in_part_is_not_made() -> None:
    def swallow() -> None:
        with job_scheduler.workflow() as flow:
            with suppress(InvalidJob):
                flow.enqueue_many([*[ANY] * 1_000, WRONG])
            flow.enqueue(ANY)

    with pytest.raises(InvalidJob, match="added a part of its jobs: let its exception leave the block"):
        swallow()
    assert not JobRecord.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: current_run().step("pay", 5), "step 'pay': takes a function and its arguments"),  # type: ignore[call-overload]
        (lambda: [*current_run().each([1])], "each: takes a queryset, not a list: .*run.checkpoint"),  # type: ignore[arg-type]
        (lambda: current_run().checkpoint(object()), "checkpoint: cannot be stored as JSON: take plain types"),
    ],
)
def test_run_that_is_asked_for_what_it_cannot_do_fails_in_words(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[], object], words: str
) -> None:
    def handle(job: Note, token: CancellationToken) -> None:
        with pytest.raises(InvalidJob, match=words):
            wrong()

    monkeypatch.setitem(vars(registry.for_object(ANY)), "handler", handle)
    job_scheduler.enqueue(ANY)
    (run,) = run_due_jobs(check=True)
    assert run.state == "succeeded"
