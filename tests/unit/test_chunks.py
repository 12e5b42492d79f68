"""Types whose jobs run many in one call: how they are declared, and how what their handlers return is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from handlers import CancellationToken, Chunk, GiveUp, InvalidJob, Job, handles_many
from handlers.many.types import ManyType
from handlers.registry import registry


@dataclass(frozen=True)
class Charge(Job):
    """For these tests."""

    order_id: int = 0


def several(count: int) -> Chunk[Charge]:
    runs = [partial(SimpleNamespace, job_id=n) for n in range(10, 10 + count)]
    return Chunk([Charge(n) for n in range(count)], runs)


def declared(handler: Any, **options: Any) -> Any:
    with registry.isolated():
        handles_many(Charge, **options)(handler)
        return registry.for_class(Charge)


def test_chunk_is_a_sequence_of_payloads_with_their_runs() -> None:
    chunk = several(3)
    assert (len(chunk), chunk[1], list(chunk[1:])) == (3, Charge(1), [Charge(1), Charge(2)])
    assert [run.job_id for run in chunk.runs] == [10, 11, 12]


def test_outcomes_are_nothing_one_for_each_or_by_id() -> None:
    error = GiveUp("no")
    assert several(2).outcomes(None, "x") == [None, None]
    assert several(2).outcomes(["a", error], "x") == ["a", error]
    assert several(3).outcomes({11: error}, "x") == [None, error, None]


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (["a"], "returned 1 outcomes for 2 jobs: return one for each"),
        ("ab", "returned a str for 2 jobs: return None"),
        ({7: None}, "an outcome for 7, which is no job of this call"),
        (iter(()), "for 2 jobs: return None"),
    ],
)
def test_outcomes_that_do_not_fit_are_refused_in_words(returned: Any, words: str) -> None:
    with pytest.raises(InvalidJob, match=words):
        several(2).outcomes(returned, "app.Charge")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"size": 0}, "size"),
        ({"size": 1_001}, "size"),
        ({"size": True}, "size"),
        ({"size": "10"}, "size"),
        ({"wait": 1}, "wait"),
        ({"wait": timedelta(seconds=-1)}, "wait"),
        ({"wait": timedelta(hours=1)}, "wait"),
        ({"queue": "No"}, "queue"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        declared(lambda jobs: None, **options)
    assert refused.value.field == field


def test_async_handler_is_refused_in_words() -> None:
    async def handle(jobs: Any) -> None:
        """Refused."""

    with pytest.raises(InvalidJob, match="write def instead of async def"):
        declared(handle)


def test_handler_that_wants_one_run_is_refused_in_words() -> None:
    with pytest.raises(InvalidJob, match=r"in jobs\.runs"):
        declared(lambda jobs, run: None)


def test_handler_that_says_it_returns_nothing_keeps_no_results() -> None:
    def nothing(jobs: Chunk[Charge]) -> None:
        """Returns nothing."""

    def outcomes(jobs: Chunk[Charge]) -> list[int | Exception]:
        return [1 for _ in jobs]

    assert not declared(nothing).result.is_kept
    assert declared(outcomes).result.is_kept
    assert not declared(outcomes, keep_result=False).result.is_kept


def test_job_by_itself_is_a_call_with_one() -> None:
    token = CancellationToken(job_id=1, attempt=1)
    known = declared(lambda jobs: [job.order_id + 1 for job in jobs])
    assert isinstance(known, ManyType)
    assert known.run(Charge(4), token) == 5
    with pytest.raises(GiveUp, match="no"):
        declared(lambda jobs: [GiveUp("no")]).run(Charge(4), token)
