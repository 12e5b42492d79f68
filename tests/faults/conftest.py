"""Real workers and schedulers on this test's own database and Valkey; none of them outlives its test."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings
from redis import Redis

from handlers.rq_transport import embedded
from tests import thresholds
from tests.faults.records import Notes
from tests.processes import Managed

Start = Callable[..., Managed]


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    """A client of the test's own."""
    with Redis.from_url(redis_server) as client:
        yield client


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """What the handlers of this test wrote."""
    return Notes(tmp_path / "notes")


@pytest.fixture(params=["batched", "one by one"])
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The test's workers claim several jobs at once, or (False) one by one: what is promised holds for both."""
    if request.param == "one by one":
        monkeypatch.setenv("TEST_BATCH", "1")
    return bool(request.param == "batched")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No job of the test's workers counts as one that takes long, however slow the machine: none is given back."""
    monkeypatch.setenv(thresholds.ASKED, "1")


WAYS = {
    "batched": {},
    "one by one": {"TEST_BATCH": "1"},
    "threads": {"TEST_THREADS": "4"},
    "async": {"TEST_ASYNC": "1", "TEST_JOBS": '{"EVENT_LOOP": "asyncio"}'},  # uvloop is what all other tests have
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test's workers run jobs in each of the ways that there are; sync handlers are async ones in the last."""
    for name, value in WAYS[request.param].items():
        monkeypatch.setenv(name, value)
    return str(request.param)


@pytest.fixture
def start(child_env: dict[str, str], notes: Notes, tmp_path: Path) -> Iterator[Start]:
    """Start a ``manage.py`` command; what they all said is shown when the test fails."""
    started: list[Managed] = []

    def start(*args: str) -> Managed:
        redis_url = settings.JOBS["REDIS_URL"]  # that of a private server, if the test has one
        env = child_env | {"TEST_NOTES": str(notes.path), "REDIS_URL": redis_url}
        started.append(Managed(env, tmp_path, *args))
        return started[-1]

    yield start
    for managed in started:
        managed.end()
        print(f"--- {managed.log.name}\n{managed.log.read_text(errors='replace')}")


@pytest.fixture
def start_worker(start: Start) -> Start:
    """Start ``manage.py worker`` with further arguments."""
    return lambda *args: start("worker", *args)


@pytest.fixture
def start_scheduler(start: Start) -> Start:
    """Start ``manage.py scheduler`` with further arguments."""
    return lambda *args: start("scheduler", *args)


@pytest.fixture
def private_valkey(redis_server: str) -> Iterator[Path]:
    """The folder of a Valkey of this test's own, not started: a test may start and stop it as it likes."""
    with tempfile.TemporaryDirectory(prefix="jobsite-test-", dir="/tmp") as name:
        folder = Path(name) / "redis"
        with override_settings(JOBS=settings.JOBS | {"REDIS_URL": embedded.find_url(folder)}):
            yield folder
