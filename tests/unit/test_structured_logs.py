"""Log lines for programs: whole, of one line, with the job they belong to and without its secrets."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from handlers.current import CurrentJob, current
from handlers.lifecycle import Claim
from handlers.structured_logs import FIELDS, JobFields, JsonFormatter
from jobsite import environment


def line(text: str, *args: Any, error: BaseException | None = None, **extra: Any) -> dict[str, Any]:
    """What becomes of a record."""
    about = None if error is None else (type(error), error, None)
    record = logging.getLogger("shop").makeRecord("shop", logging.INFO, "f", 1, text, args, about, extra=extra)
    assert JobFields().filter(record)
    written = JsonFormatter().format(record)
    assert "\n" not in written
    found: dict[str, Any] = json.loads(written)
    return found


@pytest.fixture
def running() -> Iterator[CurrentJob]:
    """A job that runs here and now."""
    claim = Claim(7, "t", "shop.Pay", "mail", 2, 0, 0, b"{}", "order-9")
    job = CurrentJob(7, 2, "order-9", lambda text: text.replace("4111-1111", "••"), claim)
    before = current.set(job)
    yield job
    current.reset(before)


def test_line_says_what_and_when() -> None:
    found = line("%d sold\nout", 3, shop="north")
    assert (found["level"], found["logger"], found["message"]) == ("INFO", "shop", "3 sold\nout")
    assert found["shop"] == "north"
    assert found["time"].endswith("+00:00")
    assert not set(FIELDS) & set(found)


def test_line_of_a_job_says_which(running: CurrentJob) -> None:
    found = line("paid")
    assert [found[name] for name in FIELDS] == [7, "shop.Pay", 2, "order-9", "mail"]


def test_what_a_record_says_by_itself_goes_before(running: CurrentJob) -> None:
    assert line("told of another", job_id=8)["job_id"] == 8


def test_secrets_of_the_job_are_hidden(running: CurrentJob) -> None:
    found = line("card %s", "4111-1111", error=ValueError("4111-1111"), card="4111-1111")
    assert "4111-1" not in json.dumps(found)
    assert "ValueError" in found["exception"]


def test_formats_of_text_may_name_the_fields(running: CurrentJob) -> None:
    record = logging.makeLogRecord({"msg": "x"})
    JobFields().filter(record)
    assert logging.Formatter("%(job_id)s %(queue)s %(message)s").format(record) == "7 mail x"


def test_nothing_that_is_logged_breaks_the_line() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise ValueError

    found = line("%d", "no number", thing=Hostile(), bad="\ud800", keys={1: 2, (1,): 3})
    assert found["message"] == "%d (its arguments do not fit)"
    assert "Hostile" in found["thing"]
    try:
        raise KeyError("x")
    except KeyError:
        record = logging.getLogger("a").makeRecord("a", logging.ERROR, "f", 1, "m", (), sys.exc_info())
    assert "KeyError" in json.loads(JsonFormatter().format(record))["exception"]


def test_format_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBSITE_LOG", raising=False)
    assert environment.log_format() == "line"
    monkeypatch.setenv("JOBSITE_LOG", "json")
    assert environment.log_format() == "json"
    monkeypatch.setenv("JOBSITE_LOG", "xml")
    with pytest.raises(ImproperlyConfigured, match="JOBSITE_LOG must be line or json"):
        environment.log_format()
