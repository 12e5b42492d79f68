"""Async handlers that have held up the event loop which they share with others."""

from __future__ import annotations

from django.db import models

from handlers.models.kept import Kept


class BlockingCall(Kept):
    """The last time that a handler of this type was seen to wait without letting others go on."""

    job_type = models.CharField(max_length=200, primary_key=True)
    job_id = models.BigIntegerField()
    at = models.DateTimeField()
    seconds = models.FloatField()  # for how long, when it was seen
    others = models.PositiveIntegerField()  # how many jobs it held up
    stack = models.TextField()  # the innermost call last; no values
    worker = models.CharField(max_length=100)

    class Meta:
        db_table = "jobs_blockingcall"
        default_permissions = ()

    def __str__(self) -> str:
        return f"job {self.job_id} ({self.job_type})"
