"""What has gone wrong with hooks of the site's: middleware, and receivers of ``jobs_moved``."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from handlers.models.kept import Kept


class HookTrouble(Kept):
    """One hook that has gone wrong: in all processes together, and in each worker and scheduler. See ``told_hooks``."""

    id = models.BigAutoField(primary_key=True)
    process = models.CharField(max_length=100, blank=True, default="")  # as WorkerProcess.name; empty: in all of them
    name = models.CharField(max_length=200)  # its dotted path
    hook = models.CharField(max_length=10)  # enqueue, run, arun, import; jobs_moved
    count = models.BigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    told_by = models.CharField(max_length=150)  # the process in which it did last: a worker's name, or host and PID
    went = models.CharField(max_length=10)  # how, for the last time: one of ``troubles.Went``
    detail = models.CharField(max_length=500, blank=True, default="")  # of that; no sensitive value is in it

    class Meta:
        db_table = "jobs_hooktrouble"
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["process", "name", "hook"], name="jobs_hooktrouble_one"),
        ]

    def __str__(self) -> str:
        return f"{self.hook} of {self.name} {self.went}"
