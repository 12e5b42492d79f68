"""Failures with one fingerprint: what is broken, rather than which job failed."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from handlers.models.kept import Kept


class FailureGroup(Kept):
    """All failed attempts with the same exception class and last line of app code. Written by the scheduler's fold.

    Those without a line of app code (a hard timeout, a lost worker) are a group for each job type.

    How many there were per minute, hour and day, and of which job types, say the ``JobCount`` rows of its fingerprint.
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

    class Meta:
        db_table = "jobs_failuregroup"
        default_permissions = ("view",)
        indexes: ClassVar = [models.Index(fields=["last_at", "fingerprint"], name="jobs_group_last")]

    def __str__(self) -> str:
        where = f" at {self.frame}" if self.frame else f" of {self.job_type}" if self.job_type else ""
        return f"{self.exception}{where}"
