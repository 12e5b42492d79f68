"""What a process fills in of how its database is connected to; whether that works, ``tests/faults/test_silence.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from handlers import patience

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Declare a database with these OPTIONS; what becomes of them is in the dict's "OPTIONS"."""
    for name in ("PGCONNECT_TIMEOUT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)

    def make(engine: str = "postgresql", **options: Any) -> dict[str, Any]:
        declared = {"default": {"ENGINE": f"django.db.backends.{engine}", "NAME": "jobs", "OPTIONS": options}}
        settings: dict[str, Any] = connections.configure_settings(declared)["default"]
        monkeypatch.setitem(connections.settings, "other", settings)
        return settings

    yield make
    patience._filled_in.pop("other", None)
    del connections["other"]


def test_what_the_settings_leave_open_is_filled_in(options: Make) -> None:
    settings = options(sslmode="require")
    patience.limit_connecting("other", 5, shared=False)
    assert settings["OPTIONS"] == patience.KEEPALIVES | {
        "connect_timeout": 5,
        "tcp_user_timeout": patience.USER_TIMEOUT_MS,
        "sslmode": "require",
    }
    assert connections["other"].get_connection_params()["connect_timeout"] == 5


def test_what_the_settings_say_stays(options: Make) -> None:
    said = {"connect_timeout": 60, "keepalives": 0, "tcp_user_timeout": 0}
    settings = options(**said)
    patience.limit_connecting("other", 5, shared=False)
    assert settings["OPTIONS"] == patience.KEEPALIVES | said


def test_a_worker_process_has_its_own_and_not_its_supervisors(options: Make) -> None:
    settings = options()
    patience.limit_connecting("other", 5, shared=False)
    patience.limit_connecting("other", 10, shared=True)
    assert settings["OPTIONS"] == patience.KEEPALIVES | {"connect_timeout": 10}


def test_a_service_stays(options: Make) -> None:
    settings = options(service="jobs")
    patience.limit_connecting("other", 5, shared=False)
    assert settings["OPTIONS"] == {"service": "jobs"}


def test_the_environments_limit_stays(options: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = options()
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "60")
    patience.limit_connecting("other", 5, shared=True)
    assert settings["OPTIONS"] == patience.KEEPALIVES


def test_sqlite_is_left_alone(options: Make) -> None:
    settings = options("sqlite3", timeout=20)
    patience.limit_connecting("other", 5, shared=False)
    assert settings["OPTIONS"] == {"timeout": 20}


def test_limits_are_a_threads_own_and_end_where_they_began() -> None:
    with patience.limited(3.0):
        with patience.limited(None):
            assert patience.limit(1.0) is None
        assert patience.limit(3.0) == 3.0
    assert patience.limit(None) is None
