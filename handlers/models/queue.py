"""The switches that pause a queue or a job type."""

from __future__ import annotations

from django.db import models


class QueueSwitch(models.Model):
    """A paused queue. No row: the queue runs. A row whose ``until`` has passed counts as none."""

    name = models.CharField(max_length=64, primary_key=True)
    paused_at = models.DateTimeField()
    until = models.DateTimeField(null=True)
    by = models.CharField(max_length=150, blank=True, default="")
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name = "paused queue"
        default_permissions = ("view",)
        permissions = [("pause_queueswitch", "Can pause and resume queues")]

    def __str__(self) -> str:
        return self.name


class TypeSwitch(models.Model):
    """A paused job type, by the name that its jobs are stored under. Rows mean what a QueueSwitch's mean."""

    name = models.CharField(max_length=200, primary_key=True)
    paused_at = models.DateTimeField()
    until = models.DateTimeField(null=True)
    by = models.CharField(max_length=150, blank=True, default="")
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name = "paused job type"
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
