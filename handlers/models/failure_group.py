"""Failures with one fingerprint: what is broken, rather than which job failed."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from handlers.models.kept import Kept


class GroupState(models.TextChoices):
    """Where a failure group is in its life."""

    OPEN = "open"
    REGRESSED = "regressed"  # open again: it was resolved, and came back
    RESOLVED = "resolved"  # now, or from a version on: ``fixed_in``
    IGNORED = "ignored"  # for good, until a time, or until it has happened so often: ``ignored_until``, ``ignored_to``


OPEN_STATES = (GroupState.OPEN, GroupState.REGRESSED)


class FailureGroup(Kept):
    """All failed attempts with the same exception class and last line of app code. Written by the scheduler's fold.

    Those without a line of app code (a hard timeout, a lost worker) are a group for each job type.

    How many there were per minute, hour and day, and of which job types, say the ``JobCount`` rows of its fingerprint.
    What people say of it is written by ``handlers.failure_groups``, where the row is locked, as the fold locks it.
    """

    fingerprint = models.CharField(max_length=16, primary_key=True)
    exception = models.CharField(max_length=200, blank=True)  # dotted class path
    frame = models.CharField(max_length=300, blank=True)  # "shop/jobs.py:42 in handle"; empty: no app code
    # Whose failures these are, where the frame is empty; of a group of before, which may be of many types, empty too.
    job_type = models.CharField(max_length=200, blank=True, default="", db_default="")
    message = models.CharField(max_length=500, blank=True)  # of the newest failure
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    count = models.BigIntegerField(default=0)  # failed attempts, ever
    last_job_id = models.BigIntegerField(null=True)
    # (The defaults are the database's for the release before.)
    first_version = models.CharField(max_length=64, blank=True, default="", db_default="")  # of the code that failed
    last_version = models.CharField(max_length=64, blank=True, default="", db_default="")
    versions = models.JSONField(null=True)  # [[version, failed attempts], ...]: the last few that it was seen in
    state = models.CharField(
        max_length=9, choices=GroupState, default=GroupState.OPEN.value, db_default=GroupState.OPEN.value
    )
    state_at = models.DateTimeField(null=True)  # since when; null: since its first failure
    state_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    # Resolved: failures of this version and of later ones reopen it; empty: any; "next": of those to come.
    fixed_in = models.CharField(max_length=64, blank=True, default="", db_default="")
    fixed_after = models.CharField(max_length=64, blank=True, default="", db_default="")  # "next": than this one
    ignored_until = models.DateTimeField(null=True)
    ignored_to = models.BigIntegerField(null=True)  # until ``count`` is that high
    regressed_at = models.DateTimeField(null=True)  # when it came back for the last time
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, db_constraint=False, related_name="+"
    )

    class Meta:
        db_table = "jobs_failuregroup"
        default_permissions = ("view",)
        permissions: ClassVar = [("change_failuregroup", "Can resolve, ignore, assign and note failure groups")]
        indexes: ClassVar = [
            models.Index(fields=["last_at", "fingerprint"], name="jobs_group_last"),
            models.Index(fields=["ignored_until"], condition=Q(ignored_until__isnull=False), name="jobs_group_ignored"),
        ]

    def __str__(self) -> str:
        where = f" at {self.frame}" if self.frame else f" of {self.job_type}" if self.job_type else ""
        return f"{self.exception}{where}"

    @property
    def is_open(self) -> bool:
        """Whether it is somebody's business."""
        return self.state in OPEN_STATES

    @property
    def mark(self) -> str:
        """What a page showed of its life: a verb that expects this one does nothing once that has changed."""
        return f"{self.state} {self.state_at.isoformat() if self.state_at else ''}"


class GroupEvent(Kept):
    """What happened to a failure group, or was said of it: its diary, and what alerts are made of.

    ``new``, ``regressed`` and ``unignored`` are written by the scheduler in the transaction that counts the failures,
    each once, whoever folds; so whoever tells people of them reads on from the last ``id`` that it has told.
    """

    class Kind(models.TextChoices):
        """What it was."""

        NEW = "new"
        REGRESSED = "regressed"  # data: the version, and who had resolved it, when, from which version on
        UNIGNORED = "unignored"  # its time was over, or it happened as often as was said
        RESOLVED = "resolved"
        IGNORED = "ignored"
        REOPENED = "reopened"
        ASSIGNED = "assigned"
        NOTE = "note"

    id = models.BigAutoField(primary_key=True)
    group = models.ForeignKey(FailureGroup, on_delete=models.CASCADE, db_constraint=False, related_name="events")
    kind = models.CharField(max_length=9, choices=Kind)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150, blank=True, default="")  # "user:NAME", or a part of the system
    text = models.CharField(max_length=2_000, blank=True, default="")
    data = models.JSONField(null=True)

    class Meta:
        db_table = "jobs_groupevent"
        default_permissions = ()
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["kind", "id"], name="jobs_groupevent_kind"),
            models.Index(fields=["at"], name="jobs_groupevent_at"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.group_id}"
