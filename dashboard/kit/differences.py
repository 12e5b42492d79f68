"""What a change on record altered, field by field and in words: of retry policies, limits, users and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashboard.kit.text import duration, inert

LABELS = {
    "name": "Name",
    "max_attempts": "Attempts",
    "backoff": "Backoff",
    "delay_seconds": "Delay",
    "factor": "Factor",
    "max_delay_seconds": "Longest wait",
    "jitter": "Jitter",
    "on_exhausted": "After the last attempt",
    "types": "Job types",
    "concurrency": "At once",
    "rate": "Starts",
    # of alert rules
    "job_type": "Job type",
    "queue": "Queue",
    "threshold": "Threshold",
    "least": "Attempts, at least",
    "minutes": "Minutes",
    "hold_seconds": "Lasting, seconds",
    "again_minutes": "Told again after, minutes",
    "emails": "Mail to",
    "webhook_url": "Webhook",
    # of users and groups, on the audit's page
    "email": "Email",
    "is_active": "Active",
    "is_staff": "May open the console",
    "is_superuser": "Superuser",
    "groups": "Groups",
    "permissions": "Permissions",
}


@dataclass(frozen=True)
class Difference:
    """One field that a change alters, in words."""

    label: str
    before: str
    after: str


def differences(before: Any, after: Any) -> list[Difference]:
    """The fields that differ between two states as the audit keeps them; None is none."""
    old, new = (value if isinstance(value, dict) else {} for value in (before, after))
    names = [name for name in LABELS if name in old or name in new]
    return [
        Difference(LABELS[name], _words(name, old), _words(name, new))
        for name in names
        if old.get(name) != new.get(name)
    ]


def _words(name: str, values: dict[str, Any]) -> str:
    value = values.get(name)
    if name not in values:
        return "none"
    if name in ("delay_seconds", "max_delay_seconds"):
        return "a year" if value is None else duration(value) if isinstance(value, int | float) else inert(str(value))
    if name in ("concurrency", "rate") and not value:
        return "any number"
    if isinstance(value, list):
        return inert(", ".join(str(item) for item in value)) or "none"
    return inert(f"{value:g}" if isinstance(value, float) else str(value))
