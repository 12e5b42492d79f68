"""The jobs that want slots: whether they can be claimed otherwise, and what they need."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connections

from handlers.admission.keys import Pair
from handlers.conf import jobs_settings
from handlers.exceptions import NoHandler
from handlers.job_types import JobType
from handlers.lifecycle import guards
from handlers.lifecycle.postgresql import AS_ASKED
from handlers.models import JobPayload, JobRecord, LimitSlot
from handlers.models.sql import as_rows, database_now, fetch, fetch_anew, from_time, is_postgresql, rows_cte, to_time
from handlers.priorities import rank
from handlers.registry import registry
from handlers.transport import Message

LIMITED = "limited"  # the flag of jobs that need slots
JOBS, PAYLOADS, SLOTS = (model._meta.db_table for model in (JobRecord, JobPayload, LimitSlot))


class LimitedJob(NamedTuple):
    """A job on its queue, or in a line."""

    job_id: int
    token: str
    job_type: str
    queue: str
    priority: int
    slot_token: str | None  # under which it has slots, if it has any
    data: str | None  # its arguments as JSON, where they were asked for
    since: str  # when it was enqueued; read as a time only where that is asked for

    @property
    def enqueued_at(self) -> datetime:
        """When it came to its queue."""
        at = from_time(self.since)
        assert at is not None
        return at

    @property
    def rank(self) -> float:
        """Its place among others."""
        return rank(self.enqueued_at, self.priority, seconds=jobs_settings().priority_seconds)

    @property
    def message(self) -> Message:
        """What it is published by."""
        return Message(self.job_id, self.token, self.queue, priority=self.priority, enqueued_at=self.enqueued_at)


def as_text(column: str, *, postgresql: bool) -> str:
    """SQL for a time as text. To read one as a time takes longer than most of what is done with a job here."""
    return f"{column}::text" if postgresql else f"({column} || '')"


def claimable(
    wanted: Collection[tuple[int, str]], using: str, *, company: bool = False, data: bool = False
) -> dict[int, LimitedJob]:
    """Those of these (job, token) that could be claimed if they had slots; ``company``: beside others.

    ``data``: with their arguments.
    """
    if not wanted:
        return {}
    connection = connections[using]
    ask = fetch if connection.in_atomic_block else fetch_anew  # such a transaction goes by indexes
    postgresql = is_postgresql(connection)
    now, params = "statement_timestamp()", [as_rows(connection, list(wanted))]
    if not postgresql:
        now, params = "%s", [*params, *[to_time(connection, database_now(connection))] * 2]
    # As at the claim, see lifecycle.postgresql.
    of_asked = (
        f"{JOBS} j WHERE {AS_ASKED}"
        if postgresql
        else f"v JOIN {JOBS} j ON j.id = v.id AND j.token = v.token WHERE TRUE"
    )
    sql = f"""
        WITH {rows_cte("v", {"id": "id", "token": "text"}, postgresql=postgresql)}
        SELECT j.id, j.token, j.job_type, j.queue, j.priority,
            (SELECT s.token FROM {SLOTS} s WHERE s.job_id = j.id LIMIT 1),
            {f"(SELECT p.data FROM {PAYLOADS} p WHERE p.job_id = j.id)" if data else "NULL"},
            {as_text("j.enqueued_at", postgresql=postgresql)}
        FROM {of_asked} AND j.state || '' = 'enqueued'
            AND j.limited AND j.enqueued_at IS NOT NULL {"AND NOT j.alone" if company else ""}
            AND j.queue NOT IN (SELECT name FROM jobs_queueswitch WHERE until IS NULL OR until > {now})
            AND j.job_type NOT IN (SELECT name FROM jobs_typeswitch WHERE until IS NULL OR until > {now})
            {guards.sql(without=LIMITED)}
    """
    return {row[0]: LimitedJob._make(row) for row in ask(connection, sql, params)}


def needs_of(jobs: Sequence[LimitedJob], lines: Mapping[int, Pair] | None = None) -> dict[int, list[Pair]]:
    """Of which keys each of these needs a slot, in the order of its type's limits.

    ``lines``: in which line each one waits. A type that this code does not know needs a slot of that, else of nothing.
    """
    types = {name: _type(name) for name in {job.job_type for job in jobs}}
    needs: dict[int, list[Pair]] = {}
    read: list[tuple[LimitedJob, JobType]] = []
    for job in jobs:
        job_type, line = types[job.job_type], lines.get(job.job_id) if lines else None
        if job_type is None:
            needs[job.job_id] = [line] if line else []
        elif line and [limit.name for limit in job_type.limits] == [line.name]:
            needs[job.job_id] = [line]
        else:
            read.append((job, job_type))
    if read:  # together: to read each by itself costs more than what is read
        pairs: dict[tuple[str, str], Pair] = {}
        payloads = json.loads(f"[{','.join(job.data or 'null' for job, _ in read)}]")
        for (job, job_type), payload in zip(read, payloads, strict=True):
            keys = job_type.keys_of(payload)
            needs[job.job_id] = [pairs.get(key) or pairs.setdefault(key, Pair(*key)) for key in keys]
    return needs


def have_keys() -> bool:
    """Whether one may need to be read to know its keys at all."""
    return registry.kept("limits: keys", lambda: any(limit.key is not None for limit in registry.limits().values()))


def _type(name: str) -> JobType | None:
    try:
        return registry.get(name)
    except NoHandler:
        return None
