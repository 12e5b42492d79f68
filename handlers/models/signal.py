"""What jobs wait for, and what has come for them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from handlers.exceptions import LONGEST_SIGNAL_NAME
from handlers.models.job import AsItIs, JobRecord
from handlers.models.kept import Kept


class SignalStatus(models.TextChoices):
    """How far a signal is."""

    WAITS = "waits"  # the job waits for it
    CAME = "came"  # also before the job has waited
    TIMED_OUT = "timed_out"  # it did not come in time


class JobSignal(Kept):
    """A signal that a job waits for, or that has come. There is at most one that a job waits for.

    The job's attempts after ``attempt`` know of it. It goes with a new round of work: when the job runs again after it
    succeeded, or with other arguments; that it did not come, with any new round.
    """

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(JobRecord, on_delete=models.CASCADE, db_constraint=False, related_name="signals")
    name = models.CharField(max_length=LONGEST_SIGNAL_NAME)
    status = models.CharField(max_length=9, choices=SignalStatus)
    attempt = models.PositiveIntegerField()  # of the job, when this became so
    at = models.DateTimeField()  # when it became so
    data = models.JSONField(null=True, encoder=AsItIs)  # what came with it
    by = models.CharField(max_length=150, blank=True, default="")  # who sent it

    class Meta:
        db_table = "jobs_jobsignal"
        default_permissions = ()
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "name"], name="jobs_signal_of_job")]

    def __str__(self) -> str:
        return f"signal {self.name} of job {self.job_id}"
