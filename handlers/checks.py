"""System checks of what the engine needs of a project."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.utils.module_loading import import_string

from handlers import carried, lifecycle, relabelling
from handlers.conf import jobs_settings
from handlers.hooks import chain
from handlers.mail import EmailBackend
from handlers.mail.sending import SMTP, real_backend
from handlers.models.sessions import POOLED, POOLED_HINT, leads_to_pooler
from handlers.queues import known_queues
from handlers.recurrence import declared
from handlers.rq_transport.connections import configured_place, whereabouts
from handlers.rq_transport.names import reads_json
from handlers.sagas import checks as saga_checks

VENDORS = ("postgresql", "sqlite")
AT_MOST_COMMITTED = (1, 2)  # psycopg.IsolationLevel's READ_UNCOMMITTED, which is the same, and READ_COMMITTED
POOL_SIZE = 2  # connections that a worker process needs for itself


@register
def check_jobs(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """What would fail later, in a worker: said now, with how to mend it."""
    try:
        jobs_settings()
    except ImproperlyConfigured as error:
        return [*_time(), *_database(), *_pools(), Error(str(error), id="jobs.E005")]
    return [
        *_time(),
        *_database(),
        *_pools(),
        *_factory(),
        *_place(),
        *_queues(),
        *_recurring(),
        *_mail(),
        *_context(),
        *_middleware(),
        *_sagas(),
    ]


@register(deploy=True)
def check_eager(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Jobs that run without a worker, which is for development."""
    with suppress(ImproperlyConfigured):  # ``check_jobs`` says so
        if jobs_settings().eager:
            text = "JOBS EAGER is on: each job runs in the process that enqueues it, which waits, and dies with it."
            return [CheckWarning(text, hint="Leave it out in production, and start workers.", id="jobs.W002")]
    return []


@register(Tags.database)
def check_poolers(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """A pooler that the settings do not mention; asked by ``migrate`` and ``check --database default``."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        with suppress(DatabaseError):  # what cannot be reached is for others to report
            connections[alias].ensure_connection()
        if leads_to_pooler(alias):
            found.append(CheckWarning(POOLED % alias, hint=POOLED_HINT, id="jobs.W001"))
    return found


@register(Tags.database)
def check_isolation(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """An isolation that the server, or the role, gives each transaction, and of which the settings say nothing."""
    alias = lifecycle.database()
    if alias not in (databases or ()) or connections[alias].vendor != "postgresql":
        return []
    with suppress(DatabaseError), connections[alias].cursor() as cursor:
        cursor.execute("SHOW default_transaction_isolation")
        (level,) = cursor.fetchone()
        if level.upper() != "READ COMMITTED" and "isolation_level" not in connections[alias].settings_dict["OPTIONS"]:
            return [_too_isolated(f"default_transaction_isolation of the database {alias!r}", level)]
    return []


def _too_isolated(option: str, level: str) -> CheckMessage:
    return Error(
        f"{option} is {level.replace('_', ' ')}, and jobs need READ COMMITTED: of two who act on a job at once, the"
        " second sees what the first has done. An approval that comes as its job begins to wait for it would be lost.",
        hint="Leave it out. Where the site needs another for tables of its own, set it for those transactions alone:"
        " SET TRANSACTION ISOLATION LEVEL as the first statement; or give jobs an alias of the database by a router.",
        id="jobs.E024",
    )


@register(Tags.database)
def check_labels(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Tables of a release whose apps had other labels, which ``migrate`` would try to make a second time."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        with suppress(DatabaseError):
            if relabelling.is_due(alias):
                text = f"The database {alias!r} is of a release whose apps were labelled 'jobs' and 'dashboard'."
                hint = f"Run manage.py {relabelling.COMMAND} once, then migrate. Tables, jobs and permissions stay."
                found.append(Error(text, hint=hint, id="jobs.E013"))
    return found


def _time() -> list[CheckMessage]:
    if settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False, and jobs are due, leased and timed by moments, not by one zone's wall clock.",
            hint="Set USE_TZ = True, as Django has it by default; TIME_ZONE stays the zone that pages show.",
            id="jobs.E006",
        )
    ]


def _database() -> list[CheckMessage]:
    alias = lifecycle.database()
    connection = connections[alias]
    if connection.vendor not in VENDORS:
        return [
            Error(
                f"Jobs are written to the database {alias!r}, which is {connection.vendor}.",
                hint="Use PostgreSQL, or SQLite on one machine; a router can give jobs a database of their own.",
                id="jobs.E001",
            )
        ]
    if connection.vendor == "postgresql" and connection.Database.__name__ != "psycopg":  # type: ignore[attr-defined]
        return [
            Error(
                f"The database {alias!r} is reached by psycopg2, which cannot do what jobs need of it.",
                hint='Install psycopg 3, which Django then prefers: pip install "psycopg[binary]".',
                id="jobs.E007",
            )
        ]
    level = connection.settings_dict["OPTIONS"].get("isolation_level")
    if connection.vendor == "postgresql" and level is not None and level not in AT_MOST_COMMITTED:
        return [
            _too_isolated(f"DATABASES[{alias!r}]['OPTIONS']['isolation_level']", str(getattr(level, "name", level)))
        ]
    zone = connection.settings_dict["TIME_ZONE"]
    if connection.vendor == "sqlite" and zone not in (None, "UTC"):
        return [
            Error(
                f"DATABASES[{alias!r}]['TIME_ZONE'] is {zone!r}: SQLite would keep wall-clock times of that zone,"
                " of which an hour comes twice each year.",
                hint="Leave that TIME_ZONE out: times are then kept in UTC, and shown in the project's TIME_ZONE.",
                id="jobs.E008",
            )
        ]
    return []


def _pools() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for alias in connections:
        connection: Any = connections[alias]
        if connection.vendor != "postgresql" or not connection.settings_dict["OPTIONS"].get("pool"):
            continue
        option = f"DATABASES[{alias!r}]['OPTIONS']['pool']"
        try:
            pool = connection.pool  # made here, and opened by the first query
        except Exception as error:  # noqa: BLE001 - what Django, its driver and the pool have to say
            hint = (
                'Set CONN_MAX_AGE = 0 beside it; install "psycopg[pool]"; give True, or options of'
                " psycopg_pool.ConnectionPool such as {'min_size': 2, 'max_size': 4}. Or leave it out: each thread of a"
                " worker keeps its connection anyway."
            )
            found.append(Error(f"{option} cannot work: {error}", hint=hint, id="jobs.E010"))
            continue
        if alias == lifecycle.database() and pool.max_size < POOL_SIZE:
            text = (
                f"{option} holds one connection: a worker process records outcomes by one while a handler has another."
            )
            found.append(Error(text, hint="Set its max_size to 2 or more (4 by default).", id="jobs.E011"))
    return found


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


def _place() -> list[CheckMessage]:
    if jobs_settings().eager:
        return []
    place = configured_place()
    if whereabouts(place) is not None:
        return []
    if place:
        what = "JOBS REDIS_URL" if jobs_settings().redis_url else "RQ_QUEUES"
        text = f"{what} names a Redis server in a way that cannot be read."
    else:
        text = "No Redis is configured: jobs would be kept, and no worker would ever hear of them."
    hint = (
        'Set JOBS = {"REDIS_URL": "redis://127.0.0.1:6379/0"}, or "embedded" for the server that manage.py run starts'
        " on this machine, or declare a queue in RQ_QUEUES as django-rq has it."
    )
    return [Error(text, hint=hint, id="jobs.E009")]


def _queues() -> list[CheckMessage]:
    """Queues that the project declared for RQ as JSON read our messages, so in the Redis that we write to.

    One that reads pickles is the site's alone, wherever it is: ours of that name stands beside it.
    """
    configured: dict[str, dict[str, Any]] = getattr(settings, "RQ_QUEUES", {})
    found: list[CheckMessage] = []
    ours = whereabouts(configured_place())
    for name in sorted(known_queues() & set(configured)):
        config = configured[name]
        if reads_json(config) and ours is not None and whereabouts(config) != ours:
            found.append(
                Error(
                    f"RQ_QUEUES[{name!r}] is on another server than the one that jobs are published to.",
                    hint="Name one server and database in both, or leave the queue out of RQ_QUEUES.",
                    id="jobs.E004",
                )
            )
    return found


def _recurring() -> list[CheckMessage]:
    """Recurring jobs of the code that no scheduler could keep."""
    hint = "Mend what jobs.py passes to recurring(): schedulers leave this one as it was before."
    return [Error(f"{problem}.", hint=hint, id="jobs.E012") for problem in declared.problems()]


def _context() -> list[CheckMessage]:
    hint = "Name a contextvars.ContextVar, or an object with get() and set(value): without it no job can be enqueued."
    return [Error(problem, hint=hint, id="jobs.E022") for problem in carried.wrong_carriers()]


def _middleware() -> list[CheckMessage]:
    hint = "Name a class derived from handlers.hooks.JobMiddleware: jobs go on without this one."
    return [Error(problem, hint=hint, id="jobs.E023") for problem in chain.problems()]


def _sagas() -> list[CheckMessage]:
    """What would fail with the first event, or never come."""
    wrong = [*saga_checks.keys(), *saga_checks.names()]
    return [
        *(Error(text, hint=hint, id="jobs.E025") for text, hint in wrong),
        *(CheckWarning(text, hint=hint, id="jobs.W003") for text, hint in saga_checks.timeouts()),
    ]


def _mail() -> list[CheckMessage]:
    """Of a site that sends its mail through jobs: what would fail with each one."""
    ours = f"{EmailBackend.__module__}.{EmailBackend.__qualname__}"
    mailers: dict[str, Any] = getattr(settings, "MAILERS", {})
    options = [config.get("OPTIONS", {}) for config in mailers.values() if config.get("BACKEND") == ours]
    # The deprecated setting is asked for only where the site has it: with MAILERS that raises, and its default warns.
    is_set: bool = settings.is_overridden("EMAIL_BACKEND")  # type: ignore[misc] # the plugin knows settings alone
    if not options and not (is_set and ours == settings.EMAIL_BACKEND):
        return []
    found: list[CheckMessage] = []
    used = jobs_settings()
    for through in {str(each.get("through", "")): None for each in options or [{}]}:
        try:
            if not (through or used.email_backend) and mailers:
                raise ImproperlyConfigured("JOBS EMAIL_BACKEND has to say which of MAILERS really sends.")
            real_backend(through)
        except Exception as error:  # noqa: BLE001 - what a backend raises that cannot be made
            hint = f"Name the backend that really sends, such as {SMTP!r}, or an alias in MAILERS."
            found.append(Error(f"Mail goes through jobs. {error}", hint=hint, id="jobs.E020"))
    if (queue := used.email_queue) and queue not in known_queues():
        text = f"JOBS EMAIL_QUEUE: {queue!r} is no known queue, so no mail could be enqueued."
        found.append(Error(text, hint='Name it in JOBS["QUEUES"] too.', id="jobs.E021"))
    return found
