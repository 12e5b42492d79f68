"""Log lines of a running job: kept, bounded, clean, and never in the way."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from handlers import logs
from handlers.current import FIRST, NEWEST, CurrentJob, current

logger = logging.getLogger("tests.shop")


@pytest.fixture
def job() -> Iterator[CurrentJob]:
    """A job that runs here, with a logger that lets INFO through."""
    logs.attach()
    logger.setLevel(logging.INFO)
    running = CurrentJob(7, 1, "", lambda text: text.replace("4111-1111", "••••••"))
    mark = current.set(running)
    yield running
    current.reset(mark)
    logs.detach()
    logger.setLevel(logging.NOTSET)


def test_line_is_kept_with_time_level_and_logger(job: CurrentJob) -> None:
    logger.info("charged %s", "order 7")
    at, level, name, message = (logs.lines_of(job) or ())[0]
    assert at.endswith("+00:00")
    assert (level, name, message) == ("INFO", "tests.shop", "charged order 7")


def test_debug_line_is_left_out(job: CurrentJob) -> None:
    logger.setLevel(logging.DEBUG)
    logger.debug("noise")
    assert logs.lines_of(job) is None


def test_many_lines_keep_the_first_and_the_newest(job: CurrentJob) -> None:
    for number in range(1_000):
        logger.info("line %d", number)
    kept = [line[3] for line in logs.lines_of(job) or ()]
    assert len(kept) == FIRST + NEWEST + 1
    assert kept[FIRST - 1] == "line 49"
    assert kept[FIRST] == "… 800 lines left out …"
    assert kept[FIRST + 1] == "line 850"
    assert kept[-1] == "line 999"


def test_huge_and_hostile_line_is_bounded_and_cleaned(job: CurrentJob) -> None:
    logger.info("%s", "\x00\x1b[31m" + "x" * 1_048_576)
    text = (logs.lines_of(job) or ())[0][3]
    assert len(text) <= logs.MAX_LINE
    assert "\x00" not in text
    assert "\x1b" not in text


def test_secret_is_hidden_even_where_the_line_is_cut(job: CurrentJob) -> None:
    for length in range(980, 1_000):
        logger.info("%s", "x" * length + "4111-1111" + "y" * 5_000)
    assert not any("4111" in line[3] for line in logs.lines_of(job) or ())


def test_exception_is_kept_with_its_traceback(job: CurrentJob) -> None:
    try:
        raise ValueError("no stock")
    except ValueError:
        logger.exception("reserving failed")
    text = (logs.lines_of(job) or ())[0][3]
    assert text.startswith("reserving failed\nTraceback")
    assert text.endswith("ValueError: no stock")


def test_line_that_cannot_be_formatted_raises_nothing(job: CurrentJob) -> None:
    logs.JobLogHandler().handle(logging.LogRecord("shop", logging.INFO, "", 1, "%d", ("x",), None))
    assert "could not be written" in (logs.lines_of(job) or ())[-1][3]


def test_nothing_is_kept_while_no_job_runs(job: CurrentJob) -> None:
    mark = current.set(None)
    logger.info("outside")
    current.reset(mark)
    assert logs.lines_of(job) is None


def attached() -> int:
    return sum(isinstance(handler, logs.JobLogHandler) for handler in logging.getLogger().handlers)


def test_two_jobs_at_once_share_one_handler_until_the_last_ends() -> None:
    logs.attach()
    logs.attach()
    assert attached() == 1
    logs.detach()
    assert attached() == 1
    logs.detach()
    assert attached() == 0


def test_basic_config_after_a_job_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    logs.attach()
    logs.detach()
    logging.basicConfig()
    assert len(logging.root.handlers) == 1
    assert attached() == 0


def test_logging_set_up_anew_while_a_job_runs_is_joined_by_the_next_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    logs.attach()
    logging.basicConfig(force=True)
    logs.attach()
    assert attached() == 1
    logs.detach()
    logs.detach()
    assert attached() == 0
