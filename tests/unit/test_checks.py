"""What the system checks say about a project's settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from handlers import checks
from handlers.conf import parse

pytestmark = pytest.mark.django_db  # Django's own checks may ask the database what it supports


def ids() -> set[str]:
    """The ids of the engine's findings."""
    return {str(message.id) for message in run_checks() if str(message.id).startswith("jobs.")}


def test_checks_find_nothing_in_this_project() -> None:
    assert ids() == set()


@pytest.mark.parametrize("path", ["nowhere.at.all", "tests.app.jobs.QUICK"])
def test_check_finds_a_handler_factory_that_cannot_be_called(settings: Any, path: str) -> None:
    settings.JOBS = settings.JOBS | {"HANDLER_FACTORY": path}
    assert ids() == {"jobs.E002"}


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:1/0"])
def test_check_says_nothing_of_a_declared_queue_of_pickles(settings: Any, url: str) -> None:
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"default": {"URL": url or settings.JOBS["REDIS_URL"]}}
    assert ids() == set()


def test_check_finds_a_declared_queue_on_another_server(settings: Any) -> None:
    other = {"URL": "redis://127.0.0.1:1/0", "SERIALIZER": "json"}
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"default": other}
    assert ids() == {"jobs.E004"}


def test_check_warns_of_eager_jobs_in_production(settings: Any) -> None:
    settings.JOBS = {"EAGER": True}
    settings.RQ_QUEUES = {}
    assert ids() == set()
    assert "jobs.W002" in {message.id for message in run_checks(include_deployment_checks=True)}


POOLED = {"ENGINE": "django.db.backends.postgresql", "NAME": "nowhere", "CONN_MAX_AGE": 0}


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the default database a pool with these options; nothing connects to it."""

    def give(pool: Any, **changes: Any) -> None:
        settings = connections.configure_settings({"default": POOLED | {"OPTIONS": {"pool": pool}} | changes})
        monkeypatch.setattr(DatabaseWrapper, "_connection_pools", {})
        monkeypatch.setattr(checks, "connections", {"default": DatabaseWrapper(settings["default"], "default")})

    return give


@pytest.mark.parametrize("pool", [True, {"min_size": 2}, {"min_size": 0, "max_size": 8, "timeout": 5}])
def test_check_finds_nothing_wrong_with_a_pool(pooled: Callable[..., None], pool: Any) -> None:
    pooled(pool)
    assert pool_ids() == []


@pytest.mark.parametrize(
    ("pool", "changes", "named"),
    [
        (True, {"CONN_MAX_AGE": 60}, "persistent connections"),
        (True, {"CONN_MAX_AGE": None}, "persistent connections"),
        ({"size": 4}, {}, "'size'"),
        ({"min_size": 4, "max_size": 2}, {}, "max_size"),
        ("yes", {}, "pool"),
    ],
)
def test_check_finds_a_pool_that_cannot_work(
    pooled: Callable[..., None], pool: Any, changes: dict[str, Any], named: str
) -> None:
    pooled(pool, **changes)
    (error,) = checks.check_jobs(None)
    assert error.id == "jobs.E010"
    assert named in error.msg


def test_check_finds_a_pool_without_the_package_for_it(
    pooled: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled({"min_size": 2})
    monkeypatch.setitem(sys.modules, "psycopg_pool", None)
    (error,) = checks.check_jobs(None)
    assert (error.id, "psycopg[pool]" in error.msg) == ("jobs.E010", True)


def test_check_finds_a_pool_of_one_connection(pooled: Callable[..., None]) -> None:
    pooled({"min_size": 1})
    assert pool_ids() == ["jobs.E011"]


def pool_ids() -> list[str | None]:
    """What the engine's own check finds."""
    return [message.id for message in checks.check_jobs(None)]


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"LEASE_SECOND": 3}, "LEASE_SECOND"),
        ({"LEASE_SECONDS": 0}, "LEASE_SECONDS"),
        ({"BATCH": "many"}, "BATCH"),
        ({"BATCH": 1_001}, "BATCH"),
        ({"BATCH": 1.5}, "BATCH"),
        ({"THREADS": 0}, "THREADS must be a number above 0, not 0"),
        ({"THREADS": -1}, "THREADS must be a number above 0, not -1"),
        ({"THREADS": 1_001}, "THREADS must be a whole number up to 1,000, not 1001"),
        ({"THREADS": True}, "THREADS"),
        ({"MAX_ASYNC": 0}, "MAX_ASYNC must be a number above 0, not 0"),
        ({"MAX_ASYNC": -3}, "MAX_ASYNC must be a number above 0, not -3"),
        ({"MAX_ASYNC": "all"}, "MAX_ASYNC must be a number above 0, not 'all'"),
        ({"MAX_ASYNC": 2.5}, "MAX_ASYNC must be a whole number, not 2.5"),
        ({"MAX_ASYNC": 10_001}, "MAX_ASYNC must be a whole number up to 10,000, not 10001"),
        ({"EVENT_LOOP": "trio"}, "EVENT_LOOP must be one of auto, asyncio, uvloop, not 'trio'"),
        ({"LEASE_SECONDS": float("nan")}, "LEASE_SECONDS"),
        ({"LEASE_SECONDS": 10**30}, "LEASE_SECONDS must be a number up to 3,153,600,000, not 10+"),
        ({"RESTORE_MINUTES": 1e12}, "RESTORE_MINUTES must be a number up to 52,560,000, not 1"),
        ({"UNKNOWN_TYPE_HOURS": 876_001}, "UNKNOWN_TYPE_HOURS must be a number up to 876,000"),
        ({"MAX_CRASHES": 10**10}, "MAX_CRASHES must be a whole number up to 1,000,000,000"),
        ({"RESTORE_MINUTES": float("inf")}, "RESTORE_MINUTES"),
        ({"MAX_CRASHES": 2.5}, "MAX_CRASHES"),
        (
            {"RETENTION_DAYS": {"gone": 1}},
            "RETENTION_DAYS: gone is no state that ages out: name succeeded, deleted, failed",
        ),
        ({"RETENTION_DAYS": 7}, "RETENTION_DAYS"),
        ({"RETENTION_DAYS": {"succeeded": "7"}}, "RETENTION_DAYS"),
        ({"RETENTION_DAYS": {"succeeded": -1}}, "RETENTION_DAYS"),
        ({"RETENTION_DAYS": {"failed": float("inf")}}, "RETENTION_DAYS"),
        ({"HANDLER_FACTORY": object()}, "HANDLER_FACTORY"),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL"),
        ({"QUEUES": "default"}, "QUEUES"),
        ({"QUEUES": {"default": 1}}, "QUEUES"),
        (["default"], "JOBS"),
        ({"QUEUES": ["No Good"]}, "QUEUES"),
    ],
)
def test_settings_that_do_not_fit_are_named(raw: Any, named: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=named):
        parse(raw)


def test_an_event_loop_that_is_not_installed_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse({"EVENT_LOOP": "uvloop"}).event_loop == "uvloop"
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ImproperlyConfigured, match=r"uvloop.*not installed: pip install \"jobsite\[uvloop\]\""):
        parse({"EVENT_LOOP": "uvloop"})


def test_check_tells_what_does_not_fit_in_the_settings(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"QUEUES": "default"}
    assert ids() == {"jobs.E005"}


def test_settings_of_the_project_are_in_force() -> None:
    assert parse(settings.JOBS).redis_url == settings.JOBS["REDIS_URL"]
