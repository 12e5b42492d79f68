"""One verb over all jobs that match: a durable run, and its receipt."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept


class BulkState(models.TextChoices):
    """Where a run is."""

    CANARY = "canary"  # the first few run; the rest waits for them
    RUNNING = "running"
    PAUSED = "paused"  # by a person, or by itself: ``note`` says why
    STOPPED = "stopped"  # final
    DONE = "done"  # final


class BulkOperation(Kept):
    """A verb that works through the jobs that match a selection, oldest first, in chunks, in the background."""

    id = models.BigAutoField(primary_key=True)
    verb = models.CharField(max_length=10)  # retry, requeue, delete, move
    queue = models.CharField(max_length=64, blank=True, default="", db_default="")  # move: to this one
    selection = models.JSONField()  # as handlers.selection reads it
    upper_id = models.BigIntegerField()  # jobs that are created later are not part of it
    count = models.PositiveBigIntegerField()  # how many matched when it was made; 0: counting them took too long
    state = models.CharField(max_length=7, choices=BulkState)
    note = models.CharField(max_length=500, blank=True, default="")
    # Paused by itself because of what came out: whoever lets it go on has been told.
    held = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, db_constraint=False, related_name="+"
    )
    username = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True, default="")
    rate_per_second = models.FloatField(null=True)  # None: as fast as it can
    canary = models.PositiveIntegerField(default=0)  # jobs that go first, or were tried since; 0: none
    canary_after = models.BigIntegerField(default=0, db_default=0)  # the canary is of the jobs after this one
    max_failed_share = models.FloatField(null=True)  # 0 to 1: of failed first attempts, above which it pauses
    after_id = models.BigIntegerField(default=0)  # worked through up to this job
    # The share of failures counts from here: whoever resumed the run over its limit has seen those before.
    watched_after = models.BigIntegerField(default=0)
    step = models.PositiveIntegerField(default=0)  # chunks done: a repeated chunk job changes nothing
    moved = models.PositiveBigIntegerField(default=0)
    moved_on = models.PositiveBigIntegerField(default=0)  # matched, and were elsewhere when their turn came
    progressed_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "jobs_bulkoperation"
        verbose_name = gettext_lazy("bulk operation")
        default_permissions = ("view",)
        permissions: ClassVar = [("run_bulkoperation", "Can act on all jobs that match")]
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.verb} {self.count} jobs"


class BulkItem(Kept):
    """One job of a run: what the run did to it."""

    id = models.BigAutoField(primary_key=True)
    operation = models.ForeignKey(BulkOperation, on_delete=models.CASCADE, related_name="items")
    job_id = models.BigIntegerField()
    moved = models.BooleanField()
    attempt = models.PositiveIntegerField(default=0)  # the job's attempt before: a later one is the run's own

    class Meta:
        db_table = "jobs_bulkitem"
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["operation", "job_id"], name="jobs_bulkitem_key"),
        ]

    def __str__(self) -> str:
        return f"job {self.job_id}"
