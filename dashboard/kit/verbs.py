"""What a person can do to jobs: each verb is one permission, the states it applies to, and one call of the gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from dashboard.kit.numbers import thousands
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
    label: str | Promise  # on a button
    past: str | Promise  # "Retried 2 jobs."
    refusal: str | Promise  # to who may not
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
            return _("Retry now") if record.failures else _("Run now")
        if self is DELETE and record.state == State.PROCESSING:
            return _("Stop and delete")
        if self is MOVE:
            return _("Move to another queue …")
        return str(self.label)

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
        stale = asked - moved
        if not stale:
            return self.done(jobs_in_words(moved), queue)
        told = {"past": self.past, "moved": thousands(moved), "stale": thousands(stale), "queue": queue}
        if queue:
            return _("%(past)s %(moved)s to queue %(queue)s; %(stale)s had moved on.") % told
        return _("%(past)s %(moved)s; %(stale)s had moved on.") % told

    def done(self, jobs: str, queue: str = "") -> str:
        """``Retried 2 jobs.``"""
        told = {"past": self.past, "jobs": jobs, "queue": queue}
        return (_("%(past)s %(jobs)s to queue %(queue)s.") if queue else _("%(past)s %(jobs)s.")) % told

    def of_jobs(self, jobs: str) -> str:
        """``Retry 2 jobs``, on a button."""
        return _("%(verb)s %(jobs)s") % {"verb": self.label, "jobs": jobs}


RETRY = Verb(
    "retry", gettext_lazy("Retry"), pgettext_lazy("what came of a button", "Retried"),
    gettext_lazy("You may not retry jobs."),
    "jobsite_jobs.retry_jobrecord", RETRYABLE, is_followed=True,
)  # fmt: skip
REQUEUE = Verb(
    "requeue", gettext_lazy("Requeue"), pgettext_lazy("what came of a button", "Requeued"),
    gettext_lazy("You may not requeue jobs."),
    "jobsite_jobs.requeue_jobrecord", frozenset({State.SUCCEEDED}), is_followed=True,
)  # fmt: skip
DELETE = Verb(
    "delete", gettext_lazy("Delete"), pgettext_lazy("what came of a button", "Deleted"),
    gettext_lazy("You may not delete jobs."),
    "jobsite_jobs.delete_jobrecord", DELETABLE, confirm=True,
)  # fmt: skip
MOVE = Verb(
    "move", gettext_lazy("Move"), pgettext_lazy("what came of a button", "Moved"),
    gettext_lazy("You may not move jobs."),
    "jobsite_jobs.move_jobrecord", MOVABLE, confirm=True, to_queue=True,
)  # fmt: skip
RESTORE = Verb(
    "restore", gettext_lazy("Restore"), pgettext_lazy("what came of a button", "Restored"),
    gettext_lazy("You may not restore jobs."),
    "jobsite_jobs.delete_jobrecord", frozenset({State.DELETED}), is_followed=True,
)  # fmt: skip

BULK_VERBS = (RETRY, REQUEUE, MOVE, DELETE)  # that a bulk operation can do
VERBS = {verb.name: verb for verb in (RETRY, REQUEUE, RESTORE, MOVE, DELETE)}


def refusal(ids: Iterable[int]) -> str:
    """Why no verb is for all of these jobs: one is the engine's own, and at work. Empty: verbs may be tried."""
    own = JobRecord.objects.filter(pk__in=list(ids), job_type__startswith=ENGINE_TYPES).exclude(state__in=FINAL)
    first = own.order_by("pk").values_list("pk", flat=True).first()
    if not first:
        return ""
    words = _("Job %(number)d does a part of a bulk operation: pause or stop that. Nothing was done.")
    return words % {"number": first}


def jobs_in_words(count: int) -> str:
    """``1 job``, ``2 jobs``."""
    return ngettext("%(count)s job", "%(count)s jobs", count) % {"count": thousands(count)}
