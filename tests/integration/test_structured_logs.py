"""Each record that is logged within a run says of which one, sync and async."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from handlers import Job, Sensitive, handles, job_scheduler
from handlers.masking import MASK
from handlers.registry import registry
from handlers.structured_logs import JobFields, JsonFormatter
from tests.running import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

logger = logging.getLogger("tests.of.structured")


@dataclass(frozen=True)
class Say(Job):
    text: str


def say(job: Say) -> None:
    logger.warning(job.text)


async def asay(job: Say) -> None:
    logger.warning(job.text)


@pytest.fixture
def lines() -> Iterator[Any]:
    """What a program reads."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(JobFields())
    logger.addHandler(handler)
    with registry.isolated():
        yield lambda: [json.loads(text) for text in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


@pytest.mark.parametrize("handler", [say, asay])
def test_record_within_a_run_names_it(lines: Any, handler: Any) -> None:
    handles(Say, queue="mail", name="tests.Say")(handler)
    job_id = job_scheduler.enqueue(Say("here"), correlation="order-1")
    run(job_id)
    logger.warning("outside")
    inside, outside = lines()
    told = {name: inside[name] for name in ("job_id", "job_type", "attempt", "correlation", "queue", "message")}
    assert told == {
        "job_id": job_id, "job_type": "tests.Say", "attempt": 1, "correlation": "order-1", "queue": "mail",
        "message": "here",
    }  # fmt: skip
    assert "job_id" not in outside


@dataclass(frozen=True)
class Unlock(Job):
    pin: Annotated[int, Sensitive()]
    word: Annotated[str, Sensitive()]


def test_sensitive_arguments_are_taken_out_of_extra_too(lines: Any) -> None:
    def unlock(job: Unlock) -> None:
        ring: dict[str, Any] = {"deep": [{job.word: job.word}], "job": job, "pin": job.pin, "other": 7}
        ring["ring"] = ring
        logger.warning("opened", extra={"given": ring, "whole": job, "number": job.pin, "share": float("nan")})

    handles(Unlock, name="tests.Unlock")(unlock)
    run(job_scheduler.enqueue(Unlock(481516, "mellon")))
    (line,) = lines()
    assert "mellon" not in json.dumps(line)
    assert "481516" not in json.dumps(line)
    assert (line["given"]["other"], line["number"], line["share"]) == (7, MASK, "nan")
