"""What the system checks say about a project's settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

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


def test_check_finds_a_declared_queue_that_would_not_read_json(settings: Any) -> None:
    url = settings.JOBS["REDIS_URL"]
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"default": {"URL": url}}
    assert ids() == {"jobs.E003"}


def test_check_finds_a_declared_queue_on_another_server(settings: Any) -> None:
    other = {"URL": "redis://127.0.0.1:1/0", "SERIALIZER": "json"}
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"default": other}
    assert ids() == {"jobs.E004"}


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"LEASE_SECOND": 3}, "LEASE_SECOND"),
        ({"LEASE_SECONDS": 0}, "LEASE_SECONDS"),
        ({"BATCH": "many"}, "BATCH"),
        ({"BATCH": 1_001}, "BATCH"),
        ({"BATCH": 1.5}, "BATCH"),
        ({"LEASE_SECONDS": float("nan")}, "LEASE_SECONDS"),
        ({"RESTORE_MINUTES": float("inf")}, "RESTORE_MINUTES"),
        ({"MAX_CRASHES": 2.5}, "MAX_CRASHES"),
        ({"RETENTION_DAYS": {"gone": 1}}, "RETENTION_DAYS"),
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


def test_check_tells_what_does_not_fit_in_the_settings(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"QUEUES": "default"}
    assert ids() == {"jobs.E005"}


def test_settings_of_the_project_are_in_force() -> None:
    assert parse(settings.JOBS).redis_url == settings.JOBS["REDIS_URL"]
