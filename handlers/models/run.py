"""What a job's runs leave for the page while they go on, and for the attempts that come after them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from handlers.models.job import AsItIs, JobRecord
from handlers.models.kept import Kept


class RunState(Kept):
    """How far the newest run has come, what it logs meanwhile, and where the next one goes on. Only runs write it."""

    job = models.OneToOneField(
        JobRecord, primary_key=True, on_delete=models.CASCADE, db_constraint=False, related_name="run_state"
    )
    attempt = models.PositiveIntegerField()  # that wrote it last: none before it can write any more
    done = models.FloatField(null=True)
    total = models.FloatField(null=True)
    message = models.CharField(max_length=200, blank=True, default="")
    at = models.DateTimeField(null=True)  # when the run last told how far it is
    lines = models.JSONField(null=True)  # as AttemptLog has them, of a run that has not ended
    key = models.CharField(max_length=32, blank=True, default="")  # the run's idempotency key: what it is a state of
    checkpoint = models.JSONField(null=True, encoder=AsItIs)
    checkpoint_attempt = models.PositiveIntegerField(null=True)
    checkpoint_at = models.DateTimeField(null=True)  # null: there is none

    class Meta:
        db_table = "jobs_runstate"
        default_permissions = ()

    def __str__(self) -> str:
        return f"state of job {self.job_id}'s run"


class JobStep(Kept):
    """A step of a job's work, which its later attempts do not repeat once it is done."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(JobRecord, on_delete=models.CASCADE, db_constraint=False, related_name="steps")
    name = models.CharField(max_length=100)
    key = models.CharField(max_length=32)  # of the run: a step of other arguments is another one
    attempt = models.PositiveIntegerField()  # that did it last
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)  # null: not done
    rows = models.PositiveBigIntegerField(null=True)  # of a cursor: how many are done
    data = models.JSONField(null=True, encoder=AsItIs)  # what its function returned; of a cursor, the last one's key

    class Meta:
        db_table = "jobs_jobstep"
        default_permissions = ()
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "name"], name="jobs_step_of_job")]

    def __str__(self) -> str:
        return f"step {self.name} of job {self.job_id}"
