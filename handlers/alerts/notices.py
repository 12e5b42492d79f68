"""What people are told, and the jobs that tell them: one for each place, so that one that is away holds up no other."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from handlers import fleet, lifecycle
from handlers.alerts import sending
from handlers.alerts.names import TYPE_NAME
from handlers.conf import SYSTEM_QUEUE
from handlers.lifecycle import NewJob
from handlers.models import AlertIncident, AlertNotice, AlertRule
from handlers.payloads import Job
from handlers.publishing import publish_on_commit
from handlers.registry import registry

ACTOR = "alerts"
SHOWN = 20  # incidents that one message names


class Status(enum.StrEnum):
    """How an incident is, in a message."""

    OPENED = "opened"
    STILL_OPEN = "still open"
    RESOLVED = "resolved"
    TEST = "test"


@dataclass(frozen=True)
class SendAlert(Job):
    """The engine's own: what is sent, and where to, is read when it runs, and stands in no job's arguments."""

    notice_id: int


def tell(rule: AlertRule, told: Sequence[tuple[Status, AlertIncident]], now: datetime, alias: str) -> None:
    """Let each of the rule's places be told of these, in the caller's transaction."""
    event = {
        "rule": rule.name,
        "at": now.isoformat(),
        "incidents": [
            {
                "id": incident.pk,
                "status": status.value,
                "key": incident.key,
                "words": incident.words,
                "path": incident.path,
                "began_at": incident.began_at.isoformat(),
                "ended_at": incident.ended_at.isoformat() if incident.ended_at else None,
            }
            for status, incident in told[:SHOWN]
        ],
        "more": max(len(told) - SHOWN, 0),
    }
    send(rule, event, now, alias)


def send(rule: AlertRule, event: dict[str, Any], now: datetime, alias: str) -> int:
    """Let each of the rule's places have ``event``; how many there are."""
    channels = [name for name, to in (("email", rule.emails), ("webhook", rule.webhook_url)) if to]
    rows = [
        AlertNotice.objects.using(alias).create(rule=rule, at=now, channel=channel, event=event) for channel in channels
    ]
    encode = registry.get(TYPE_NAME).encode
    new = [NewJob(TYPE_NAME, encode(SendAlert(row.pk)), SYSTEM_QUEUE) for row in rows]
    publish_on_commit(lifecycle.create(new, actor=ACTOR, using=alias), using=alias)
    if rows and not fleet.live_workers():  # nobody would run these jobs, which may be what they are to say
        pks = [row.pk for row in rows]
        transaction.on_commit(lambda: sending.send_in_background(pks), using=alias, robust=True)
    return len(rows)
