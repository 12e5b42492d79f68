"""The switches that pause a queue or a job type."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept


class Switch(Kept):
    """What is paused. No row: it runs. A row whose ``until`` has passed counts as none."""

    kind: ClassVar[str]  # of what is paused, in a word

    name = models.CharField(max_length=200, primary_key=True)
    paused_at = models.DateTimeField()
    until = models.DateTimeField(null=True)
    by = models.CharField(max_length=150, blank=True, default="")
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    @classmethod
    def on(cls) -> models.QuerySet[Self]:
        """Those that count now, by the database's clock."""
        return cls.objects.filter(Q(until=None) | Q(until__gt=Now()))


class QueueSwitch(Switch):
    """A paused queue."""

    kind = "queue"
    name = models.CharField(max_length=64, primary_key=True)

    class Meta:
        db_table = "jobs_queueswitch"
        verbose_name = gettext_lazy("paused queue")
        default_permissions = ("view",)
        permissions = [("pause_queueswitch", "Can pause and resume queues")]


class TypeSwitch(Switch):
    """A paused job type, by a name that its jobs are stored under."""

    kind = "type"

    class Meta:
        db_table = "jobs_typeswitch"
        verbose_name = gettext_lazy("paused job type")
        default_permissions = ()
