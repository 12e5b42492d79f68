"""A worker comes to limited jobs: it takes their slots and claims them, or they wait in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta

from django.db import connections

from handlers import lifecycle
from handlers.admission.book import NO_LIMIT, Book, Waiter
from handlers.admission.giving import admit, with_book
from handlers.admission.keys import Pair
from handlers.admission.limited_jobs import LIMITED, LimitedJob, claimable, have_keys, needs_of
from handlers.admission.shares import share
from handlers.lifecycle import Claim
from handlers.models import LimitSlot
from handlers.models.sql import go_by_index, is_postgresql
from handlers.publishing import publish_first_on_commit
from handlers.transport import Message
from handlers.writing import writing

_last_were_limited = False  # those that this process came to


def claim(messages: Sequence[Message], *, worker: str, lease: timedelta, company: bool | None = None) -> list[Claim]:
    """``lifecycle.claim``, also of limited jobs that have no slot yet and get one."""
    company = len(messages) > 1 if company is None else company
    # Where the last ones were limited, these hardly are not: to ask for them first is a statement for nothing.
    claims = [] if _last_were_limited else lifecycle.claim(messages, worker=worker, lease=lease, company=company)
    if len(claims) == len(messages):
        return claims
    claims, too_late = _claim_limited(messages, claims, worker, lease, company=company)
    if too_late:  # once more, as if they had come only now: else nobody would come to them
        claims += _claim_limited(too_late, [], worker, lease, company=company)[0]
    position = {message.job_id: index for index, message in enumerate(messages)}
    return sorted(claims, key=lambda claim: position[claim.job_id])


def _claim_limited(
    messages: Sequence[Message], claims: list[Claim], worker: str, lease: timedelta, *, company: bool
) -> tuple[list[Claim], list[Message]]:
    """``claims`` and what else could be claimed, and the messages of those that had slots and could not be even so."""
    global _last_were_limited  # noqa: PLW0603

    def ask(some: Sequence[Message], seen_to: str = "") -> list[Claim]:
        return lifecycle.claim(some, worker=worker, lease=lease, company=company, seen_to=seen_to)

    using, had = lifecycle.database(), {claim.job_id for claim in claims}
    left = {message.job_id: message for message in messages if message.job_id not in had}
    is_row_locking = is_postgresql(connections[using])

    def find() -> dict[int, LimitedJob]:
        return claimable([message[:2] for message in left.values()], using, company=company, data=have_keys())

    def take(jobs: Mapping[int, LimitedJob]) -> set[int]:
        with_slots = {job_id for job_id, job in jobs.items() if job.slot_token == job.token}
        coming = [jobs[job_id] for job_id in left if job_id in jobs and job_id not in with_slots]
        return with_slots | _take_together(coming, using) if coming else with_slots

    with_slots: set[int] = set()
    if is_row_locking:
        # Others wait for the keys: they are free again before the jobs are claimed. What a crash leaves then is as any
        # slot that nobody comes for; and who takes such a slot back may do so just now, so that the claim looks for it
        # once more (see ``guards.proof``). The claim is written after this, and waits for the disk.
        with writing(using):
            go_by_index(connections[using])
            with_slots = take(jobs := find())
    else:
        jobs = find()
    if _last_were_limited:
        claims += ask([message for message in left.values() if message.job_id not in jobs])
    _last_were_limited = 2 * len(jobs) > len(messages)
    if not jobs:
        return claims, []
    # SQLite has one writer, for whom one transaction is shorter than two.
    with nullcontext() if is_row_locking else writing(using):
        if not is_row_locking:
            with_slots = take(jobs)
        asked = [message for message in left.values() if message.job_id in with_slots]
        claims += (got := ask(asked, LIMITED))
    if not is_row_locking or len(got) == len(asked):
        return claims, []
    had = {claim.job_id for claim in got}
    return claims, [message for message in asked if message.job_id not in had]


def _take_together(jobs: Sequence[LimitedJob], using: str) -> set[int]:
    """Slots for those that find room, lines for the others; which have slots now."""
    needs, ids = needs_of(jobs), {job.job_id for job in jobs}

    def act(book: Book) -> set[int]:
        taken, admitted = _take(jobs, needs, book)
        publish_first_on_commit([message for message in admitted if message.job_id not in ids], using=using)
        return taken | {message.job_id for message in admitted}

    return with_book({pair for job in jobs for pair in needs[job.job_id]}, [], using, act)


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
