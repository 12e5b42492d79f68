"""Workers take jobs under leases, renew them, and lose them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Exists, F, OuterRef

from handlers.conf import jobs_settings
from handlers.failures import Failure
from handlers.lifecycle import guards, telling
from handlers.lifecycle.counting import count
from handlers.lifecycle.moves import Applied, Change, Move, Step, apply, dialect
from handlers.lifecycle.verbs import delete_unstarted
from handlers.models import JobHistory, JobPayload, JobRecord, TypeSwitch
from handlers.models.count import Outcome
from handlers.models.kept import database
from handlers.models.sql import database_now, from_time, is_postgresql, lock_jobs, to_time
from handlers.signals import jobs_moved
from handlers.states import UNSTARTED, State
from handlers.transport import LastWords, Message
from handlers.writing import writing

CORRELATION = F("arguments__correlation")
MOMENT = timedelta(seconds=2)
EXPIRED = Step(State.DELETED, "expired before it was started")
EXPIRED_AT_START = Change(State.PROCESSING, (EXPIRED,), attempt_by=-1)


class Claim(NamedTuple):
    """A job that this worker may run now."""

    job_id: int
    token: str
    job_type: str
    queue: str
    attempt: int
    failures: int
    crashes: int
    encoded: bytes  # the payload as JSON text
    correlation: str = ""
    alone: bool = False  # no other job may run in its process meanwhile
    created: float | str | None = None  # when it was enqueued first, as its database says it: see ``created_at``
    context: str | None = None  # what travels with it, as JSON

    @property
    def payload(self) -> Any:
        """The payload as a JSON value."""
        return json.loads(self.encoded)

    @property
    def travelling(self) -> dict[str, Any]:
        """What travels with the job, by name."""
        return json.loads(self.context) if self.context else {}

    @property
    def created_at(self) -> datetime | None:
        """When it was enqueued for the first time; read only where that is asked for."""
        return from_time(self.created)

    def facts(self) -> bytes:
        """What this job is asked to do, and no other job: the same for all its attempts, until it is edited."""
        return b"\0".join([str(self.job_id).encode(), str(self.created_at).encode(), self.encoded])

    @property
    def attempted(self) -> dict[str, Any]:
        """What a Failure says of the attempt that it ended."""
        return {
            "job_type": self.job_type,
            "queue": self.queue,
            "attempt": self.attempt,
            "correlation": self.correlation,
            "version": jobs_settings().version,
        }


def claim(
    messages: Sequence[Message], *, worker: str, lease: timedelta, company: bool | None = None, seen_to: str = ""
) -> list[Claim]:
    """Take those of ``messages`` that still hold, in their order, under a lease in the name of ``worker``.

    Left out are outdated tokens, jobs on a paused queue or of a paused type, those that have expired, and, where they
    would have ``company`` (by default: each other's), those that must run alone because a worker was lost over them
    (see ``refused``). ``seen_to``: the flag whose guard the caller has seen to by itself.
    """
    if not messages:
        return []
    connection = connections[database()]
    wanted = list(dict.fromkeys((message.job_id, message.token) for message in messages))
    rows = dialect(connection).claim(
        connection, wanted, worker=worker, lease=lease, company=len(messages) > 1 if company is None else company,
        seen_to=seen_to, told=(told := bool(jobs_moved.receivers)),
    )  # fmt: skip
    if told:
        places = [telling.Place(row[0], row[2], row[3], row[4], row[-1]) for row in rows]
        telling.moved(connection, places, State.ENQUEUED, State.PROCESSING, "claimed", worker[:150])
        rows = [row[:-1] for row in rows]
    position = {message.job_id: index for index, message in enumerate(messages)}
    rows.sort(key=lambda row: position[row[0]])
    claims, late = [], []
    for job_id, token, job_type, queue, attempt, failures, crashes, data, family, alone, is_past, made, context in rows:
        if is_past and attempt == 1:  # a scheduler has not come to it yet
            late.append(Move(job_id, token, EXPIRED_AT_START))
            continue
        encoded = (data or "null").encode()
        claims.append(
            Claim(
                job_id, token, job_type, queue, attempt, failures, crashes, encoded, family or "", alone, made, context
            )
        )
    if late:  # whoever restores one of them lifts its deadline
        JobPayload.objects.using(connection.alias).filter(pk__in=apply(late, actor=worker).moved).update(
            expires_at=None
        )
    return claims


def refused(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Of ``messages`` that ``claim`` refused: those of jobs that must run alone, and those that it would give by now.

    What kept the latter has ended since: their queue was paused, or somebody held their rows.
    """
    alone, by_now = list[Message](), list[Message]()
    tokens = {message.job_id: message.token for message in messages}
    if not tokens:
        return alone, by_now
    using = database()
    connection = connections[using]
    now, params = "statement_timestamp()", [*tokens]
    if not is_postgresql(connection):
        now, params = "%s", [*params, to_time(connection, database_now(connection))]
    sql = f"""
        SELECT j.id, j.token, j.queue, j.priority, j.enqueued_at, j.alone FROM {JobRecord._meta.db_table} j
        WHERE j.id IN ({", ".join(["%s"] * len(tokens))}) AND j.state = 'enqueued' AND (j.alone OR (NOT EXISTS (
            SELECT 1 FROM {TypeSwitch._meta.db_table} t
            WHERE t.name = j.job_type AND (t.until IS NULL OR t.until > {now})
        ) {guards.sql()}))
        ORDER BY j.id
    """
    for job in JobRecord.objects.using(using).raw(sql, params):
        if job.token == tokens[job.pk]:
            which = alone if job.alone else by_now
            which.append(Message(job.pk, job.token, job.queue, priority=job.priority, enqueued_at=job.enqueued_at))
    return alone, by_now


def still_enqueued(offers: Sequence[tuple[int, str]]) -> list[Message]:
    """What to publish again of ``offers`` (job, token): those that still hold."""
    rows = JobRecord.objects.using(database()).filter(pk__in=[job_id for job_id, _ in offers], state=State.ENQUEUED)
    columns = rows.order_by("pk").values_list("pk", "token", "queue", "priority", "enqueued_at")
    held = set(offers)
    return [
        Message(pk, token, queue, priority=priority, enqueued_at=at)
        for pk, token, queue, priority, at in columns
        if (pk, token) in held
    ]


def renew(workers: Sequence[str], *, lease: timedelta) -> dict[int, str]:
    """Extend the leases of ``workers``; which jobs (id: worker) they still hold. A locked row waits its turn."""
    alias = database()
    connection = connections[alias]
    with writing(alias):
        now = database_now(connection)
        held = JobRecord.objects.using(alias).filter(worker__in=workers, state=State.PROCESSING)
        if is_postgresql(connection):
            ids = list(lock_jobs(held, skip=True).order_by("pk").values_list("pk", flat=True))
            JobRecord.objects.using(alias).filter(pk__in=ids, state=State.PROCESSING).update(
                lease_expires_at=now + lease
            )
        else:
            held.update(lease_expires_at=now + lease)
        return dict(held.values_list("pk", "worker"))


def held_by(workers: Sequence[str]) -> dict[int, str]:
    """Which jobs (id: worker) ``workers`` hold at the moment."""
    held = JobRecord.objects.using(database()).filter(worker__in=workers, state=State.PROCESSING)
    return dict(held.values_list("pk", "worker"))


def claims_of(worker: str) -> list[Claim]:
    """What the database says that ``worker`` processes; without the payloads, since it is not to be run."""
    held = JobRecord.objects.using(database()).filter(worker=worker, state=State.PROCESSING)
    return [_claim(row) for row in held.annotate(correlation=CORRELATION).order_by("pk")]


def with_payload(claim: Claim) -> Claim:
    """The claim with its payload, where ``claims_of`` has left that out: some of it may say what follows."""
    found = JobPayload.objects.using(database()).filter(pk=claim.job_id).values_list("data", flat=True).first()
    return claim._replace(encoded=json.dumps(found).encode())


def bound_leases(lease: timedelta) -> int:
    """Let no lease last longer than ``lease`` from now on: one taken before the clock was set back would. How many."""
    alias = database()
    connection = connections[alias]
    with writing(alias):
        until = database_now(connection) + lease
        long = JobRecord.objects.using(alias).filter(state=State.PROCESSING, lease_expires_at__gt=until)
        if is_postgresql(connection):  # a locked row is just being renewed, or settled
            ids = list(lock_jobs(long, skip=True).order_by("pk").values_list("pk", flat=True))
            long = JobRecord.objects.using(alias).filter(pk__in=ids, state=State.PROCESSING)
        return long.update(lease_expires_at=until)


def expire_leases(
    *,
    max_crashes: int,
    before: datetime | None = None,
    limit: int = 50,
    last_words: Callable[[Sequence[str]], Mapping[str, LastWords]] = lambda workers: {},
) -> Applied:
    """Bring back the jobs of up to ``limit`` workers whose leases ran out ``before``, a moment ago; else, by now.

    A job that its worker held alone was the one running: that counts as a crash. Of several held together nobody can
    tell which one ran, so none is counted, and each runs alone next time. So a worker's jobs come back together, once
    the lease of the last one is over. Of workers that have left ``last_words`` more is known.

    Nothing is done when ``before`` is no longer a moment ago: meanwhile the clock was set, the host was suspended, or
    others held the database, and whoever lives could not renew.
    """
    alias = database()
    connection = connections[alias]
    with writing(alias):
        clock = database_now(connection)
        now = before or clock
        if abs(clock - now) > MOMENT:
            return Applied()
        held = JobRecord.objects.using(alias).filter(state=State.PROCESSING)
        alive = held.filter(worker=OuterRef("worker"), lease_expires_at__gte=now)
        lost = held.filter(~Exists(alive), lease_expires_at__lt=now).order_by("worker")
        workers = list(lost.values_list("worker", flat=True).distinct()[:limit])
        if not workers:
            return Applied()
        known = last_words(workers)
        # Counted before the rows are locked: another scheduler may be at some of them already.
        company = Counter(held.filter(worker__in=workers).values_list("worker", flat=True))
        expired = held.filter(worker__in=workers, lease_expires_at__lt=now).order_by("pk")
        if is_postgresql(connection):
            expired = lock_jobs(expired, skip=True, of=("self",))
        rows = list(expired.annotate(correlation=CORRELATION))
        moves = [
            left_behind(_claim(row), known[row.worker], max_crashes=max_crashes, worker=row.worker)
            if row.worker in known
            else crash(_claim(row), max_crashes=max_crashes, worker=row.worker)
            if company[row.worker] == 1
            else apart(_claim(row), row.worker)
            for row in rows
        ]
        applied = apply(moves, actor="recovery", using=alias)
        moved = [(row.queue, row.job_type) for row in rows if row.pk in applied.moved]
        count(Outcome.LEASE_LOST, moved, using=alias)
        return applied


def _claim(row: Any) -> Claim:
    """The claim under which a job is held (with its ``correlation``), for whoever is not to run it."""
    return Claim(
        row.pk, row.token, row.job_type, row.queue, row.attempt, row.failures, row.crashes, b"null",
        row.correlation or "",
    )  # fmt: skip


def crash(claim: Claim, *, max_crashes: int, worker: str) -> Move:
    """The move of a job that was running when its worker died: back on its queue, or failed when that was too often."""
    count = claim.crashes + 1
    data = {"worker": worker, "crashes": count}
    if count < max_crashes:
        step = Step(State.ENQUEUED, f"worker lost while running it ({count} of {max_crashes})", data)
        return Move(claim.job_id, claim.token, Change(State.PROCESSING, (step,), crashes_by=1, alone=True))
    reason = f"worker lost {count} times while running it"
    message = f"{reason}. The last worker was {worker}; see its host's log for why."
    # The code that ran it may be another than that of whoever finds its worker lost.
    ran = claim.attempted | {"version": version_of(claim.job_id)}
    failure = Failure("handlers.WorkerLost", message, **ran)
    change = Change(State.PROCESSING, (Step(State.FAILED, reason, data),), crashes_by=1, failure=failure)
    return Move(claim.job_id, claim.token, change)


def version_of(job_id: int) -> str:
    """The version of the code that claimed the job last; empty where that was not told."""
    claims = JobHistory.objects.using(database()).filter(job_id=job_id, to_state=State.PROCESSING)
    data = claims.order_by("-pk").values_list("data", flat=True).first()
    return str(data.get("version", "")) if isinstance(data, dict) else ""


def apart(claim: Claim, worker: str) -> Move:
    """The move of a job of which nobody knows whether its worker died of it: back on its queue, to run alone."""
    return Move(claim.job_id, claim.token, _apart(worker))


@lru_cache(maxsize=16)
def _apart(worker: str) -> Change:
    why = "its worker was lost while it had several jobs in hand"
    return Change(State.PROCESSING, (Step(State.ENQUEUED, why, {"worker": worker}),), alone=True)


def set_apart(claim: Claim, reason: str) -> Move:
    """The job, which has not begun, goes back to its queue, uncounted, to run alone."""
    return Move(claim.job_id, claim.token, _set_apart(reason))


@lru_cache(maxsize=16)
def _set_apart(reason: str) -> Change:
    return Change(State.PROCESSING, (Step(State.ENQUEUED, reason),), attempt_by=-1, alone=True)


def handed_back(claim: Claim, reason: str, *, started: bool) -> Move:
    """The job goes back to its queue, uncounted; ``started`` says whether its handler began."""
    return Move(claim.job_id, claim.token, _hand_back(reason, started))


@lru_cache(maxsize=16)
def _hand_back(reason: str, started: bool) -> Change:
    return Change(State.PROCESSING, (Step(State.ENQUEUED, reason),), attempt_by=0 if started else -1)


def left_behind(claim: Claim, words: LastWords, *, max_crashes: int, worker: str) -> Move:
    """The move of a job that a worker held when it ended, by what is known of that worker."""
    if claim.job_id in words.running:
        return crash(claim, max_crashes=max_crashes, worker=worker) if len(words.running) == 1 else apart(claim, worker)
    started = claim.job_id in words.started
    reason = "its worker was lost before the outcome was recorded" if started else "worker lost"
    return handed_back(claim, reason, started=started)


def expire_unstarted(limit: int = 500) -> Applied:
    """Delete up to ``limit`` jobs that were to be started by now and were not. Those that were go on, without it."""
    alias = database()
    with writing(alias):
        now = database_now(connections[alias])
        due = JobPayload.objects.using(alias).filter(expires_at__lte=now).order_by("expires_at", "pk")
        # What a worker has in hand for the first time may still come back unstarted (as in Agenda.expired).
        in_hand = JobRecord.objects.using(alias).filter(pk=OuterRef("pk"), state=State.PROCESSING, attempt=1)
        ids = list(due.exclude(Exists(in_hand)).values_list("pk", flat=True)[:limit])
        jobs = JobRecord.objects.using(alias).filter(pk__in=ids, state__in=UNSTARTED, attempt=0)
        found = [(pk, token, State(state)) for pk, token, state in jobs.values_list("pk", "token", "state")]
        applied = delete_unstarted(found, EXPIRED.reason, actor="scheduler")
        # What a worker claims at this moment is refused there, by this very time.
        claimed = {pk for pk, *_ in found} - applied.moved
        JobPayload.objects.using(alias).filter(pk__in=[pk for pk in ids if pk not in claimed]).update(expires_at=None)
    return applied
