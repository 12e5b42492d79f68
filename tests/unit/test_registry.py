"""@handles and the registry: declarations that work, and those that fail at once and say how to mend them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

import handlers.commands  # noqa: F401 - it declares the scheduler's own commands
from handlers import (
    CancellationToken,
    Command,
    InvalidJob,
    Job,
    JobHandler,
    NoHandler,
    RetryPolicy,
    handles,
    handles_command,
)
from handlers.registry import JobType, Registry, registry


@dataclass(frozen=True)
class SendReceipt(Job):
    order_id: int


@dataclass(frozen=True)
class Resize(Job):
    """Make a picture smaller.

    And more that is not shown.
    """

    path: str


@dataclass(frozen=True)
class CancelOrder(Command):
    order_id: int


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with registry.isolated():
        yield


@pytest.fixture
def token() -> CancellationToken:
    return CancellationToken(job_id=1, attempt=1)


def other(job: Any) -> None:
    """Another handler."""


def test_handles_registers_everything_it_is_told() -> None:
    policy = RetryPolicy(max_attempts=3)

    @handles(
        SendReceipt, queue="mail", retry=policy, timeout=timedelta(minutes=5), name="shop.Send", aliases=("old.Send",)
    )
    class SendReceiptHandler(JobHandler[SendReceipt]):
        """Send the receipt."""

        def handle(self, job: SendReceipt, token: CancellationToken) -> None: ...

    found = registry.get("shop.Send")
    assert found is registry.get("old.Send")
    assert found is registry.for_object(SendReceipt(1))
    assert (found.name, found.queue, found.retry, found.timeout) == ("shop.Send", "mail", policy, timedelta(minutes=5))
    assert (found.payload_class, found.handler, found.kind) == (SendReceipt, SendReceiptHandler, "job")
    assert found.doc == "Send the receipt."
    assert found in registry.all()
    assert "mail" in registry.queues()
    assert "old.Send" not in [job_type.name for job_type in registry.all()]


def test_handles_has_defaults() -> None:
    handles(SendReceipt)(other)
    found = registry.for_object(SendReceipt(1))
    assert (found.queue, found.retry, found.timeout, found.aliases) == ("default", RetryPolicy(), None, ())


def test_handles_returns_the_handler_as_it_was() -> None:
    assert handles(SendReceipt)(other) is other


def test_default_name_is_the_first_part_of_the_module_outside_of_apps() -> None:
    outside = type("Outside", (SendReceipt,), {"__module__": "elsewhere.jobs"})
    handles(dataclass(frozen=True)(outside))(other)
    assert registry.get("elsewhere.Outside").payload_class is outside


def test_default_name_is_the_label_of_the_app_and_not_its_module() -> None:
    inside = type("Inside", (SendReceipt,), {"__module__": "handlers.anything.jobs"})
    handles(dataclass(frozen=True)(inside))(other)
    assert registry.get("jobsite_jobs.Inside").payload_class is inside


def test_scheduler_commands_are_registered_under_fixed_names() -> None:
    names = {job_type.name for job_type in registry.all() if job_type.kind == "command"}
    assert {"jobs.EnqueueJobCommand", "jobs.ScheduleJobCommand", "jobs.DeleteJobCommand"} <= names


def test_all_is_sorted_by_name() -> None:
    handles(SendReceipt, name="b.B")(other)
    handles(Resize, name="a.A")(other)
    names = [job_type.name for job_type in registry.all()]
    assert names == sorted(names)
    assert {"a.A", "b.B"} <= set(names)


def test_doc_falls_back_to_the_payload_but_not_to_what_dataclass_wrote() -> None:
    def plain(job: Any) -> None: ...

    assert JobType("a.A", Resize, plain).doc == "Make a picture smaller."
    assert JobType("a.A", SendReceipt, plain).doc == ""
    assert JobType("a.A", Resize, other).doc == "Another handler."


def test_get_of_an_unknown_name_says_how_to_mend() -> None:
    with pytest.raises(NoHandler, match=r"'gone\.Type'.*jobs\.py.*aliases"):
        registry.get("gone.Type")


def test_for_object_of_an_undeclared_type_says_how_to_mend() -> None:
    with pytest.raises(NoHandler, match=r"SendReceipt: declare one with @handles\(SendReceipt\)"):
        registry.for_object(SendReceipt(1))
    with pytest.raises(NoHandler, match=r"@handles_command\(CancelOrder\)"):
        registry.for_object(CancelOrder(1))


@pytest.mark.parametrize(
    ("thing", "what"), [(SendReceipt, "the class SendReceipt"), ({"a": 1}, "a dict"), (None, "a NoneType")]
)
def test_for_object_refuses_what_is_no_job(thing: object, what: str) -> None:
    with pytest.raises(InvalidJob, match=f"expected an instance of a Job or Command, not {what}"):
        registry.for_object(thing)


def test_encode_refuses_another_type() -> None:
    with pytest.raises(InvalidJob, match=r"a\.A: expected a SendReceipt, not a Resize"):
        JobType("a.A", SendReceipt, other).encode(Resize("x"))


@pytest.mark.parametrize(
    ("options", "field", "mend"),
    [
        ({"queue": "Mail"}, "queue", "use 1 to 64 of a-z"),
        ({"queue": ""}, "queue", "use 1 to 64"),
        ({"queue": "mail\n"}, "queue", "use 1 to 64"),
        ({"queue": "a" * 65}, "queue", "use 1 to 64"),
        ({"queue": None}, "queue", "use 1 to 64"),
        ({"queue": "system"}, "queue", "choose another name"),
        ({"timeout": timedelta(0)}, "timeout", "such as timedelta"),
        ({"timeout": 5}, "timeout", "such as timedelta"),
        ({"retry": 3}, "retry", "such as RetryPolicy"),
        ({"name": ""}, "name", "use 1 to 200"),
        ({"name": "has space"}, "name", "use 1 to 200"),
        ({"name": "a" * 201}, "name", "use 1 to 200"),
        ({"aliases": "old.Name"}, "aliases", "such as aliases="),
        ({"aliases": ["old.Name"]}, "aliases", "such as aliases="),
        ({"aliases": ("a/b",)}, "aliases", "use 1 to 200"),
    ],
)
def test_handles_refuses_wrong_options_and_says_how_to_mend(options: dict[str, Any], field: str, mend: str) -> None:
    with pytest.raises(InvalidJob, match=mend) as caught:
        handles(SendReceipt, **options)(other)
    assert caught.value.field == field
    with pytest.raises(NoHandler):
        registry.for_object(SendReceipt(1))


class NoHandle:
    pass


class Abstract(JobHandler[SendReceipt]):
    pass


@pytest.mark.parametrize(
    ("handler", "mend"),
    [
        (NoHandle, r"write def handle\(self, job, token\)"),
        (Abstract, r"write def handle\(self, job, token\)"),
        ("text", r"a class with handle\(job, token\), or a function"),
        (lambda: None, r"must take \(job\), \(job, token\), \(job, run\) or \(job, token, run\)"),
        (lambda job, token, more: None, r"must take \(job\), \(job, token\)"),
        (lambda job, *, more: None, r"must take \(job\), \(job, token\)"),
    ],
)
def test_handles_refuses_a_handler_that_cannot_be_called(handler: Any, mend: str) -> None:
    with pytest.raises(InvalidJob, match=mend):
        handles(SendReceipt)(handler)


def test_handles_refuses_the_wrong_kind() -> None:
    with pytest.raises(InvalidJob, match="@handles_command"):
        handles(CancelOrder)  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match=r"@handles$"):
        handles_command(SendReceipt)  # type: ignore[arg-type]


def test_a_second_handler_of_a_type_is_refused() -> None:
    handles(SendReceipt)(other)
    with pytest.raises(InvalidJob, match=r"SendReceipt has a handler already, .*other: a type has one handler"):
        handles(SendReceipt)(lambda job: None)


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        ({"name": "a.A"}, {"name": "a.A"}, "name"),
        ({"name": "a.A", "aliases": ("b.B",)}, {"name": "b.B"}, "name"),
        ({"name": "a.A"}, {"name": "b.B", "aliases": ("a.A",)}, "aliases"),
        ({"name": "a.A", "aliases": ("c.C",)}, {"name": "b.B", "aliases": ("c.C",)}, "aliases"),
    ],
)
def test_a_name_or_alias_that_is_taken_is_refused(first: Any, second: Any, field: str) -> None:
    handles(SendReceipt, **first)(other)
    with pytest.raises(InvalidJob, match=r"belongs to .*SendReceipt: choose another") as caught:
        handles(Resize, **second)(other)
    assert caught.value.field == field
    assert registry.get("a.A").payload_class is SendReceipt


def test_the_same_class_imported_anew_replaces_the_old_one() -> None:
    def reload() -> type[Job]:
        @dataclass(frozen=True)
        class Reloaded(Job):
            x: int

        @handles(Reloaded, name="a.Reloaded", aliases=("a.Old",))
        def handler(job: Any) -> None: ...

        return Reloaded

    old, new = reload(), reload()
    assert registry.get("a.Old").payload_class is new
    assert registry.for_object(new(1)).name == "a.Reloaded"  # type: ignore[call-arg]
    with pytest.raises(NoHandler):
        registry.for_object(old(1))  # type: ignore[call-arg]


def test_registries_are_independent() -> None:
    mine = Registry()
    mine.register(JobType("a.A", SendReceipt, other))
    assert [job_type.name for job_type in mine.all()] == ["a.A"]
    with pytest.raises(NoHandler):
        registry.get("a.A")


def test_a_function_gets_payload_and_token(token: CancellationToken) -> None:
    handler = JobType("a.A", SendReceipt, lambda job, token: (job, token)).run
    assert handler(SendReceipt(3), token) == (SendReceipt(3), token)


def test_a_function_may_leave_out_the_token(token: CancellationToken) -> None:
    assert JobType("a.A", SendReceipt, lambda job: job).run(SendReceipt(3), token) == SendReceipt(3)


def test_an_async_function_is_run_to_its_end(token: CancellationToken) -> None:
    async def handler(job: SendReceipt) -> int:
        await asyncio.sleep(0)
        return job.order_id

    assert JobType("a.A", SendReceipt, handler).run(SendReceipt(3), token) == 3


class Counting(JobHandler[SendReceipt]):
    made = 0

    def __init__(self, greeting: str = "default") -> None:
        type(self).made += 1
        self.greeting = greeting

    async def handle(self, job: SendReceipt, token: CancellationToken) -> tuple[str, int]:
        return self.greeting, token.attempt


def test_a_handler_class_is_built_for_each_attempt(token: CancellationToken) -> None:
    before = Counting.made
    job_type = JobType("a.A", SendReceipt, Counting)
    assert job_type.run(SendReceipt(1), token) == ("default", 1)
    assert job_type.run(SendReceipt(1), token) == ("default", 1)
    assert Counting.made == before + 2


def container(handler_class: type[Counting]) -> Counting:
    return handler_class("injected")


def test_handler_factory_builds_handler_classes(settings: Any, token: CancellationToken) -> None:
    settings.JOBS = {"HANDLER_FACTORY": f"{__name__}.container"}
    assert JobType("a.A", SendReceipt, Counting).run(SendReceipt(1), token) == ("injected", 1)
    # Functions need no building.
    assert JobType("a.A", SendReceipt, lambda job: job).run(SendReceipt(1), token) == SendReceipt(1)


class Static:
    @staticmethod
    def handle(job: SendReceipt) -> int:
        return job.order_id


class OneArgument:
    def handle(self, job: SendReceipt) -> int:
        return job.order_id


class ClassMethod:
    @classmethod
    def handle(cls, job: SendReceipt, token: CancellationToken) -> int:
        return job.order_id * token.attempt


@pytest.mark.parametrize("handler", [Static, OneArgument, ClassMethod])
def test_handler_classes_need_no_base_and_any_kind_of_method_will_do(handler: Any, token: CancellationToken) -> None:
    assert JobType("a.A", SendReceipt, handler).run(SendReceipt(3), token) == 3


def test_what_a_handler_raises_comes_through(token: CancellationToken) -> None:
    def handler(job: SendReceipt) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        JobType("a.A", SendReceipt, handler).run(SendReceipt(1), token)


@pytest.mark.parametrize(
    ("queue", "outcome"),
    [("a", nullcontext()), ("mail-2_x", nullcontext()), ("9" * 64, nullcontext()), ("a.b", pytest.raises(InvalidJob))],
)
def test_queue_names_are_lower_case_words(queue: str, outcome: AbstractContextManager[Any]) -> None:
    with outcome:
        assert JobType("a.A", SendReceipt, other, queue=queue).queue == queue
