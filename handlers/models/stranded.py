"""Jobs that wait on their queues for a worker whose code can run them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from handlers.models.kept import Kept


class StrandedJob(Kept):
    """A job that no worker so far could run: each lacked a handler, or did not read what another release had written.

    It holds as long as the job is enqueued with this ``token``.
    """

    job_id = models.BigIntegerField(primary_key=True)
    token = models.CharField(max_length=16)
    job_type = models.CharField(max_length=200)
    queue = models.CharField(max_length=64)
    since = models.DateTimeField()  # the first refusal
    refused_by = models.TextField()  # releases (see KnownTypes), separated by blanks
    exception = models.CharField(max_length=200)  # of the last refusal: a class's dotted path
    reason = models.CharField(max_length=500)

    class Meta:
        db_table = "jobs_strandedjob"
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["since"], name="jobs_stranded")]

    def __str__(self) -> str:
        return f"job {self.job_id}: {self.reason}"
