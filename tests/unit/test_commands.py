"""The command bus: what acts at once, and what becomes a job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import handlers.commands
from handlers import (
    CancellationToken,
    Command,
    DeleteJobCommand,
    EnqueueJobCommand,
    ExecuteCommandJob,
    InvalidJob,
    Job,
    NoHandler,
    ScheduleJobCommand,
    Unique,
    command_bus,
    handles,
    handles_command,
)
from handlers.registry import registry

AT = datetime(2026, 1, 2, tzinfo=UTC)
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class CancelOrder(Command):
    order_id: int


@dataclass(frozen=True)
class SendReceipt(Job):
    order_id: int


class FakeScheduler:
    """Notes what it was asked to do."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __getattr__(self, verb: str) -> Any:
        def call(*args: Any, **options: Any) -> str:
            self.calls.append((verb, args, {key: value for key, value in options.items() if value not in (None, "")}))
            return f"{verb} answered"

        return call


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> FakeScheduler:
    fake = FakeScheduler()
    monkeypatch.setattr(handlers.commands, "job_scheduler", fake)
    return fake


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    with registry.isolated():
        handles_command(CancelOrder)(lambda command, token: (command.order_id, token.attempt))
        handles(SendReceipt)(lambda job: None)
        yield


CASES: list[tuple[Command, Call]] = [
    (EnqueueJobCommand(SendReceipt(1)), ("enqueue", (SendReceipt(1),), {})),
    (
        EnqueueJobCommand(CancelOrder(1), delay=timedelta(5)),
        ("enqueue", (CancelOrder(1),), {"delay": timedelta(5)}),
    ),
    (
        EnqueueJobCommand(SendReceipt(1), expires=timedelta(5), unique=Unique()),
        ("enqueue", (SendReceipt(1),), {"expires": timedelta(5), "unique": Unique()}),
    ),
    (ScheduleJobCommand(SendReceipt(1), AT), ("schedule", (SendReceipt(1), AT), {})),
    (
        ScheduleJobCommand(SendReceipt(1), AT, expires=timedelta(5), unique=False),
        ("schedule", (SendReceipt(1), AT), {"expires": timedelta(5), "unique": False}),
    ),
    (DeleteJobCommand(9), ("delete", (9,), {})),
]


@pytest.mark.parametrize(("command", "call"), CASES)
def test_send_of_a_scheduler_command_acts_at_once(scheduler: FakeScheduler, command: Command, call: Call) -> None:
    answer: Any = command_bus.send(command)
    assert scheduler.calls == [call]
    assert answer == f"{call[0]} answered"


@pytest.mark.parametrize(("command", "call"), CASES)
def test_execute_of_a_scheduler_command_acts_then(scheduler: FakeScheduler, command: Command, call: Call) -> None:
    command_bus.execute(command)
    assert scheduler.calls == [call]


def test_send_of_another_command_enqueues_it(scheduler: FakeScheduler) -> None:
    answer: Any = command_bus.send(CancelOrder(1))
    assert answer == "enqueue answered"
    assert scheduler.calls == [("enqueue", (CancelOrder(1),), {})]


def test_send_passes_on_who_asked_and_why(scheduler: FakeScheduler) -> None:
    for command in (*[command for command, _ in CASES], CancelOrder(1)):
        command_bus.send(command, by="ann", reason="she said so")
    assert [(options["by"], options["reason"]) for _, _, options in scheduler.calls] == [("ann", "she said so")] * 7


@pytest.mark.parametrize("thing", [SendReceipt(1), ExecuteCommandJob(CancelOrder(1)), "text"])
def test_send_refuses_what_is_no_command(scheduler: FakeScheduler, thing: Any) -> None:
    with pytest.raises(InvalidJob, match=r"send takes a Command, not a .*job_scheduler\.enqueue"):
        command_bus.send(thing)
    assert scheduler.calls == []


def test_execute_runs_the_handler_here_and_now() -> None:
    assert command_bus.execute(CancelOrder(5), CancellationToken(job_id=1, attempt=4)) == (5, 4)
    assert command_bus.execute(CancelOrder(5)) == (5, 1)


def test_execute_without_a_handler_is_refused() -> None:
    @dataclass(frozen=True)
    class Unknown(Command):
        pass

    with pytest.raises(NoHandler):
        command_bus.execute(Unknown())
