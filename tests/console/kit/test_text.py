"""How the console writes things, without a page."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dashboard.jobs.tracebacks import app_frame
from dashboard.kit.text import call, duration, inert, one_line
from tests.console.factories import TRACEBACK


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 ms"),
        (0.0449, "45 ms"),
        (0.9999, "1 s"),
        (3.24, "3.2 s"),
        (9.0, "9 s"),
        (59.6, "1 min"),
        (timedelta(minutes=80), "1 h 20 min"),
        (timedelta(days=3, seconds=5), "3 d 5 s"),
        (-1, "0 ms"),
        (None, ""),
    ],
)
def test_duration_reads_in_at_most_two_units(value: timedelta | float | None, words: str) -> None:
    assert duration(value) == words


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("shop.SendReceipt", "SendReceipt", {"order_id": 7}), "job_scheduler.enqueue(SendReceipt(order_id=7))"),
        (("shop.SendReceipt", "", {}), "job_scheduler.enqueue(SendReceipt())"),
        (("bare", "", [1]), "job_scheduler.enqueue(bare([1]))"),
    ],
)
def test_call_is_python_that_makes_the_job(arguments: tuple[str, str, object], code: str) -> None:
    assert call(*arguments) == code


def test_call_of_a_command_goes_by_the_bus() -> None:
    assert call("shop.Cancel", "Cancel", {"id": 1}, kind="command") == "command_bus.send(Cancel(id=1))"


def test_call_on_another_queue_names_it() -> None:
    assert call("a.B", "B", {}, queue="slow") == "job_scheduler.enqueue(B(), queue='slow')"


def test_call_with_long_arguments_has_one_a_line() -> None:
    code = call("a.B", "B", {"one": "x" * 90, "two": "y" * 9_000})
    assert code.splitlines()[2].strip().startswith("one=")
    assert len(code) < 400
    compile(code.replace("…", "'"), "call", "eval")


def test_inert_text_keeps_lines_and_shows_what_is_unseen() -> None:
    assert inert("a\n\tb\x00\x1b[31m\u200b") == "a\n\tb\\u0000\\u001b[31m\\u200b"
    assert inert("abc", limit=2) == "ab\n… 1 more characters"


def test_one_line_takes_the_first_and_marks_what_is_left_out() -> None:
    assert one_line("\nfirst\nsecond") == "first"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"


def test_app_frame_is_the_last_one_outside_libraries_and_the_engine() -> None:
    frame = app_frame(TRACEBACK)
    assert frame
    assert (frame.path, frame.line, frame.name, frame.code) == (
        "/srv/shop/jobs.py",
        42,
        "handle",
        "gateway.charge(order)",
    )
    assert app_frame("no traceback at all") is None
