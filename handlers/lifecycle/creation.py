"""Jobs come into being: rows in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import ClassVar, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers import tracing
from handlers.conf import SYSTEM_QUEUE, jobs_settings
from handlers.failures import clean
from handlers.hooks import JobRequest, chain
from handlers.lifecycle import telling
from handlers.lifecycle.columns import Beside
from handlers.lifecycle.moves import dialect, new_token
from handlers.models import JobTag
from handlers.models.kept import database
from handlers.models.sql import insert
from handlers.registry import registry
from handlers.signals import jobs_moved
from handlers.states import State
from handlers.transport import Message
from handlers.writing import writing


class Created(Message):
    """The message of a job that was just made. Equal to any other that says the same."""

    created_at: datetime | None = None  # by the database's clock


class JobId(int):
    """A job's id, as the verbs that enqueue answer it: an int, that tells whether the job is a new one."""

    is_new: ClassVar[bool] = True  # False: the job was there and holds the key, and nothing was enqueued
    created_at: datetime | None = None  # of a new one, by the database's clock

    @classmethod
    def of(cls, message: Message) -> JobId:
        """That of the job that ``create`` has made this message for."""
        made = cls(message.job_id)
        if isinstance(message, Created):
            made.created_at = message.created_at
        return made


class HolderId(JobId):
    """The id of a job that was there."""

    is_new: ClassVar[bool] = False


class NewJob(NamedTuple):
    """A job to be: its type's name, its encoded payload, its queue, and when it is due, if not at once."""

    job_type: str
    payload: bytes
    queue: str
    run_at: datetime | None = None
    delay: timedelta | None = None  # from now, by the database's clock; not together with run_at
    parent_id: int | None = None  # the job whose handler asks for this one
    correlation: str = ""  # shared by what belongs together
    expires_at: datetime | None = None  # unless it was started before, it is deleted then
    expires_in: timedelta | None = None  # or so long from now
    awaits: bool = False  # it is not to be published: what it waits for releases it
    watched: bool = False  # something follows when it moves (see ``lifecycle.watching``)
    limited: bool = False  # it may be claimed only with a slot
    priority: int = 0
    tags: tuple[str, ...] = ()
    context: str | None = None  # what travels with it, as JSON
    job_id: int | None = None  # one that was reserved for it; all of one call have one, or none has
    apart: bool = False  # not all of the call have one parent: in its own parent's trace; all of one call, or none


AWAITING, ENQUEUED, SCHEDULED = State.AWAITING.value, State.ENQUEUED.value, State.SCHEDULED.value
TAG = {"job_id": "id", "tag": "text"}
CHUNK = 1_000
CHUNK_BYTES = 8 * 1024 * 1024  # of arguments in one statement: the database holds some times that


def create(
    jobs: Sequence[NewJob], *, actor: str = "", using: str | None = None, beside: Beside | None = None
) -> list[Message]:
    """Insert ``jobs``, all or none, in the caller's transaction if there is one; their messages in the same order.

    Those of jobs that await something are not to be published. ``beside``: what else is written, where
    ``is_one_step`` says that it can be.
    """
    alias, actor = using or database(), actor and clean(actor, 150)
    if beside is not None:
        return _create_chunk(connections[alias], jobs, actor, beside)
    if jobs_settings().middleware and chain.sees_enqueues() and any(job.queue != SYSTEM_QUEUE for job in jobs):
        return _within_middleware(jobs, actor, alias)
    return _create_all(jobs, actor, alias)


def is_one_step(jobs: Sequence[NewJob]) -> bool:
    """Whether to make them is one statement, on SQLite one short transaction, in which more can be written of them."""
    if len(jobs) != 1 or jobs[0].tags:
        return False
    return not (tracing.is_on() or (jobs_settings().middleware and chain.sees_enqueues()))


def _within_middleware(jobs: Sequence[NewJob], actor: str, alias: str) -> list[Message]:
    messages: list[Message] = []

    def write(requests: Sequence[JobRequest]) -> list[int]:
        changed = [
            job._replace(
                queue=each.queue, priority=each.priority, tags=each.tags, correlation=each.correlation,
                context=json.dumps(each.context) if each.context else None,
            )
            for job, each in zip(jobs, requests, strict=True)
        ]  # fmt: skip
        messages.extend(_create_all(changed, actor, alias))
        return [message.job_id for message in messages]

    chain.enqueue([_request(job) for job in jobs], write)
    return messages


def _request(job: NewJob) -> JobRequest:
    context = json.loads(job.context) if job.context else {}
    return JobRequest(
        job.job_type, json.loads(job.payload), job.queue, job.priority, job.tags, job.correlation, context, job.run_at,
        job.delay, job.parent_id,
    )  # fmt: skip


def _create_all(jobs: Sequence[NewJob], actor: str, alias: str) -> list[Message]:
    if any(job.tags for job in jobs):
        with writing(alias, savepoint=False):
            messages = _traced(jobs, actor, alias)
            ids = [message.job_id for message in messages]
            keep_tags([(job_id, tag) for job_id, job in zip(ids, jobs, strict=True) for tag in job.tags], using=alias)
            return messages
    return _traced(jobs, actor, alias)


def reserve(number: int, *, using: str) -> list[int]:
    """Ids for jobs that the caller's transaction will create; those that it does not use are nobody's."""
    ids: list[int] = dialect(connections[using]).reserve(connections[using], number)
    return ids


def keep_tags(rows: Sequence[tuple[int, str]], *, using: str) -> None:
    """Write down jobs with their tags, in the caller's transaction."""
    insert(connections[using], JobTag, TAG, rows)


def _traced(jobs: Sequence[NewJob], actor: str, alias: str) -> list[Message]:
    if tracing.is_on():
        queues, types = [job.queue for job in jobs], [job.job_type for job in jobs]
        if jobs and jobs[0].apart:
            with writing(alias, savepoint=False):
                messages = _create(connections[alias], jobs, actor)
                tracing.keep_below(messages, [job.parent_id or 0 for job in jobs], types, using=alias)
                return messages
        with tracing.creating(queues, types), writing(alias, savepoint=False):
            messages = _create(connections[alias], jobs, actor)
            tracing.keep(messages, using=alias)
            return messages
    return _create(connections[alias], jobs, actor)


def _create(connection: BaseDatabaseWrapper, jobs: Sequence[NewJob], actor: str) -> list[Message]:
    if len(jobs) == 1:  # as most calls have it: neither parts nor a transaction to think of
        return _create_chunk(connection, jobs, actor)
    parts = list(_chunks(jobs))
    with writing(connection.alias, savepoint=False) if len(parts) > 1 else nullcontext():
        return [message for part in parts for message in _create_chunk(connection, part, actor)]


def _chunks(jobs: Sequence[NewJob]) -> Iterator[list[NewJob]]:
    part: list[NewJob] = []
    size = 0
    for job in jobs:
        if part and (len(part) == CHUNK or size + len(job.payload) > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(job)
        size += len(job.payload)
    if part:
        yield part


def _create_chunk(
    connection: BaseDatabaseWrapper, jobs: Sequence[NewJob], actor: str, beside: Beside | None = None
) -> list[Message]:
    tokens, release = [new_token() for _ in jobs], registry.release
    rows = [
        (
            AWAITING if job.awaits else SCHEDULED if job.run_at or job.delay else ENQUEUED,
            token, job.job_type, job.queue, job.run_at, job.delay.total_seconds() if job.delay else None, actor,
            job.watched, job.limited, job.priority, job.payload.decode(), job.parent_id, job.correlation, release,
            job.context, job.expires_at, None if job.expires_in is None else job.expires_in.total_seconds(),
        )
        for job, token in zip(jobs, tokens, strict=True)
    ]  # fmt: skip
    reserved = [job.job_id for job in jobs] if jobs[0].job_id is not None else None
    more = {} if beside is None else {"beside": beside}
    created = dialect(connection).create(connection, rows, reserved=reserved, **more)
    made = {token: (job_id, *times) for job_id, token, *times in created}
    messages: list[Message] = []
    for job, token in zip(jobs, tokens, strict=True):
        job_id, run_at, created_at = made[token]
        message = Created(job_id, token, job.queue, run_at, job.priority)
        message.created_at = created_at
        messages.append(message)
    if jobs_moved.receivers:
        for state in dict.fromkeys(row[0] for row in rows):
            places = [
                telling.Place(message.job_id, job.job_type, job.queue, 0, made[token][2])
                for job, token, message, row in zip(jobs, tokens, messages, rows, strict=True)
                if row[0] == state
            ]
            telling.moved(connection, places, None, state, "created", actor)
    return messages
