"""Workflows of steps that fail by name, moved on as workers move them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from handlers import GiveUp, Job, RetryPolicy, handles
from handlers.models import JobRecord
from handlers.registry import registry
from handlers.states import State
from tests.integration.conftest import noting
from tests.running import run

__all__ = ["noting"]

LIST = "/admin/workflows/"


@dataclass(frozen=True)
class Step(Job):
    name: str


@dataclass(frozen=True)
class Send(Job):
    what: str
    to: str = "x"


@pytest.fixture
def bad(noting: object) -> Iterator[set[str]]:
    """The names of steps that fail."""
    names: set[str] = set()
    with registry.isolated():
        once = RetryPolicy(max_attempts=1)

        @handles(Step, name="shop.Step", retry=once)
        def step(job: Step) -> str:
            if job.name in names:
                raise GiveUp(f"{job.name} is bad")
            return job.name

        @handles(Send, name="shop.Send", retry=once)
        def send(job: Send) -> str:
            return job.what

        yield names


def drain() -> None:
    """Run whatever is enqueued, as workers would, until there is nothing more."""
    while ids := list(JobRecord.objects.filter(state=State.ENQUEUED).order_by("pk").values_list("pk", flat=True)):
        run(*ids)


def page(workflow_id: int, more: str = "") -> str:
    return f"{LIST}{workflow_id}/{more}"
