"""Jobs that recur, and each of their occurrences."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from handlers.models.job import AsItIs
from handlers.models.kept import Kept


class Misfire(models.TextChoices):
    """What becomes of occurrences that nobody could fire in time."""

    SKIP = "skip", gettext_lazy("Skip them")
    ONE = "one", gettext_lazy("Run once")
    EACH = "each", gettext_lazy("Run each")


class Overlap(models.TextChoices):
    """What becomes of an occurrence while the job of the one before has not ended."""

    ALLOW = "allow", gettext_lazy("Run beside it")
    SKIP = "skip", gettext_lazy("Skip it")
    QUEUE = "queue", gettext_lazy("Let one wait")


class RecurringJob(Kept):
    """A job with the times at which it runs. Only ``handlers.recurrence`` writes it. All times are aware, UTC."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=200, unique=True)
    job_type = models.CharField(max_length=200, verbose_name=gettext_lazy("type"))
    data = models.JSONField(encoder=AsItIs)  # the arguments, as in JobPayload
    queue = models.CharField(max_length=64, blank=True, default="")  # empty: the type's own
    context = models.JSONField(encoder=AsItIs, null=True)  # what travels with its jobs: see ``handlers.carried``

    cron = models.CharField(max_length=200, blank=True, default="")  # or
    every_seconds = models.FloatField(null=True)
    anchor_at = models.DateTimeField(null=True)  # the first time, from which every_seconds count
    zone = models.CharField(max_length=64, default="UTC")
    start_at = models.DateTimeField(null=True)
    end_at = models.DateTimeField(null=True)
    jitter_seconds = models.FloatField(default=0.0)
    misfire = models.CharField(max_length=4, choices=Misfire, default=Misfire.ONE)
    catch_up = models.PositiveIntegerField(default=100)  # misfire "each": at most so many of them,
    catch_up_seconds = models.FloatField(default=86_400.0)  # and none older than that
    overlap = models.CharField(max_length=5, choices=Overlap, default=Overlap.ALLOW)
    pause_after = models.PositiveIntegerField(default=0)  # failed jobs in a row; 0: never
    heartbeat_url = models.CharField(max_length=500, blank=True, default="")  # asked for after each success

    in_code = models.BooleanField(default=False)  # declared there: only paused and triggered elsewhere
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150, blank=True, default="")
    changed_at = models.DateTimeField()

    due_at = models.DateTimeField(null=True)  # the next occurrence by its rule; null: none, or paused for good
    next_at = models.DateTimeField(null=True)  # when that is fired: due_at and its jitter
    held_at = models.DateTimeField(null=True)  # overlap "queue": the occurrence that waits
    last_at = models.DateTimeField(null=True)  # when the last one was fired
    last_job_id = models.BigIntegerField(null=True)
    fired = models.PositiveBigIntegerField(default=0)  # occurrences
    skipped = models.PositiveBigIntegerField(default=0)
    paused_at = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=150, blank=True, default="")
    paused_reason = models.CharField(max_length=500, blank=True, default="")
    resumed_at = models.DateTimeField(null=True)  # failures before that are forgiven

    class Meta:
        db_table = "jobs_recurringjob"
        verbose_name = gettext_lazy("recurring job")
        default_permissions = ("view", "add", "change", "delete")
        permissions: ClassVar = [
            ("trigger_recurringjob", "Can trigger and backfill recurring jobs"),
            ("pause_recurringjob", "Can pause and resume recurring jobs"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["next_at", "id"], condition=Q(next_at__isnull=False), name="jobs_recurring_due"),
            models.Index(fields=["id"], condition=Q(held_at__isnull=False), name="jobs_recurring_held"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def version(self) -> str:
        """Another one after each change of what it is to be."""
        return self.changed_at.isoformat()


class How(models.TextChoices):
    """How an occurrence came to be, or why it did not."""

    DUE = "due", gettext_lazy("on time")
    LATE = "late", gettext_lazy("late")
    HELD = "held", gettext_lazy("after the one before")
    TRIGGERED = "triggered", gettext_lazy("triggered")
    BACKFILLED = "backfilled", gettext_lazy("backfilled")
    MISSED = "missed", gettext_lazy("missed")  # no job
    OVERLAPPED = "overlapped", "overlapped"  # no job


class Occurrence(Kept):
    """One firing, or what was skipped instead. Kept as long as succeeded jobs."""

    id = models.BigAutoField(primary_key=True)
    recurring = models.ForeignKey(
        RecurringJob, on_delete=models.DO_NOTHING, db_constraint=False, related_name="occurrences", db_index=False
    )
    due_at = models.DateTimeField()  # skipped ones: the last of them
    fired_at = models.DateTimeField(db_index=True)
    how = models.CharField(max_length=10, choices=How)
    job_id = models.BigIntegerField(null=True)
    skipped = models.PositiveBigIntegerField(default=0)  # so many times that were due
    heartbeat = models.BooleanField(default=False)  # whether one is to be sent once the job has succeeded

    class Meta:
        db_table = "jobs_occurrence"
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["recurring", "due_at"], name="jobs_occurrence_key"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["job_id"], condition=Q(job_id__isnull=False), name="jobs_occurrence_job"),
            models.Index(fields=["id"], condition=Q(heartbeat=True), name="jobs_occurrence_heartbeat"),
        ]

    def __str__(self) -> str:
        return f"occurrence of {self.recurring_id} at {self.due_at:%Y-%m-%d %H:%M:%S}"
