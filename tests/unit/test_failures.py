"""Errors as text."""

from __future__ import annotations

import weakref

import pytest

from handlers import failures
from handlers.failures import describe


class Hoard:
    """What a handler keeps in a local variable."""


def raised(error: Exception) -> tuple[Exception, weakref.ref[Hoard]]:
    """The error as a handler raised it, and what that held."""
    held: list[weakref.ref[Hoard]] = []

    def handle() -> None:
        hoard = Hoard()
        held.append(weakref.ref(hoard))
        raise error

    try:
        handle()
    except type(error) as caught:
        return caught, held[0]
    raise AssertionError


def test_describing_a_lack_of_memory_gives_back_what_the_handler_held() -> None:
    error, held = raised(MemoryError("no room"))
    assert held() is not None
    assert "no room" in describe(error).traceback
    assert held() is None


def test_error_for_whose_text_there_was_no_room_is_described_once_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    error, held = raised(ValueError("long"))
    described = failures._described

    def cramped(*args: object) -> failures.Failure:
        if held() is not None:
            raise MemoryError
        return described(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(failures, "_described", cramped)
    assert describe(error).message == "long"
