"""What a change on record altered, field by field and in words: of retry policies, limits, users and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.numbers import in_figures
from dashboard.kit.text import duration, inert

LABELS = {
    "name": gettext_lazy("Name"),
    "max_attempts": gettext_lazy("Attempts"),
    "backoff": gettext_lazy("Backoff"),
    "delay_seconds": gettext_lazy("Delay"),
    "factor": gettext_lazy("Factor"),
    "max_delay_seconds": gettext_lazy("Longest wait"),
    "jitter": gettext_lazy("Jitter"),
    "on_exhausted": gettext_lazy("After the last attempt"),
    "types": gettext_lazy("Job types"),
    "concurrency": gettext_lazy("At once"),
    "rate": gettext_lazy("Starts"),
    # of alert rules
    "job_type": gettext_lazy("Job type"),
    "queue": gettext_lazy("Queue"),
    "threshold": gettext_lazy("Threshold"),
    "least": gettext_lazy("Attempts, at least"),
    "minutes": gettext_lazy("Minutes"),
    "hold_seconds": gettext_lazy("Lasting, seconds"),
    "again_minutes": gettext_lazy("Told again after, minutes"),
    "emails": gettext_lazy("Mail to"),
    "webhook_url": gettext_lazy("Webhook"),
    # of users and groups, on the audit's page
    "email": gettext_lazy("Email"),
    "is_active": gettext_lazy("Active"),
    "is_staff": gettext_lazy("May open the console"),
    "is_superuser": gettext_lazy("Superuser"),
    "groups": gettext_lazy("Groups"),
    "permissions": gettext_lazy("Permissions"),
    "only_queues": gettext_lazy("Only queues"),
    "only_types": gettext_lazy("Only job types"),
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
        Difference(str(LABELS[name]), _words(name, old), _words(name, new))
        for name in names
        if old.get(name) != new.get(name)
    ]


def _words(name: str, values: dict[str, Any]) -> str:
    value = values.get(name)
    if name not in values:
        return _("none")
    if name in ("delay_seconds", "max_delay_seconds"):
        return (
            _("a year") if value is None else duration(value) if isinstance(value, int | float) else inert(str(value))
        )
    if name in ("concurrency", "rate") and not value:
        return _("any number")
    if isinstance(value, list):
        return inert(", ".join(str(item) for item in value)) or _("none")
    return inert(in_figures(f"{value:g}") if isinstance(value, float) else str(value))
