"""Tags of jobs."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from handlers.models.job import JobRecord
from handlers.models.kept import Kept

LONGEST_TAG = 50


class JobTag(Kept):
    """A tag with which a job was enqueued, as it is written; those of its type are the code's, and no rows."""

    pk = models.CompositePrimaryKey("job_id", "tag")
    job = models.ForeignKey(
        JobRecord, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="own_tags"
    )
    tag = models.CharField(max_length=LONGEST_TAG)

    class Meta:
        db_table = "jobs_jobtag"
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["tag", "job"], name="jobs_by_tag")]

    def __str__(self) -> str:
        return f"{self.tag} of job {self.job_id}"
