"""Every verb of a person, kept for good."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept


class AuditEntry(Kept):
    """Who did what, when, to how many jobs, and why. Written by the gateway in the verb's own transaction."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, db_constraint=False, related_name="+"
    )
    username = models.CharField(max_length=150)  # stays readable when the user is gone
    verb = models.CharField(max_length=30)  # enqueue, schedule, retry, requeue, delete, restore, pause_queue, ...
    target = models.CharField(max_length=200)  # "job 17", "3 jobs", "queue mail"
    count = models.PositiveIntegerField()  # how many really moved
    reason = models.CharField(max_length=500, blank=True, default="")
    source = models.CharField(max_length=64, blank=True, default="")  # the client's address, when a page asked
    data = models.JSONField(null=True)  # {"asked": 3, "job_ids": [...]}: the first 1,000

    class Meta:
        db_table = "jobs_auditentry"
        verbose_name = gettext_lazy("audit entry")
        verbose_name_plural = gettext_lazy("audit")
        default_permissions = ("view",)
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["verb", "id"], name="jobs_audit_verb"),
            models.Index(fields=["username", "id"], name="jobs_audit_user"),
        ]

    def __str__(self) -> str:
        return f"{self.username}: {self.verb} {self.target}"
