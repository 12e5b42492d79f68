"""Where a running job was in its code, when somebody asked."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from handlers.models.kept import Kept


class LiveStack(Kept):
    """A stack that was asked for last, and what the job's worker answered. Written by ``handlers.stacks``, kept a day.

    It is of the run that has this ``token``.
    """

    job_id = models.BigIntegerField(primary_key=True)
    token = models.CharField(max_length=16)
    worker = models.CharField(max_length=100)
    asked_at = models.DateTimeField(db_index=True)
    taken_at = models.DateTimeField(null=True)  # null: not yet
    text = models.TextField(blank=True, default="")  # frames as in a traceback, without values; bounded and cleaned

    class Meta:
        db_table = "jobs_livestack"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["worker"], condition=Q(taken_at__isnull=True), name="jobs_stacks_wanted")
        ]

    def __str__(self) -> str:
        return f"stack of job {self.job_id}"
