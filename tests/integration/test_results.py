"""What handlers return: kept with the job, or refused in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from handlers import InvalidJob, Job, RetryPolicy, handles, job_scheduler, lifecycle
from handlers.models import AttemptError, JobRecord, JobResult
from handlers.registry import registry
from handlers.states import State
from tests.running import claim, perform, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


@dataclass(frozen=True)
class Ask(Job):
    """Its handler is the test's."""


@dataclass(frozen=True)
class Found:
    day: date
    total: Decimal


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with registry.isolated():
        yield


def ask(handler: Callable[..., Any], **options: Any) -> JobRecord:
    """The job, run by this handler."""
    handles(Ask, retry=RetryPolicy(max_attempts=1), **options)(handler)
    job_id = job_scheduler.enqueue(Ask())
    run(job_id)
    return record(job_id)


def answer(value: Any) -> Callable[[Ask], Any]:
    def handle(job: Ask) -> Any:
        return value

    return handle


@pytest.mark.parametrize("value", [0, "", False, "Grüße", [1, 2.5, None], {"a": {"b": [True]}}, 2**60])
def test_json_is_kept_as_it_is(value: Any) -> None:
    found = ask(answer(value))
    assert (found.state, found.result) == ("succeeded", value)
    assert type(found.result) is type(value)


def test_what_the_hint_names_is_kept_as_json() -> None:
    def handle(job: Ask) -> Found:
        return Found(date(2026, 2, 3), Decimal("1.50"))

    assert ask(handle).result == {"day": "2026-02-03", "total": "1.50"}


def test_a_coroutines_result_is_kept() -> None:
    async def handle(job: Ask) -> list[int]:
        await asyncio.sleep(0)
        return [1, 2]

    assert ask(handle).result == [1, 2]


def hinted_nothing(job: Ask) -> None:
    return {"but": object()}  # type: ignore[return-value]


@pytest.mark.parametrize(("handler", "keep"), [(answer(None), True), (hinted_nothing, True), (answer(object()), False)])
def test_nothing_is_kept_of_nothing_nor_where_hint_or_type_say_so(handler: Callable[..., Any], keep: bool) -> None:
    found = ask(handler, keep_result=keep)
    assert (found.state, found.result) == ("succeeded", None)
    assert not JobResult.objects.exists()


def wrong_hint(job: Ask) -> int:
    return "7"  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (answer(object()), "result: cannot be stored as JSON: take plain types"),
        (answer(float("nan")), "result: NaN and infinity cannot be stored"),
        (answer({"a": float("inf")}), "result: a: NaN and infinity cannot be stored"),
        (answer({1: 2}), "result: would come back from JSON as another value"),
        (answer((1, 2)), "result: would come back from JSON as another value"),
        (answer("a\0b"), "result: text with a NUL character cannot be stored"),
        (answer("\ud800"), "result: text with a lone surrogate is not valid Unicode"),
        (answer(datetime(2026, 1, 1, tzinfo=UTC)), "result: would come back from JSON as another value"),
        (wrong_hint, "result: Input should be a valid integer"),
        (answer("x" * 70_000), "result: takes 70,002 bytes as JSON, more than the limit of 65,536"),
    ],
)
def test_what_cannot_be_kept_fails_the_attempt_in_words(handler: Callable[..., Any], why: str) -> None:
    found = ask(handler)
    assert found.state == "failed"
    error = AttemptError.objects.get()
    assert error.exception == "handlers.exceptions.InvalidJob"
    assert why in error.message
    assert not JobResult.objects.exists()


def test_the_limit_is_a_setting() -> None:
    with override_settings(JOBS={"MAX_RESULT_BYTES": 80_000}):
        assert ask(answer("x" * 70_000)).state == "succeeded"


def test_a_hint_that_is_no_json_is_refused_where_it_is_declared() -> None:
    def handle(job: Ask) -> Iterator[JobRecord]:
        raise NotImplementedError

    with pytest.raises(InvalidJob, match=r"what its handler returns cannot be kept: .*; or declare keep_result=False"):
        handles(Ask)(handle)
    handles(Ask, keep_result=False)(handle)


def test_it_is_of_the_last_attempt_and_goes_with_the_job() -> None:
    answers = iter([{"n": 1}, {"n": 2}, None])

    def handle(job: Ask) -> Any:
        return next(answers)

    found = ask(handle)
    for expected in ({"n": 2}, None):
        assert job_scheduler.requeue(found.pk)
        run(found.pk)
        assert record(found.pk).result == expected
    while lifecycle.age_out(State.SUCCEEDED, before=datetime(2099, 1, 1, tzinfo=UTC)):
        pass
    assert not JobResult.objects.exists()


def test_one_that_lost_its_job_meanwhile_keeps_nothing() -> None:
    handles(Ask)(answer({"n": 1}))
    job_id = job_scheduler.enqueue(Ask())
    [claimed] = claim(job_id)
    job_scheduler.delete(job_id)
    move = perform(claimed)
    assert move is not None
    assert not lifecycle.apply([move], actor="w").moved
    assert not JobResult.objects.exists()
