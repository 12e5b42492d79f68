"""Deliveries that wait for an earlier one of their stream go on once that is out of their way.

Whoever comes to a delivery whose turn it is not lets its job sleep, and has that job, and the one in its way, watched.
So each move that may end the wait is heard of, after its commit, by ``follow``. And who has just handled one looks
itself, with its row locked: of the two at least one sees both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import groupby

from handlers import lifecycle
from handlers.events import rows
from handlers.events.rows import Coming, Taken
from handlers.exceptions import GiveUp, Snooze
from handlers.lifecycle import Change, Move, Step
from handlers.models import UNTAKEN, Delivery, DeliveryState, JobRecord, SagaKey, SagaRecord
from handlers.publishing import publish_on_commit
from handlers.states import State

ACTOR = "events"
FREED = 20  # of a stream at once: they come one after another all the same
ASLEEP = timedelta(hours=1)  # nobody waits so long: it is woken
UNREADABLE = timedelta(seconds=10)  # until it is looked whether other code runs by now
WOKEN = Change(State.SCHEDULED, (Step(State.ENQUEUED, "what it waited for is over"),))
GONE = (None, State.DELETED)  # states of a job that does nothing any more


def asleep(why: str, delay: timedelta = ASLEEP) -> Snooze:
    """What ends the attempt of a job that has to wait. Its job is to be watched, with ``watch``."""
    return Snooze(max(delay, timedelta(seconds=1)), why)


def in_the_way(first: Coming) -> str:
    """Why a delivery waits whose turn it is not, in words."""
    how = "has failed" if first.state == DeliveryState.FAILED else "comes first"
    return f"event {first.event_id}, which is earlier in its order, {how} (job {first.job_id})"


def edited(jobs: Mapping[int, int | None], *, using: str) -> dict[int, GiveUp]:
    """Of jobs that want events which others bring those that are to bring another one; what their attempts end with.

    ``jobs``: the events that they want. What a job was published for is not brought by anybody else, and would hold
    those after it for good.
    """
    if not jobs:
        return {}
    own = Delivery.objects.using(using).filter(job_id__in=list(jobs)).values_list("job_id", "event_id")
    return {
        job_id: GiveUp(f"event: this job brings event {event_id}, not {jobs[job_id]}: put that back, and retry it")
        for job_id, event_id in own
        if event_id != jobs[job_id]
    }


def watch(jobs: Iterable[int], *, using: str) -> None:
    """Hear of what becomes of these jobs, in the transaction in which it is found that somebody waits."""
    # By id, as everybody locks them.
    ids = sorted(JobRecord.objects.using(using).filter(pk__in=set(jobs), watched=False).values_list("pk", flat=True))
    if ids:
        JobRecord.objects.using(using).filter(pk__in=ids).update(watched=True)


def follow(ids: Sequence[int], using: str) -> None:
    """Bring up to date whoever waits for these jobs, which have moved (see ``handlers.following``)."""
    found = rows.of_jobs(ids, using=using)
    if not found:
        return
    states = dict(JobRecord.objects.using(using).filter(pk__in=ids).values_list("pk", "state"))
    dropped, wake = [], []
    streams: dict[str, set[str]] = {}
    ordered: list[int] = []
    for pk, subscriber, stream, state, job_id, key, value in found:
        if state not in UNTAKEN:
            wake.append(job_id)  # whoever has taken it did so for a job that slept: that has only to end
        elif stream and state != DeliveryState.EARLY:
            streams.setdefault(subscriber, set()).add(stream)
            ordered.append(pk)
        elif states.get(job_id) in GONE:
            dropped.append(pk)
        elif state == DeliveryState.EARLY:
            # Who starts the saga at this moment has that key, and may not know that the job sleeps by now.
            keys = SagaKey.objects.using(using).filter(saga_type=subscriber, name=key, value=value)
            if any(key.saga_id for key in keys.select_for_update()):
                wake.append(job_id)
    drop(dropped, using=using)
    release(wake, using=using)
    for subscriber, some in sorted(streams.items()):
        free([subscriber], sorted(some), using=using)
    if ordered:  # whoever had the stream locked meanwhile may have taken them, and not seen that their jobs sleep
        taken = Delivery.objects.using(using).filter(pk__in=ordered).exclude(state__in=UNTAKEN)
        release(list(taken.values_list("job_id", flat=True)), using=using)


def drop(deliveries: Sequence[int], *, using: str) -> None:
    """Nobody wants these any more: their jobs were deleted."""
    if not deliveries:
        return
    failed = Delivery.objects.using(using).filter(state=DeliveryState.FAILED, saga_id__isnull=False)
    theirs = failed.filter(pk__in=deliveries).values_list("saga_id", flat=True)
    sagas = {saga_id for saga_id in theirs if saga_id is not None}
    if sagas:  # which are in trouble no more, but for others that failed
        sagas -= set(failed.filter(saga_id__in=sagas).exclude(pk__in=deliveries).values_list("saga_id", flat=True))
        SagaRecord.objects.using(using).filter(pk__in=sagas).update(error="", failed_at=None)
    rows.keep([Taken(pk, DeliveryState.DROPPED) for pk in deliveries], using=using)


def free(names: Sequence[str], streams: Sequence[str], *, using: str) -> None:
    """Wake those whose turn it is in these streams, in the caller's transaction."""
    todo = list(streams)
    while todo:
        wake, again = [], []
        for stream, comings in groupby(rows.lock_streams(names, todo, FREED, using=using), lambda each: each.stream):
            dropped = 0
            for coming in (these := list(comings)):
                if coming.job_state in GONE:
                    drop([coming.id], using=using)
                    dropped += 1
                elif coming.state == DeliveryState.WAITING and coming.job_state == State.SCHEDULED:
                    wake.append(coming.job_id)
                else:
                    break
            if dropped == len(these) == FREED:
                again.append(stream)
        release(wake, using=using)
        todo = again


def release(jobs: Sequence[int], *, using: str) -> None:
    """Put those of these jobs that sleep on their queues."""
    if not jobs:
        return
    asleep = JobRecord.objects.using(using).filter(pk__in=jobs, state=State.SCHEDULED).values_list("pk", "token")
    applied = lifecycle.apply([Move(pk, token, WOKEN) for pk, token in asleep], actor=ACTOR, using=using)
    publish_on_commit(applied.messages, using=using, stale=applied.stale)
