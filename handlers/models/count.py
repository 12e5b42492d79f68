"""How many jobs did what, when: per minute, hour and day, by queue, type and outcome, with buckets of durations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from django.db import models
from django.db.models import Q

from handlers.models.kept import Kept


class Outcome(models.TextChoices):
    """What is counted. Each attempt that starts ends as one of the seven from succeeded to dropped."""

    CREATED = "created"  # enqueued or scheduled for the first time
    STARTED = "started"  # claimed; the duration is the wait on the queue
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # for good
    RETRIED = "retried"  # an attempt failed, and its policy runs the job again
    HANDED_BACK = "handed_back"  # back to its queue without an outcome
    SNOOZED = "snoozed"  # the handler said that it is too early, and when to run the job again
    WAITED = "waited"  # the handler waits for a signal
    DROPPED = "dropped"  # deleted while it ran
    DELETED = "deleted"  # deleted while it did not run
    REVIVED = "revived"  # retried, requeued or restored by a person
    # Counted beside what the job's move counts as.
    LEASE_LOST = "lease_lost"  # its worker stopped renewing its lease
    WORKER_LOST = "worker_lost"  # its worker process died, as its supervisor saw
    REPUBLISHED = "republished"  # it was on no queue, where it belongs; without its type


# Upper bounds in seconds of the duration buckets b00 to b16; b17 holds what is longer.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
BUCKET_FIELDS = tuple(f"b{index:02d}" for index in range(len(BUCKETS) + 1))


class Period(models.TextChoices):
    """How long one row counts."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"  # for ever, since EPOCH; of queues and types by themselves alone


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # when every total began


class JobCount(Kept):
    """How many jobs had ``outcome`` in the period that began at ``at`` (UTC). Written by the scheduler's fold alone.

    Rows with ``queue`` and ``job_type`` empty are the totals over all of them, so that a chart reads few rows.
    Rows with a ``fingerprint`` count the failures of that group (outcomes failed and retried) a second time, with
    ``queue`` empty; rows without one count everything.
    """

    id = models.BigAutoField(primary_key=True)
    period = models.CharField(max_length=6, choices=Period)
    at = models.DateTimeField()
    queue = models.CharField(max_length=64, blank=True, default="")
    job_type = models.CharField(max_length=200, blank=True, default="")
    outcome = models.CharField(max_length=11, choices=Outcome)
    fingerprint = models.CharField(max_length=16, blank=True, default="")
    count = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)  # the sum of the durations
    b00 = models.BigIntegerField(default=0)
    b01 = models.BigIntegerField(default=0)
    b02 = models.BigIntegerField(default=0)
    b03 = models.BigIntegerField(default=0)
    b04 = models.BigIntegerField(default=0)
    b05 = models.BigIntegerField(default=0)
    b06 = models.BigIntegerField(default=0)
    b07 = models.BigIntegerField(default=0)
    b08 = models.BigIntegerField(default=0)
    b09 = models.BigIntegerField(default=0)
    b10 = models.BigIntegerField(default=0)
    b11 = models.BigIntegerField(default=0)
    b12 = models.BigIntegerField(default=0)
    b13 = models.BigIntegerField(default=0)
    b14 = models.BigIntegerField(default=0)
    b15 = models.BigIntegerField(default=0)
    b16 = models.BigIntegerField(default=0)
    b17 = models.BigIntegerField(default=0)

    class Meta:
        db_table = "jobs_jobcount"
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["period", "at", "queue", "job_type", "outcome", "fingerprint"], name="jobs_count_key"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["period", "job_type", "queue", "at"], name="jobs_count_type"),
            models.Index(fields=["fingerprint", "period", "at"], condition=~Q(fingerprint=""), name="jobs_count_group"),
            # Of every type at once. Without it PostgreSQL reads the whole table, since it takes these rows for many.
            models.Index(
                fields=["outcome", "at"],
                condition=Q(period=Period.HOUR, fingerprint="") & ~Q(job_type=""),
                name="jobs_count_hours",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.count} {self.outcome} in the {self.period} at {self.at:%Y-%m-%d %H:%M}"


class JobCountDelta(Kept):
    """What one batch adds to the counts; appended in its transaction and folded by the scheduler: no row is hot."""

    id = models.BigAutoField(primary_key=True)
    minute = models.DateTimeField()
    queue = models.CharField(max_length=64)
    job_type = models.CharField(max_length=200)
    outcome = models.CharField(max_length=11)
    fingerprint = models.CharField(max_length=16, default="")
    version = models.CharField(max_length=64, default="", db_default="")  # of the code that failed; of failures only
    count = models.IntegerField()
    seconds = models.FloatField(default=0)
    buckets = models.JSONField(null=True)  # {index of a bucket: count}

    class Meta:
        db_table = "jobs_jobcountdelta"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.count} {self.outcome}"
