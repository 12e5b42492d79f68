"""A worker comes to limited jobs: it takes their slots and claims them, or they wait in a line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction

from handlers import lifecycle
from handlers.admission.book import NO_LIMIT, Book, Waiter
from handlers.admission.giving import admit
from handlers.admission.keys import Pair, with_keys
from handlers.admission.limited_jobs import LimitedJob, claimable, needs_of
from handlers.admission.shares import share
from handlers.lifecycle import Claim
from handlers.models import LimitSlot
from handlers.publishing import publish_on_commit
from handlers.transport import Message


def claim(messages: Sequence[Message], *, worker: str, lease: timedelta, company: bool | None = None) -> list[Claim]:
    """``lifecycle.claim``, also of limited jobs that have no slot yet and get one."""
    company = len(messages) > 1 if company is None else company
    claims = lifecycle.claim(messages, worker=worker, lease=lease, company=company)
    if len(claims) == len(messages):
        return claims
    using, had = lifecycle.database(), {claim.job_id for claim in claims}
    refused = {message.job_id: message for message in messages if message.job_id not in had}
    jobs = claimable([message[:2] for message in refused.values()], using, company=company)
    if not jobs:
        return claims
    coming = [jobs[job_id] for job_id in refused if job_id in jobs]
    needs = needs_of(coming, using)
    pairs = {pair for keys in needs.values() for pair in keys}

    def act(keys: dict[Pair, int], is_last: bool) -> list[Claim]:
        taken, admitted = _take(coming, needs, Book(keys, using, is_last=is_last))
        taken |= {message.job_id for message in admitted}
        ours = [message for message in refused.values() if message.job_id in taken]
        found = lifecycle.claim(ours, worker=worker, lease=lease, company=company)
        theirs = {message.job_id for message in admitted} - {claim.job_id for claim in found}
        publish_on_commit([message for message in admitted if message.job_id in theirs], using=using)
        return found

    with transaction.atomic(using=using):
        claims += with_keys(pairs, [], using, act)
    position = {message.job_id: index for index, message in enumerate(messages)}
    return sorted(claims, key=lambda claim: position[claim.job_id])


def _take(jobs: Sequence[LimitedJob], needs: dict[int, list[Pair]], book: Book) -> tuple[set[int], list[Message]]:
    """Slots for those that find room, lines for the others; which have slots now, and who was admitted from lines."""
    _forget_former(jobs, book)
    book.look()
    wishes = [[book.keys[pair] for pair in needs[job.job_id]] for job in jobs]
    # Nobody passes those who wait: what there is room for where some do, the first of them get.
    refused = share(wishes, book.rooms, closed=book.lines)
    book.give(
        (job.job_id, key, job.token)
        for job, keys, key_refused in zip(jobs, wishes, refused, strict=True)
        if key_refused is None
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


def _forget_former(jobs: Sequence[LimitedJob], book: Book) -> None:
    """Slots that they had under former tokens, as when they were moved to another queue."""
    slots = LimitSlot.objects.using(book.using).filter(job_id__in=[job.job_id for job in jobs])
    slots.exclude(token__in=[job.token for job in jobs])._raw_delete(book.using)
