"""What a job's handler has returned."""

from __future__ import annotations

from django.db import models

from handlers.models.job import AsItIs, JobRecord
from handlers.models.kept import Kept


class JobResult(Kept):
    """The value of the last attempt that returned one. Read as ``JobRecord.result``."""

    job = models.OneToOneField(
        JobRecord, primary_key=True, on_delete=models.CASCADE, db_constraint=False, related_name="kept_result"
    )
    attempt = models.PositiveIntegerField()
    at = models.DateTimeField()
    data = models.JSONField(encoder=AsItIs)

    class Meta:
        db_table = "jobs_jobresult"
        default_permissions = ()

    def __str__(self) -> str:
        return f"result of job {self.job_id}"
