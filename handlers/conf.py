"""The ``JOBS`` setting: one dict, defaults for every key, a clear error for what does not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

SYSTEM_QUEUE = "system"
ENGINE_TYPES = "jobs."  # how the names of the engine's own job types begin
QUEUE_NAME = re.compile(r"[a-z0-9_-]{1,64}")
MOST_AT_ONCE = 1_000  # jobs in one batch
POSITIVE = (
    "lease_seconds", "shutdown_grace_seconds", "timeout_seconds", "timeout_grace_seconds", "max_crashes", "batch",
    "max_payload_bytes", "max_error_chars", "restore_minutes", "recovery_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobsSettings:
    """``settings.JOBS``, typed. Keys are the upper-case names of these fields; durations name their unit."""

    queues: tuple[str, ...] = ("default",)  # queues that exist beside those that a job type names
    handler_factory: str = ""  # dotted path, (handler_class) -> instance, called per attempt
    redis_url: str = ""  # where RQ_QUEUES point
    lease_seconds: float = 15.0  # a claim expires this long after its last renewal
    shutdown_grace_seconds: float = 10.0  # what a running job gets after SIGTERM before it is handed back
    timeout_seconds: float = 300.0  # an attempt's limit, where its job type names none
    timeout_grace_seconds: float = 5.0  # between asking a timed-out handler to stop and killing its process
    max_crashes: int = 3  # worker deaths in one job before it is failed
    batch: int = 256  # most jobs a worker claims at once; 1 turns batching off
    max_payload_bytes: int = 1024 * 1024
    max_error_chars: int = 64 * 1024  # stored of one traceback or message
    restore_minutes: float = 60.0  # how long a deleted job can be restored
    recovery_seconds: float = 1.0  # how often the scheduler looks for what was lost
    retention_days: dict[str, float | None] = field(
        default_factory=lambda: {"succeeded": 7.0, "deleted": 7.0, "failed": None}
    )


def parse(raw: dict[str, Any]) -> JobsSettings:
    """``raw`` as settings. Raises ImproperlyConfigured, naming the key, when a key or value does not fit."""
    names = {f.name.upper(): f.name for f in fields(JobsSettings)}
    if unknown := sorted(set(raw) - set(names)):
        raise ImproperlyConfigured(
            f"JOBS: unknown key {', '.join(unknown)}; known keys are {', '.join(sorted(names))}."
        )
    values = {names[key]: value for key, value in raw.items()}
    if "queues" in values:
        values["queues"] = tuple(values["queues"])
    if "retention_days" in values:
        values["retention_days"] = JobsSettings().retention_days | values["retention_days"]
    parsed = JobsSettings(**values)
    for queue in parsed.queues:
        if not isinstance(queue, str) or not QUEUE_NAME.fullmatch(queue) or queue == SYSTEM_QUEUE:
            raise ImproperlyConfigured(
                f"JOBS: QUEUES: {queue!r} is no queue name: use 1 to 64 of a-z, 0-9, hyphen and underscore,"
                f" and not {SYSTEM_QUEUE!r}, which is the engine's own."
            )
    for name in POSITIVE:
        value = getattr(parsed, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ImproperlyConfigured(f"JOBS: {name.upper()} must be a number above 0, not {value!r}.")
    if not isinstance(parsed.batch, int) or parsed.batch > MOST_AT_ONCE:
        raise ImproperlyConfigured(f"JOBS: BATCH must be a whole number up to {MOST_AT_ONCE:,}, not {parsed.batch!r}.")
    if wrong := set(parsed.retention_days) - set(JobsSettings().retention_days):
        raise ImproperlyConfigured(f"JOBS: RETENTION_DAYS: {', '.join(sorted(wrong))} is no state that ages out.")
    return parsed


@cache
def jobs_settings() -> JobsSettings:
    """The settings in force."""
    return parse(getattr(settings, "JOBS", {}))


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting == "JOBS":
        jobs_settings.cache_clear()
