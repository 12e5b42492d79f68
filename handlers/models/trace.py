"""In which trace a job was enqueued."""

from __future__ import annotations

from django.db import models

from handlers.models.job import JobRecord
from handlers.models.kept import Kept


class JobTrace(Kept):
    """What a propagator of OpenTelemetry carries, such as W3C's ``traceparent``; written where tracing is on alone."""

    job = models.OneToOneField(
        JobRecord, primary_key=True, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    carrier = models.JSONField()

    class Meta:
        db_table = "jobs_jobtrace"
        default_permissions = ()

    def __str__(self) -> str:
        return f"trace of job {self.job_id}"
