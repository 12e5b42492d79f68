"""What is put back after a job, and when nothing is."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from decimal import getcontext, localcontext
from pathlib import Path

import pytest

from handlers.surroundings import Surroundings, apart

mood: ContextVar[str] = ContextVar("mood")


@pytest.fixture
def alarm() -> Iterator[None]:
    """An alarm that this process needs."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def disturb() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.alarm(600)


@pytest.mark.usefixtures("alarm")
def test_signals_and_alarm_of_a_process_that_ends_are_left_alone() -> None:
    surroundings = Surroundings(is_last=lambda: True)
    with surroundings:
        disturb()
    surroundings.between_batches()
    assert (signal.getsignal(signal.SIGALRM), signal.alarm(0)) == (signal.SIG_IGN, 600)


@pytest.mark.usefixtures("alarm")
def test_surroundings_are_put_back_after_an_error_too() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with suppress(ValueError), Surroundings(is_last=lambda: False):
        disturb()
        socket.setdefaulttimeout(1)
        raise ValueError
    assert (signal.getsignal(signal.SIGALRM), signal.alarm(0), socket.getdefaulttimeout()) == (before, 0, None)


def test_decimals_are_put_back_as_they_were_and_not_as_they_are_by_default() -> None:
    with localcontext(prec=7):
        with Surroundings(is_last=lambda: False):
            getcontext().prec = 3
        assert getcontext().prec == 7


def test_folder_is_put_back_though_the_handler_removed_the_one_that_it_went_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    here = Path.cwd()
    with Surroundings(is_last=lambda: False):
        monkeypatch.chdir(gone)
        gone.rmdir()
    assert Path.cwd() == here


def test_context_variables_end_with_what_changed_them() -> None:
    apart(mood.set, "bad")
    assert mood.get(None) is None
