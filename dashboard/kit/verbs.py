"""What a person can do to jobs: each verb is one permission, the states it applies to, and one call of the gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from handlers.conf import ENGINE_TYPES, SYSTEM_QUEUE, jobs_settings
from handlers.gateway import job_scheduler
from handlers.models import JobRecord
from handlers.states import DELETABLE, FINAL, MOVABLE, RETRYABLE, State

RUN_BULK = "jobsite_jobs.run_bulkoperation"  # the permission to start, pause, resume and stop bulk operations
MAX_TICKED = 500  # jobs that one request may name
MAX_REASON = 500  # characters


@dataclass(frozen=True)
class Verb:
    """One of the console's verbs. ``name`` is also the gateway's method, ``{name}_many`` for several jobs."""

    name: str
    label: str  # on a button
    past: str  # "Retried 2 jobs."
    permission: str
    sources: frozenset[State]  # states that it applies to
    confirm: bool = False  # for ticked rows: ask first, with a preview
    to_queue: bool = False  # ask first, for one job too: which queue it goes to
    is_followed: bool = False  # something comes of it soon, which the page follows

    def allowed(self, user: AbstractBaseUser | AnonymousUser) -> bool:
        """Whether ``user`` holds the permission."""
        return user.has_perm(self.permission)  # type: ignore[union-attr]  # any user model of the admin has it

    def possible(self, record: JobRecord) -> bool:
        """Whether ``record``, as read, is where this verb applies. Only the engine's answer to the verb counts."""
        state = State(record.state)
        if state not in self.sources or (record.job_type.startswith(ENGINE_TYPES) and state not in FINAL):
            return False
        if self is MOVE:
            return record.queue != SYSTEM_QUEUE
        if self is RESTORE and record.finished_at is not None:
            return timezone.now() - record.finished_at < timedelta(minutes=jobs_settings().restore_minutes)
        return True

    def label_for(self, record: JobRecord) -> str:
        """The button's words for ``record``."""
        if self is RETRY and record.state == State.SCHEDULED:
            return "Retry now" if record.failures else "Run now"
        if self is DELETE and record.state == State.PROCESSING:
            return "Stop and delete"
        if self is MOVE:
            return "Move to another queue …"
        return self.label

    def one(self, job_id: int, token: str, by: Any, reason: str, queue: str = "") -> bool:
        """Do it to one job that was seen with ``token``. False: it has moved on since. ``queue``: where it goes."""
        method = getattr(job_scheduler, self.name)
        to = {"queue": queue} if self.to_queue else {}
        return bool(method(job_id, **to, by=by, reason=reason[:MAX_REASON], expect=token))

    def many(self, expect: Mapping[int, str], by: Any, reason: str, queue: str = "") -> int:
        """Do it to jobs that were seen with these tokens. Returns how many really moved. ``queue``: where they go."""
        method = getattr(job_scheduler, f"{self.name}_many")
        to = {"queue": queue} if self.to_queue else {}
        return int(method(list(expect), **to, by=by, reason=reason[:MAX_REASON], expect=expect))

    def answer(self, moved: int, asked: int, queue: str = "") -> str:
        """The honest count, in words."""
        stale, where = asked - moved, f" to queue {queue}" if queue else ""
        if not stale:
            return f"{self.past} {jobs_in_words(moved)}{where}."
        return f"{self.past} {moved:,}{where}; {stale:,} had moved on."


RETRY = Verb("retry", "Retry", "Retried", "jobsite_jobs.retry_jobrecord", RETRYABLE, is_followed=True)
REQUEUE = Verb(
    "requeue", "Requeue", "Requeued", "jobsite_jobs.requeue_jobrecord", frozenset({State.SUCCEEDED}), is_followed=True
)
DELETE = Verb("delete", "Delete", "Deleted", "jobsite_jobs.delete_jobrecord", DELETABLE, confirm=True)
MOVE = Verb("move", "Move", "Moved", "jobsite_jobs.move_jobrecord", MOVABLE, confirm=True, to_queue=True)
RESTORE = Verb(
    "restore", "Restore", "Restored", "jobsite_jobs.delete_jobrecord", frozenset({State.DELETED}), is_followed=True
)

BULK_VERBS = (RETRY, REQUEUE, MOVE, DELETE)  # that a bulk operation can do
VERBS = {verb.name: verb for verb in (RETRY, REQUEUE, RESTORE, MOVE, DELETE)}


def refusal(ids: Iterable[int]) -> str:
    """Why no verb is for all of these jobs: one is the engine's own, and at work. Empty: verbs may be tried."""
    own = JobRecord.objects.filter(pk__in=list(ids), job_type__startswith=ENGINE_TYPES).exclude(state__in=FINAL)
    first = own.order_by("pk").values_list("pk", flat=True).first()
    return f"Job {first} does a part of a bulk operation: pause or stop that. Nothing was done." if first else ""


def jobs_in_words(count: int) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count:,} job" if count == 1 else f"{count:,} jobs"
