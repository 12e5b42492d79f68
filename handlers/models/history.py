"""What happened to a job: one row per move, and one per failed attempt with its traceback."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy

from handlers.models.job import STATE_CHOICES, JobRecord
from handlers.models.kept import Kept


class JobHistory(Kept):
    """One move of a job between states."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(JobRecord, on_delete=models.CASCADE, db_constraint=False, related_name="history")
    from_state = models.CharField(max_length=10, choices=STATE_CHOICES)
    to_state = models.CharField(max_length=10, choices=STATE_CHOICES)
    at = models.DateTimeField()
    attempt = models.PositiveIntegerField(default=0)  # the job's attempt number after the move
    reason = models.CharField(max_length=500, blank=True, default="")
    actor = models.CharField(
        max_length=150, blank=True, default=""
    )  # "user:NAME", a worker's name, or a part of the system
    # Facts of the move: duration_seconds, latency_seconds, worker, version, exception, delay_seconds, old_payload, ...
    data = models.JSONField(null=True)

    class Meta:
        db_table = "jobs_jobhistory"
        verbose_name = gettext_lazy("history entry")
        verbose_name_plural = gettext_lazy("history")
        default_permissions = ()
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"job {self.job_id}: {self.from_state} to {self.to_state}"


class AttemptError(Kept):
    """Why one attempt failed, with its traceback; bounded and cleaned of what a database cannot store."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(JobRecord, on_delete=models.CASCADE, db_constraint=False, related_name="errors")
    attempt = models.PositiveIntegerField()
    at = models.DateTimeField()
    exception = models.CharField(max_length=200)  # dotted class path
    message = models.TextField(blank=True)
    traceback = models.TextField(blank=True)
    fingerprint = models.CharField(max_length=16, blank=True, default="")  # its failure group
    frame = models.CharField(
        max_length=300, blank=True, default=""
    )  # last line of app code: "shop/jobs.py:42 in handle"
    version = models.CharField(max_length=64, blank=True, default="", db_default="")  # of the code that ran it

    class Meta:
        db_table = "jobs_attempterror"
        default_permissions = ()
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["fingerprint", "id"], name="jobs_errors_group")]

    def __str__(self) -> str:
        return f"job {self.job_id}, attempt {self.attempt}: {self.exception}"


class AttemptLog(Kept):
    """What one attempt's handler logged; bounded."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(JobRecord, on_delete=models.CASCADE, db_constraint=False, related_name="logs")
    attempt = models.PositiveIntegerField()
    # [[ISO time, level name, logger, message], ...] in order
    lines = models.JSONField()

    class Meta:
        db_table = "jobs_attemptlog"
        default_permissions = ()
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"log of job {self.job_id}, attempt {self.attempt}"
