"""What durable jobs were in RQ, or are called there."""

from __future__ import annotations

from django.db import models

from handlers.models.job import AsItIs, JobRecord
from handlers.models.kept import Kept


class RQOrigin(Kept):
    """A job's name in RQ. ``origin`` begins with ``id:`` for the id that its caller chose, with ``meta:`` for what its
    function has saved of its meta, and with ``from:`` while what was moved into the database is still in Redis.
    """

    id = models.BigAutoField(primary_key=True)
    origin = models.CharField(max_length=500, unique=True)
    job = models.ForeignKey(JobRecord, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    meta = models.JSONField(encoder=AsItIs, null=True)

    class Meta:
        db_table = "jobs_rqorigin"
        default_permissions = ()

    def __str__(self) -> str:
        return self.origin
