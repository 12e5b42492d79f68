"""Tasks for the tests, as apps declare them for whatever backend there is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from inspect import signature
from typing import Any

from django.db import connection

import handlers.tasks
from handlers import FixedBackoff, GiveUp, Limit, RetryPolicy, Unique
from handlers.tasks.families import native
from tests.app.jobs import note

# Which of the two packages it is, only the Django that runs this says; of what tasks take beyond Django's own, neither.
# Django 6.0's takes nothing beyond that.
given = import_module(native().name).task
task: Callable[..., Callable[..., Any]] = given if "kwargs" in signature(given).parameters else handlers.tasks.task


@task
def noop(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


@task()
async def noop_async(*args: Any, **kwargs: Any) -> None:
    """Do nothing, on an event loop."""


@task
def write(text: str) -> None:
    """Write a note."""
    note(text)


@task
async def write_async(text: str) -> str:
    """Write a note from a coroutine."""
    await asyncio.sleep(0)
    note(text)
    return text


@task
def meaning() -> int:
    """The answer."""
    return 42


@task
def echo(value: Any = None, **kwargs: Any) -> Any:
    """What it is given."""
    return value


@task
def unstorable(kind: str) -> Any:
    """What no JSON has."""
    return {"set": {1}, "nan": float("nan"), "key": {1: 2}, "nul": "a\0b"}[kind]


@task
def fail(text: str = "this task failed") -> None:
    """Raise."""
    raise ValueError(text)


@task
async def fail_async() -> None:
    """Raise from a coroutine."""
    raise KeyError("nothing there")


@task
def leave() -> None:
    """Raise what ends a process."""
    raise SystemExit("this task left")


@task
def give_up() -> None:
    """End the retries."""
    raise GiveUp("there is no such order")


@task(takes_context=True, max_attempts=3, backoff=FixedBackoff(timedelta(seconds=30)))
def third_time(context: Any, *, until: int = 3) -> list[Any]:
    """Succeed with the attempt ``until``."""
    context.metadata["attempts"] = context.attempt
    if context.attempt < until:
        raise ConnectionError(f"attempt {context.attempt} fails")
    return [context.attempt, context.task_result.id, len(context.task_result.errors)]


@task(takes_context=True)
async def look_around(context: Any, name: str) -> Any:
    """What its context says."""
    context.metadata["seen"] = [name]
    await context.asave_metadata()
    return {"id": context.task_result.id, "status": context.task_result.status, "cancelled": context.token.is_cancelled}


@task(unique=Unique(key=("order_id",)), limit=Limit("task-orders", concurrency=2, key="order_id"), timeout=60)
def once_for_each(order_id: int, note: str = "") -> None:
    """Of which there is one for each order."""


@task(
    retry=RetryPolicy(max_attempts=5, give_up_on=(KeyError,)), priority=7, queue_name="mail", metadata={"team": "mail"}
)
def declared() -> None:
    """What says much of itself."""


@task
def in_transaction() -> bool:
    """Whether somebody has left a transaction open."""
    return bool(connection.in_atomic_block)


@task(max_attempts=2, timeout=timedelta(seconds=1), backoff=timedelta(seconds=0.1))
def hang() -> None:
    """Run for ever, without asking."""
    note(f"hangs in {os.getpid()}")
    while True:
        pass


@task(takes_context=True)
def once_killed(context: Any) -> None:
    """Wait, the first time, to be killed."""
    note(f"runs in {os.getpid()}")
    if context.attempt == 1:
        time.sleep(60)


def _hidden() -> str:
    """A function that goes by another name as a task."""
    return "found"


renamed = task(_hidden)


def no_task() -> None:
    """What must never be called."""
    raise AssertionError("called, and it is no task")
