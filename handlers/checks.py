"""System checks of what the engine needs of a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import connections
from django.utils.module_loading import import_string

from handlers import lifecycle
from handlers.conf import jobs_settings
from handlers.gateway import known_queues

VENDORS = ("postgresql", "sqlite")


@register
def check_jobs(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """What would fail later, in a worker: said now, with how to mend it."""
    return [*_database(), *_factory(), *_queues()]


def _database() -> list[CheckMessage]:
    alias = lifecycle.database()
    vendor = connections[alias].vendor
    if vendor in VENDORS:
        return []
    return [
        Error(
            f"Jobs are written to the database {alias!r}, which is {vendor}.",
            hint="Use PostgreSQL, or SQLite on one machine; a database router can give jobs a database of their own.",
            id="jobs.E001",
        )
    ]


def _factory() -> list[CheckMessage]:
    path = jobs_settings().handler_factory
    if not path:
        return []
    try:
        factory = import_string(path)
    except ImportError as error:
        return [Error(f"JOBS HANDLER_FACTORY: {path!r} cannot be imported: {error}.", id="jobs.E002")]
    if callable(factory):
        return []
    return [Error(f"JOBS HANDLER_FACTORY: {path!r} cannot be called with a handler class.", id="jobs.E002")]


def _queues() -> list[CheckMessage]:
    """Queues that the project declared for RQ by itself must read our messages, in the Redis that we write to."""
    declared: dict[str, dict[str, Any]] = getattr(settings, "RQ_QUEUES", {})
    found: list[CheckMessage] = []
    url = jobs_settings().redis_url
    for name in sorted(known_queues() & set(declared)):
        config = declared[name]
        serializer = str(config.get("SERIALIZER", "pickle"))
        if "json" not in serializer.lower():
            found.append(
                Error(
                    f"RQ_QUEUES[{name!r}] uses the serializer {serializer}.",
                    hint='Jobs travel as JSON: add "SERIALIZER": "json", or leave the queue out of RQ_QUEUES.',
                    id="jobs.E003",
                )
            )
        if url and config.get("URL", url) != url:
            found.append(
                Error(
                    f"RQ_QUEUES[{name!r}] is on another server than JOBS REDIS_URL.",
                    hint="Jobs are published to JOBS REDIS_URL: give both the same URL.",
                    id="jobs.E004",
                )
            )
    return found
