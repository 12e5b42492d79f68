"""The jobs that want slots: whether they can be claimed otherwise, and what they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from handlers.admission.keys import Pair
from handlers.conf import jobs_settings
from handlers.exceptions import NoHandler
from handlers.job_types import JobType
from handlers.models import JobPayload, JobRecord, QueueSwitch, TypeSwitch
from handlers.priorities import rank
from handlers.registry import registry
from handlers.states import State
from handlers.transport import Message


class LimitedJob(NamedTuple):
    """A job on its queue, or in a line."""

    job_id: int
    token: str
    job_type: str
    queue: str
    priority: int
    enqueued_at: datetime

    @property
    def rank(self) -> float:
        """Its place among others."""
        return rank(self.enqueued_at, self.priority, seconds=jobs_settings().priority_seconds)

    @property
    def message(self) -> Message:
        """What it is published by."""
        return Message(self.job_id, self.token, self.queue, priority=self.priority, enqueued_at=self.enqueued_at)


def claimable(wanted: Collection[tuple[int, str]], using: str, *, company: bool = False) -> dict[int, LimitedJob]:
    """Those of these (job, token) that could be claimed if they had slots; ``company``: beside others."""
    rows = JobRecord.objects.using(using).filter(
        pk__in=[job_id for job_id, _ in wanted], state=State.ENQUEUED, limited=True, enqueued_at__isnull=False
    )
    rows = rows.exclude(queue__in=QueueSwitch.on().using(using).values("name"))
    rows = rows.exclude(job_type__in=TypeSwitch.on().using(using).values("name"))
    if company:
        rows = rows.filter(alone=False)
    found = map(LimitedJob._make, rows.values_list("pk", "token", "job_type", "queue", "priority", "enqueued_at"))
    tokens = dict(wanted)
    return {job.job_id: job for job in found if tokens[job.job_id] == job.token}


def needs_of(jobs: Sequence[LimitedJob], using: str, lines: Mapping[int, Pair] | None = None) -> dict[int, list[Pair]]:
    """Of which keys each of these needs a slot, in the order of its type's limits.

    ``lines``: in which line each one waits. A type that this code does not know needs a slot of that, else of nothing.
    """
    types = {name: _type(name) for name in {job.job_type for job in jobs}}
    needs: dict[int, list[Pair]] = {}
    unread: list[LimitedJob] = []
    for job in jobs:
        job_type, line = types[job.job_type], (lines or {}).get(job.job_id)
        if job_type is None:
            needs[job.job_id] = [line] if line else []
        elif line and [limit.name for limit in job_type.limits] == [line.name]:
            needs[job.job_id] = [line]
        elif any(limit.key is not None for limit in job_type.limits):
            unread.append(job)
        else:
            needs[job.job_id] = _pairs(job_type.keys_of({}))
    data = dict(JobPayload.objects.using(using).filter(pk__in=[job.job_id for job in unread]).values_list("pk", "data"))
    for job in unread:
        job_type = types[job.job_type]
        assert job_type is not None
        needs[job.job_id] = _pairs(job_type.keys_of(data.get(job.job_id)))
    return needs


def _pairs(keys: Iterable[tuple[str, str]]) -> list[Pair]:
    return [Pair(*key) for key in keys]


def _type(name: str) -> JobType | None:
    try:
        return registry.get(name)
    except NoHandler:
        return None
