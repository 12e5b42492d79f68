"""A worker comes to limited jobs: it takes their slots and claims them, or they wait in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta

from django.db import connections, transaction

from handlers import lifecycle
from handlers.admission.book import NO_LIMIT, Book, Waiter
from handlers.admission.giving import admit
from handlers.admission.keys import LockedKey, Pair, with_keys
from handlers.admission.limited_jobs import LIMITED, LimitedJob, claimable, have_keys, needs_of
from handlers.admission.shares import share
from handlers.lifecycle import Claim
from handlers.models import LimitSlot
from handlers.models.sql import is_postgresql, write_lazily
from handlers.publishing import publish_first_on_commit
from handlers.transport import Message

_last_were_limited = False  # those that this process came to


def claim(messages: Sequence[Message], *, worker: str, lease: timedelta, company: bool | None = None) -> list[Claim]:
    """``lifecycle.claim``, also of limited jobs that have no slot yet and get one."""
    global _last_were_limited  # noqa: PLW0603
    company = len(messages) > 1 if company is None else company

    def ask(some: Sequence[Message], seen_to: str = "") -> list[Claim]:
        return lifecycle.claim(some, worker=worker, lease=lease, company=company, seen_to=seen_to)

    # Where the last ones were limited, these hardly are not: to ask for them first is a statement for nothing.
    claims = [] if _last_were_limited else ask(messages)
    if len(claims) == len(messages):
        return claims
    using, had = lifecycle.database(), {claim.job_id for claim in claims}
    left = {message.job_id: message for message in messages if message.job_id not in had}
    jobs = claimable([message[:2] for message in left.values()], using, company=company, data=have_keys())
    if _last_were_limited:
        claims += ask([message for message in left.values() if message.job_id not in jobs])
    _last_were_limited = 2 * len(jobs) > len(messages)
    if not jobs:
        return claims
    with_slots = {job_id for job_id, job in jobs.items() if job.slot_token == job.token}
    coming = [jobs[job_id] for job_id in left if job_id in jobs and job_id not in with_slots]
    # SQLite has one writer, for whom one transaction is shorter than two. On PostgreSQL others wait for the keys: they
    # are free again before the jobs are claimed, and what a crash leaves then is as any slot that nobody comes for.
    with nullcontext() if is_postgresql(connections[using]) else transaction.atomic(using=using):
        if coming:
            with_slots |= _take_together(coming, using)
        claims += ask([message for message in left.values() if message.job_id in with_slots], LIMITED)
    position = {message.job_id: index for index, message in enumerate(messages)}
    return sorted(claims, key=lambda claim: position[claim.job_id])


def _take_together(jobs: Sequence[LimitedJob], using: str) -> set[int]:
    """Slots for those that find room, lines for the others; which have slots now."""
    needs, ids = needs_of(jobs), {job.job_id for job in jobs}

    def act(keys: list[LockedKey], is_last: bool) -> set[int]:
        write_lazily(connections[using])  # the claim is written after this, and waits for the disk
        taken, admitted = _take(jobs, needs, Book(keys, using, is_last=is_last))
        publish_first_on_commit([message for message in admitted if message.job_id not in ids], using=using)
        return taken | {message.job_id for message in admitted}

    return with_keys({pair for job in jobs for pair in needs[job.job_id]}, [], using, act)


def _take(
    jobs: Sequence[LimitedJob], needs: Mapping[int, Sequence[Pair]], book: Book
) -> tuple[set[int], list[Message]]:
    """Slots for those that find room, lines for the others; which have slots now, and who was admitted from lines."""
    if former := [job.job_id for job in jobs if job.slot_token]:  # under other tokens, as when they were moved
        slots = LimitSlot.objects.using(book.using).filter(job_id__in=former)
        slots.exclude(token__in=[job.token for job in jobs])._raw_delete(book.using)
    book.look()
    wishes = [[book.keys[pair] for pair in needs[job.job_id]] for job in jobs]
    # Nobody passes those who wait: what there is room for where some do, the first of them get.
    refused = share(wishes, book.rooms, closed=book.lines)
    book.give(
        (job.job_id, key, job.token)
        for job, keys, refused_by in zip(jobs, wishes, refused, strict=True)
        if refused_by is None
        for key in keys or [NO_LIMIT]
    )
    book.queue_up(
        [
            Waiter(job.job_id, job.token, key, job.rank)
            for job, key in zip(jobs, refused, strict=True)
            if key is not None
        ]
    )
    taken = {job.job_id for job, key in zip(jobs, refused, strict=True) if key is None}
    return taken, admit(book, {key for key in refused if key is not None})
