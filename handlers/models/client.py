"""Programs that use the HTTP API, and what they were answered."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept


class ApiClient(Kept):
    """A program with a token of its own, and what that may do. Written by ``handlers.api.clients``.

    Never deleted, only revoked: the audit and histories name it, as ``api:NAME``.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=60, unique=True)
    key = models.CharField(max_length=12, unique=True)  # the part of the token by which it is found; no secret
    digest = models.CharField(max_length=64)  # SHA-256 of the whole token, which is kept nowhere
    verbs = models.JSONField(default=list)  # of handlers.api.scopes.VERBS
    queues = models.JSONField(default=list)  # empty: all
    types = models.JSONField(default=list)  # empty: all
    rate_per_minute = models.PositiveIntegerField(null=True)  # requests; null: any number
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150, blank=True, default="")
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.CharField(max_length=150, blank=True, default="")
    used_at = models.DateTimeField(null=True)  # the last time, to the hour

    class Meta:
        verbose_name = gettext_lazy("API client")
        default_permissions = ("view", "add")
        permissions: ClassVar = [("revoke_apiclient", "Can revoke tokens of the API")]
        db_table = "jobs_apiclient"
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class ApiAnswer(Kept):
    """What a request with an ``Idempotency-Key`` was answered. Written in the transaction of its effect."""

    key = models.CharField(max_length=64, primary_key=True)  # SHA-256 of the client and its key
    request = models.CharField(max_length=64)  # SHA-256 of what was asked
    at = models.DateTimeField(db_index=True)
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField(default=dict)
    body = models.JSONField()

    class Meta:
        default_permissions = ()
        db_table = "jobs_apianswer"

    def __str__(self) -> str:
        return f"{self.status} for {self.key[:8]}"
