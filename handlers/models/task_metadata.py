"""What a task has noted about itself while it ran."""

from __future__ import annotations

from django.db import models

from handlers.models.job import AsItIs, JobRecord
from handlers.models.kept import Kept


class TaskMetadata(Kept):
    """The metadata of a task's job, once the task has changed what it was enqueued with."""

    job = models.OneToOneField(
        JobRecord, primary_key=True, on_delete=models.CASCADE, db_constraint=False, related_name="task_metadata"
    )
    attempt = (
        models.PositiveIntegerField()
    )  # the one that wrote it; an earlier one, which was thought dead, writes no more
    data = models.JSONField(encoder=AsItIs)

    class Meta:
        db_table = "jobs_taskmetadata"
        default_permissions = ()

    def __str__(self) -> str:
        return f"metadata of job {self.job_id}"
