"""Who runs jobs: worker processes and schedulers, as they say themselves every few seconds."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept


class WorkerProcess(Kept):
    """One worker process or scheduler. Gone when it stops; old when it died: see ``heartbeat_at``."""

    name = models.CharField(max_length=100, primary_key=True)  # as in JobRecord.worker
    kind = models.CharField(max_length=9, choices=[("worker", "Worker"), ("scheduler", "Scheduler")])
    host = models.CharField(max_length=100)
    pid = models.PositiveIntegerField()
    queues = models.JSONField(default=list)
    types = models.CharField(max_length=16, blank=True, default="")  # digest of a KnownTypes
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    # Worker: how many async handlers run and may run at once, and how many others. Null: an older release's.
    running_async = models.PositiveIntegerField(null=True)
    max_async = models.PositiveIntegerField(null=True)
    running_sync = models.PositiveIntegerField(null=True)
    threads = models.PositiveIntegerField(null=True)
    runs = models.JSONField(null=True)  # the first of its runs, those that began first: [{"job", "since"}]
    job_id = models.BigIntegerField(null=True)  # the first one; an older release's console reads no other
    job_since = models.DateTimeField(null=True)
    done = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    memory_bytes = models.BigIntegerField(null=True)
    lag_seconds = models.FloatField(null=True)  # scheduler: how late the most overdue job is
    troubles = models.JSONField(null=True)  # scheduler: what does not work: [{"what", "since", "reason"}]
    stop_requested_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "jobs_workerprocess"
        verbose_name = gettext_lazy("worker")
        default_permissions = ("view",)
        permissions: ClassVar = [("stop_workerprocess", "Can stop workers")]

    def __str__(self) -> str:
        return self.name


class KnownTypes(Kept):
    """The names of job types, aliases included, that a worker knows; one row for all workers of a release."""

    digest = models.CharField(max_length=16, primary_key=True)
    names = models.JSONField()  # with the version of each one's payload schema

    class Meta:
        db_table = "jobs_knowntypes"
        default_permissions = ()

    def __str__(self) -> str:
        return self.digest
