"""What durable jobs were in RQ, or are called there."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from handlers.models.job import AsItIs, JobRecord
from handlers.models.kept import Kept


class RQOrigin(Kept):
    """A job's name in RQ. ``origin`` begins with ``id:`` for the id that its caller chose, with ``meta:`` for what its
    function has saved of its meta, with ``from:`` for where in Redis it was before it moved into the database.
    """

    id = models.BigAutoField(primary_key=True)
    origin = models.CharField(max_length=500, unique=True)
    rq_id = models.CharField(max_length=300, blank=True, default="")
    job = models.ForeignKey(
        JobRecord, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    in_redis = models.BooleanField(default=False)  # it was moved, and may still be there
    meta = models.JSONField(encoder=AsItIs, null=True)

    class Meta:
        db_table = "jobs_rqorigin"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["rq_id", "id"], condition=~Q(rq_id=""), name="jobs_rqorigin_name"),
            models.Index(fields=["job"], name="jobs_rqorigin_job"),
            models.Index(fields=["id"], condition=Q(in_redis=True), name="jobs_rqorigin_moving"),
        ]

    def __str__(self) -> str:
        return self.origin
