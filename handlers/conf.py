"""The ``JOBS`` setting: one dict, defaults for every key, a clear error for what does not fit."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from handlers import embedded_socket, redis_urls

SYSTEM_QUEUE = "system"
EMBEDDED = "embedded"  # a REDIS_URL: the server that ``manage.py run`` starts for one machine
ENGINE_TYPES = "jobs."  # how the names of the engine's own job types begin
QUEUE_NAME = re.compile(r"[a-z0-9_-]{1,64}")
CONTEXT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")  # of what travels with a job
CONTEXT_OWN = ("user", "language")  # what the engine itself puts there
UNITS = {"seconds": 1, "minutes": 60, "hours": 3_600}  # of settings, by the end of their names
MOST_NUMBER = 10**9  # of one without a unit
MOST_PROCESSES = 1_000  # of one worker
MOST = {"batch": 1_000, "max_async": 10_000, "threads": 1_000, "metrics_series": 10_000}
SHORTEST_TOKEN = 16
LONGEST_VERSION = 64
ASYNCIO, UVLOOP = "asyncio", "uvloop"
EVENT_LOOPS = ("auto", ASYNCIO, UVLOOP)
NEXT_VERSION = "next"  # what people say where they mean the one that is not out yet
SWITCHES = ("eager", "metrics_loopback", "call_private_addresses")
ADDRESSES = ("console_url", "dead_man_url")
MOST_DAYS = 36_500  # the calendar has to hold what lies so long ago
POSITIVE = (
    "lease_seconds", "shutdown_grace_seconds", "timeout_seconds", "timeout_grace_seconds", "max_crashes", "batch",
    "max_async", "threads", "max_payload_bytes", "max_result_bytes", "max_error_chars", "restore_minutes",
    "recovery_seconds", "unknown_type_hours", "misfire_seconds", "priority_seconds", "metrics_series",
    "middleware_seconds",
)  # fmt: skip
TEXTS = {
    "handler_factory": "a dotted path",
    "email_backend": "a dotted path, or an alias in MAILERS",
    "email_queue": "a queue's name",
}
WHOLE = (
    "max_crashes", "batch", "max_async", "threads", "max_payload_bytes", "max_result_bytes", "max_error_chars",
    "metrics_series",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobsSettings:
    """``settings.JOBS``, typed. Keys are the upper-case names of these fields; durations name their unit."""

    version: str = ""  # of the site's code, such as "2026.11.3" or a commit; kept with each attempt
    queues: tuple[str, ...] = ("default",)  # queues that exist beside those that a job type names
    handler_factory: str = ""  # dotted path, (handler_class) -> instance, called per attempt
    redis_url: str = ""  # where jobs are published; that of RQ_QUEUES when empty
    eager: bool = False  # whether jobs run as they are committed, in the process that enqueues them; for development
    lease_seconds: float = 15.0  # a claim expires this long after its last renewal
    shutdown_grace_seconds: float = 10.0  # what a running job gets after SIGTERM before it is handed back
    timeout_seconds: float = 300.0  # an attempt's limit, where its job type names none
    timeout_grace_seconds: float = 5.0  # between asking a timed-out handler to stop and killing its process
    max_crashes: int = 3  # worker deaths in one job before it is failed
    batch: int = 256  # most jobs a worker claims at once; 1 turns batching off
    max_async: int = 100  # most async handlers that run at once in one worker process
    event_loop: str = "auto"  # on which they do: "asyncio", "uvloop", or the second where it is installed
    threads: int = 1  # most other handlers that run at once in one worker process; 1: in its main thread
    max_payload_bytes: int = 1024 * 1024  # of a job's arguments, as JSON
    max_result_bytes: int = 64 * 1024  # of what a handler returns, as JSON
    max_error_chars: int = 64 * 1024  # stored of one traceback or message
    unknown_type_hours: float = 4.0  # how long a job waits for a worker whose code can run it before it is failed
    restore_minutes: float = 60.0  # how long a deleted job can be restored
    recovery_seconds: float = 1.0  # how often the scheduler looks for what was lost
    misfire_seconds: float = 5.0  # an occurrence of a recurring job that is fired later than that was missed
    priority_seconds: float = 6.0  # what one point of a job's priority is worth: so much earlier it counts as enqueued
    email_backend: str = ""  # by which handlers.mail sends: a dotted path, or an alias in MAILERS; empty: Django's SMTP
    email_queue: str = ""  # of mails; empty: default
    metrics_token: str = field(default="", repr=False)  # by which a scrape of /metrics shows that it may
    metrics_loopback: bool = False  # whether it needs none from this machine
    metrics_series: int = 100  # pairs of queue and type with series of their own; the rest is counted together
    middleware: tuple[str, ...] = ()  # around each enqueue and each run: dotted paths, the outermost first
    middleware_seconds: float = 5.0  # of one, before what it is around, and after it
    context: dict[str, str] = field(default_factory=dict)  # what travels with jobs: ContextVars' dotted paths, by name
    sensitive_context: tuple[str, ...] = ()  # names in jobs' contexts whose values not everybody may see
    console_url: str = ""  # where people find the console, for links in alerts: https://ops.example.org/admin/
    dead_man_url: str = field(default="", repr=False)  # called once a minute while all is well; who hears nothing warns
    call_private_addresses: bool = False  # whether typed addresses may lead into this server's own network
    retention_days: dict[str, float | None] = field(  # after which what has ended is removed; None: never
        default_factory=lambda: {"succeeded": 7.0, "deleted": 7.0, "failed": None}
    )


def parse(raw: Mapping[str, Any]) -> JobsSettings:
    """``raw`` as settings. Raises ImproperlyConfigured, naming the key, when a key or value does not fit."""
    if not isinstance(raw, Mapping):
        raise ImproperlyConfigured(f"JOBS must be a dict of settings, not {type(raw).__name__}.")
    names = {f.name.upper(): f.name for f in fields(JobsSettings)}
    if unknown := sorted(str(key) for key in set(raw) - set(names)):
        raise ImproperlyConfigured(
            f"JOBS: unknown key {', '.join(unknown)}; known keys are {', '.join(sorted(names))}."
        )
    values = {names[key]: value for key, value in raw.items()}
    if "queues" in values:
        values["queues"] = _queues(values["queues"])
    if "redis_url" in values:
        values["redis_url"] = _redis_url(values["redis_url"])
    if "context" in values:
        values["context"] = _context(values["context"])
    if "middleware" in values:
        values["middleware"] = _names("MIDDLEWARE", values["middleware"])
    if "sensitive_context" in values:
        values["sensitive_context"] = _names("SENSITIVE_CONTEXT", values["sensitive_context"])
    if "retention_days" in values:
        values["retention_days"] = JobsSettings().retention_days | _retention(values["retention_days"])
    parsed = JobsSettings(**values)
    _check_texts(parsed)
    _check_switches(parsed)
    _check_numbers(parsed)
    return parsed


def _check_texts(parsed: JobsSettings) -> None:
    for name, what in TEXTS.items():
        if not isinstance(value := getattr(parsed, name), str):
            raise ImproperlyConfigured(f"JOBS: {name.upper()} must be {what}, not {value!r}.")
    if parsed.event_loop not in EVENT_LOOPS:
        raise ImproperlyConfigured(
            f"JOBS: EVENT_LOOP must be one of {', '.join(EVENT_LOOPS)}, not {parsed.event_loop!r}."
        )
    if parsed.event_loop == UVLOOP and find_spec(UVLOOP) is None:
        raise ImproperlyConfigured(
            'JOBS: EVENT_LOOP is "uvloop", which is not installed: pip install "jobsite[uvloop]".'
        )
    if problem := version_problem(parsed.version):
        raise ImproperlyConfigured(f"JOBS: VERSION {problem}.")
    for name in ADDRESSES:
        value = getattr(parsed, name)
        if not isinstance(value, str) or not (value == "" or re.fullmatch(r"https?://[^\s@]+", value)):
            raise ImproperlyConfigured(f"JOBS: {name.upper()} must be an http or https address, without a password.")
    token: object = parsed.metrics_token  # of which no error repeats anything
    if not isinstance(token, str) or not (token == "" or len(token) >= SHORTEST_TOKEN):
        raise ImproperlyConfigured(f"JOBS: METRICS_TOKEN must be text of {SHORTEST_TOKEN} or more random characters.")


def version_problem(version: object) -> str:
    """What is wrong with a version's name, in words that follow its own; empty: nothing."""
    if not isinstance(version, str) or not version.isprintable() or len(version) > LONGEST_VERSION:
        return f"must be one line of at most {LONGEST_VERSION} characters, not {str(version)[:80]!r}"
    if version != version.strip() or version == NEXT_VERSION:
        return f"must be a name, without spaces around it and not {NEXT_VERSION!r}, not {version!r}"
    return ""


def _check_switches(parsed: JobsSettings) -> None:
    for name in SWITCHES:
        if not isinstance(value := getattr(parsed, name), bool):
            raise ImproperlyConfigured(f"JOBS: {name.upper()} must be True or False, not {value!r}.")


def _check_numbers(parsed: JobsSettings) -> None:
    for name in POSITIVE:
        if not _is_number(value := getattr(parsed, name)) or value <= 0:
            raise ImproperlyConfigured(f"JOBS: {name.upper()} must be a number above 0, not {value!r}.")
        if name in WHOLE and not isinstance(value, int):
            raise ImproperlyConfigured(f"JOBS: {name.upper()} must be a whole number, not {value!r}.")
        unit = UNITS.get(name.rpartition("_")[2])
        most = MOST.get(name, MOST_DAYS * 86_400 // unit if unit else MOST_NUMBER)
        if value > most:
            kind = "whole number" if name in WHOLE else "number"
            raise ImproperlyConfigured(f"JOBS: {name.upper()} must be a {kind} up to {most:,}, not {value!r}.")


def _queues(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple | set | frozenset):  # tuple("default") would be seven queues
        raise ImproperlyConfigured(f"JOBS: QUEUES must be a list of names, such as ['default'], not {names!r}.")
    for name in names:
        if not isinstance(name, str) or not QUEUE_NAME.fullmatch(name) or name == SYSTEM_QUEUE:
            raise ImproperlyConfigured(
                f"JOBS: QUEUES: {name!r} is no queue name: use 1 to 64 of a-z, 0-9, hyphen and underscore,"
                f" and not {SYSTEM_QUEUE!r}, which is the engine's own."
            )
    return tuple(names)


def _context(paths: Any) -> dict[str, str]:
    if not isinstance(paths, Mapping):
        raise ImproperlyConfigured(
            f"JOBS: CONTEXT must be a dict such as {{'tenant': 'shop.tenancy.current_tenant'}}, not {paths!r}."
        )
    for name, path in paths.items():
        if not isinstance(name, str) or not CONTEXT_NAME.fullmatch(name) or name in CONTEXT_OWN:
            raise ImproperlyConfigured(
                f"JOBS: CONTEXT: {name!r} is no name: use up to 64 letters, digits, dots, hyphens and underscores, a"
                f" letter first, and none of {', '.join(CONTEXT_OWN)}."
            )
        if not isinstance(path, str) or "." not in path:
            raise ImproperlyConfigured(f"JOBS: CONTEXT: {name!r} must be a dotted path, not {path!r}.")
    return dict(paths)


def _names(key: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in names):
        raise ImproperlyConfigured(f"JOBS: {key} must be a list of names, not {names!r}.")
    return tuple(names)


def _redis_url(url: Any) -> str:
    """``url``, of which no error repeats anything: a password may be in it."""
    if url is None or url == "":  # as os.environ.get() has it: RQ_QUEUES may name the place
        return ""
    if url == EMBEDDED:
        return embedded_socket.find_url(data_folder() / "redis")
    try:
        redis_urls.place(url)
    except ValueError as error:
        raise ImproperlyConfigured(f"JOBS: REDIS_URL: {error}.") from None
    return str(url)


def _retention(days: Any) -> dict[str, float | None]:
    known = JobsSettings().retention_days
    if not isinstance(days, Mapping):
        raise ImproperlyConfigured(f"JOBS: RETENTION_DAYS must be a dict such as {known}, not {days!r}.")
    if wrong := set(days) - set(known):
        named, names = ", ".join(sorted(map(str, wrong))), ", ".join(known)
        raise ImproperlyConfigured(f"JOBS: RETENTION_DAYS: {named} is no state that ages out: name {names}.")
    for state, value in days.items():
        if value is not None and not (_is_number(value) and 0 <= value <= MOST_DAYS):
            raise ImproperlyConfigured(
                f"JOBS: RETENTION_DAYS: {state!r} must be a number of days from 0 to {MOST_DAYS:,},"
                f" or None for never, not {value!r}."
            )
    return dict(days)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_embedded() -> bool:
    """Whether jobs are published to the server that ``manage.py run`` starts."""
    return bool(getattr(settings, "JOBS", {}).get("REDIS_URL") == EMBEDDED)


def is_started_by_run() -> bool:
    """Whether jobs are published to the place where ``manage.py run`` has its server, however that is named."""
    return jobs_settings().redis_url == embedded_socket.find_url(data_folder() / "redis")


def data_folder() -> Path:
    """Where ``manage.py run`` keeps what it needs: JOBSITE_DATA, or else ``var`` in the settings' BASE_DIR."""
    given = os.environ.get("JOBSITE_DATA")
    return (Path(given) if given else Path(getattr(settings, "BASE_DIR", None) or Path.cwd()) / "var").absolute()


@cache
def jobs_settings() -> JobsSettings:
    """The settings in force."""
    return parse(getattr(settings, "JOBS", {}))


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting == "JOBS":
        jobs_settings.cache_clear()
