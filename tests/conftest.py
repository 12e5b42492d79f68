"""What every test may ask for: a real Valkey, and an environment in which real processes see the test's data."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection, connections, transaction
from django.test import SimpleTestCase, TransactionTestCase
from django.utils import translation
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests import chromium, servers, template, thresholds
from tests.processes import wait_for
from tests.reused import reused

FAULTS = Path(__file__).parent / "faults"
TOLD = 30  # of the slowest tests
CI = os.environ.get("CI", "").lower() in {"1", "true"}

# How long examples take to make says how busy the machine is.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: there, everything that a test needs is at hand."""
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module."""
    report = yield
    if CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before marks are looked at
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Leave out, rather than skip, what cannot be on this database. What may ask none runs once.

    Of all that marks and names then choose, TESTS_SHARE=2/3 takes every third, from the second on, with all its cases:
    what these are called may be another thing in each process.
    """
    for item in items:
        if not _asks_database(item):
            item.add_marker("once")
        if FAULTS in item.path.parents:
            item.add_marker("faults")
    if connection.vendor != "postgresql":
        _leave_out(config, items, {item for item in items if item.get_closest_marker("postgresql")})
    yield
    if share := os.environ.get("TESTS_SHARE"):
        number, shares = map(int, share.split("/"))
        own = set(sorted({_function(item) for item in items})[number - 1 :: shares])  # the order of items is random
        _leave_out(config, items, {item for item in items if _function(item) not in own})


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _asks_database(item: pytest.Item) -> bool:
    """Whether it may: pytest-django refuses that to the others. Those of tests/sites have a database of their own."""
    if isinstance(item, pytest.Function) and item.cls is not None and issubclass(item.cls, SimpleTestCase):
        return True
    if any(map(item.get_closest_marker, ("django_db", "postgresql"))):
        return True
    return not {"db", "transactional_db", "make"}.isdisjoint(getattr(item, "fixturenames", ()))


def _leave_out(config: pytest.Config, items: list[pytest.Item], apart: set[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=list(apart))
    items[:] = [item for item in items if item not in apart]


def pytest_configure() -> None:
    """Look for no garbage among what is imported: there is none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor later in all that, thousands of tests among it: a twentieth of their time."""
    gc.collect()
    gc.freeze()
    gc.enable()


_took: dict[str, float] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how long each test takes, with what is made for it and taken away."""
    _took[report.nodeid] = _took.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish() -> None:
    """Tell ``tests.parts`` the slowest tests, and that the session came to its end.

    For code under test may end the process, with status 0.
    """
    if path := os.environ.get("TESTS_ENDED"):
        slowest = sorted(((seconds, test) for test, seconds in _took.items()), reverse=True)[:TOLD]
        Path(path).write_text(json.dumps(slowest))


@pytest.fixture
def late_locks(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Transactions that take SQLite's lock no earlier than they write, as with Django's own settings."""
    options = {name: value for name, value in connection.settings_dict["OPTIONS"].items() if name != "transaction_mode"}
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    yield
    connection.close()


@pytest.fixture(autouse=True)
def _no_alarm_left() -> Iterator[None]:
    """A process that is asked to stop sets an alarm, by which it would end: no test leaves one to this process."""
    yield
    seconds, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    assert not seconds, "the test left an alarm, which would have ended the whole run"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """What the plugin asks for before it makes the database."""
    if folder := os.environ.get(template.NAMED):
        template.take(connection, Path(folder))


@pytest.fixture(scope="session", autouse=True)
def _quick_cleaning() -> Iterator[None]:
    """Let tests that commit clean up in milliseconds.

    Django would truncate every table, which is slow on PostgreSQL, and then make the content types and permissions
    anew, which is slow everywhere. Here they stay, and rows are deleted. On PostgreSQL the connection is left, too.
    """
    kept = {"django_content_type", "auth_permission"}
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}
    deletes = [f'DELETE FROM "{table}"' for table in sorted(tables - kept)]  # noqa: S608 - our own tables
    if connection.vendor == "postgresql":
        deletes = ["; ".join(deletes)]  # one round trip

    def clean(_: TransactionTestCase) -> None:
        with transaction.atomic(), connection.cursor() as cursor:  # foreign keys are checked at the commit
            for delete in deletes:
                cursor.execute(delete)
        leave()

    with contextlib.ExitStack() as until, pytest.MonkeyPatch.context() as patch:
        leave = connection.close
        if connection.vendor == "postgresql":
            leave = until.enter_context(reused())
        patch.setattr(TransactionTestCase, "_fixture_teardown", clean)
        patch.setattr(TransactionTestCase, "_should_reload_connections", lambda _: False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_time_is_over() -> Iterator[None]:
    """How quick this machine is decides nothing in this process."""
    with pytest.MonkeyPatch.context() as patch:
        thresholds.put_off(patch.setattr)
        yield


@pytest.fixture
def usual_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that is about one of these times: each is over when it is in production."""
    thresholds.keep_to(monkeypatch.setattr)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's Chromium. Skips the test where there is none; in CI that is a failure."""
    return chromium.find() or pytest.skip("no Chromium: install it, or set CHROMIUM to its path")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a real Valkey server: the one that REDIS_URL names, else one started for this session.

    A test that asks for it, or is marked ``redis``, finds it empty.
    """
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    # settings.REDIS_URL points here already; the server is only started now.
    with servers.valkey(Path(settings.DATA) / "redis") as url:
        assert url == settings.REDIS_URL
        yield url


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    """What the test before found out about workers and about Redis, or in which language, this test must not see."""
    from dashboard.kit import health
    from handlers.rq_transport import availability

    health.forget()
    availability.forget()
    translation.deactivate()
    # Of statements that tests count, a connection keeps 9000; from then on each count would be none.
    for each in connections.all(initialized_only=True):
        each.queries_log.clear()


@pytest.fixture(autouse=True)
def _empty_redis(request: pytest.FixtureRequest) -> None:
    """Flush the server before each test that uses it, once it knows that the workers of the test before are gone.

    They are, but on a busy machine it may hear of it later, and would hand one of them this test's first message.
    """
    if request.node.get_closest_marker("redis") is None and "redis_server" not in request.fixturenames:
        return
    from redis import Redis

    with Redis.from_url(request.getfixturevalue("redis_server")) as client:
        wait_for("nobody waits on a queue", lambda: client.info("clients")["blocked_clients"] == 0)
        client.flushall()


@pytest.fixture
def child_env(transactional_db: None, redis_server: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a child process that works on this test's own database, Valkey and data folder."""
    return os.environ | {
        "DATABASE_URL": database_url(connection.settings_dict),
        "REDIS_URL": redis_server,
        "DJANGO_SECRET_KEY": settings.SECRET_KEY,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "JOBSITE_DATA": str(settings.DATA),
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(tmp_path),
    }


def database_url(config: dict[str, Any]) -> str:
    """The DATABASE_URL of an open connection's settings."""
    if config["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{quote(str(config['NAME']))}"
    user = quote(config["USER"], safe="")
    password = f":{quote(config['PASSWORD'], safe='')}" if config["PASSWORD"] else ""
    port = f":{config['PORT']}" if config["PORT"] else ""
    return f"postgres://{user}{password}@{quote(config['HOST'], safe='')}{port}/{config['NAME']}"
