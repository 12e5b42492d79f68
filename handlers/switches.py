"""The switches that people set on running things: paused queues and job types, workers that are asked to stop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import connections, transaction
from django.db.models import QuerySet

from handlers import waiting
from handlers.audit import By, actor_name, audit
from handlers.deadlines import check_ahead
from handlers.exceptions import InvalidJob, NoHandler
from handlers.failures import clean, reason_text
from handlers.lifecycle import database
from handlers.models import JobPayload, QueueSwitch, Switch, TypeSwitch, WorkerProcess
from handlers.models.sql import database_now
from handlers.publishing import publish
from handlers.registry import registry
from handlers.wording import worded
from handlers.writing import writing

CHUNK = 1_000  # jobs looked at, and published, at once
CHUNKS = 5  # such looks when a type runs again; recovery goes further


def pause(switch: type[Switch], names: Sequence[str], until: datetime | None, by: By, reason: str) -> None:
    """Pause one queue or type, which has all of ``names``, the present one first.

    Raises InvalidJob for an ``until`` that is no aware datetime, or has passed.
    """
    if until is not None and (not isinstance(until, datetime) or until.utcoffset() is None):
        raise InvalidJob(worded("until: must be an aware datetime, not %(until)s", until=repr(until)), field="until")
    alias = database()
    with writing(alias):
        now = database_now(connections[alias])
        check_ahead(until, now)
        facts = {
            "paused_at": now,
            "until": until,
            "by": clean(actor_name(by), 150),
            "reason": reason_text(reason),
        }
        for name in names:
            switch._default_manager.using(alias).update_or_create(name=name, defaults=facts)
        told = {"until": until.isoformat() if until else None}
        audit(by, f"pause_{switch.kind}", f"{switch.kind} {names[0]}", 1, reason, told)


def resume(switch: type[Switch], names: Sequence[str], by: By, reason: str) -> bool:
    """Take its switches away; whether there was one."""
    alias = database()
    with writing(alias):
        removed, _ = switch._default_manager.using(alias).filter(name__in=names).delete()
        audit(by, f"resume_{switch.kind}", f"{switch.kind} {names[0]}", min(removed, 1), reason, None)
    return removed > 0


def resume_type(name: str, by: By, reason: str) -> None:
    """Resume a type, and publish the first of its jobs that wait; the rest comes with recovery."""
    alias, names = database(), type_names(name)
    with writing(alias):
        if resume(TypeSwitch, names, by, reason):
            transaction.on_commit(lambda: _publish_waiting(names), using=alias, robust=True)


def type_names(name: str) -> list[str]:
    """The type's name and its former ones. Raises InvalidJob for a name that no type, job or switch has."""
    try:
        job_type = registry.get(name)
    except NoHandler as error:
        alias, name = database(), str(name)
        stored = JobPayload.objects.using(alias).filter(job_type=name).exists()
        if not stored and not TypeSwitch.objects.using(alias).filter(name=name).exists():
            raise InvalidJob(worded("type: %(name)s is not known", name=repr(str(name)[:200])), field="type") from error
        return [name]
    return [job_type.name, *job_type.aliases]


def paused_queues() -> dict[str, QueueSwitch]:
    """The queues that are paused now, by name."""
    return {switch.name: switch for switch in QueueSwitch.on().using(database())}


def paused_types() -> dict[str, TypeSwitch]:
    """The types that are paused now, by their present name."""
    found: dict[str, TypeSwitch] = {}
    for switch in _paused_types():
        try:
            name = registry.get(switch.name).name
        except NoHandler:
            name = switch.name
        if name not in found or switch.name == name:
            found[name] = switch
    return found


def paused_type_names() -> list[str]:
    """Every stored name, former names included, whose jobs may not be claimed now."""
    return [switch.name for switch in _paused_types()]


def stop_worker(name: str, by: By, reason: str) -> bool:
    """Ask a worker to finish and stop; False when it was asked before. Its supervisor reads that within seconds."""
    alias = database()
    with writing(alias):
        rows = WorkerProcess.objects.using(alias).filter(name=name, kind="worker")
        if not rows.exists():
            raise InvalidJob(worded("worker: there is no worker %(name)s", name=repr(str(name)[:100])), field="worker")
        now = database_now(connections[alias])
        asked = rows.filter(stop_requested_at=None).update(stop_requested_at=now)
        audit(by, "stop_worker", f"worker {name}", asked, reason, None)
    return asked == 1


def _publish_waiting(names: Sequence[str]) -> None:
    """Publish jobs whose messages the workers may have dropped, so that they run without waiting for a scheduler.

    While the type was paused its jobs gathered at the head of their queues, so only that is looked at. A message that
    was not dropped is there twice then, which changes nothing.
    """
    left = CHUNKS
    for queue in waiting.queues():
        after = None
        while left:
            left -= 1
            found = waiting.oldest(queue, CHUNK, after=after)
            ours = [job.message for job in found if job.job_type in names]
            if ours and not publish(ours):
                return  # recovery finds them
            if len(found) < CHUNK or not ours:
                break
            after = found[-1].place


def _paused_types() -> QuerySet[TypeSwitch]:
    return TypeSwitch.on().using(database()).order_by("name")
