"""The keys of jobs of which there may be one at a time."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from handlers.models.kept import Kept


class UniqueKey(Kept):
    """Which job holds a key, or held it last: its state says. The primary key keeps two from holding one."""

    key = models.UUIDField(primary_key=True)  # see handlers.unique; as such it has the smallest index
    job_id = models.BigIntegerField(db_index=True)
    until = models.CharField(max_length=7)
    held_until = models.DateTimeField(null=True)  # in any case, also when the job was erased

    class Meta:
        db_table = "jobs_uniquekey"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["held_until"], condition=Q(held_until__isnull=False), name="jobs_uniquekey_period"),
        ]

    def __str__(self) -> str:
        return f"key of job {self.job_id}"
