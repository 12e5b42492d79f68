"""Alerts: the rules that people set, what each of them has found, and what was sent."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept


class AlertKind(models.TextChoices):
    """What a rule looks for."""

    GROUP = "group", gettext_lazy("A new failure group, or one that came back")
    SHARE = "share", gettext_lazy("Share of failed attempts")
    WAIT = "wait", gettext_lazy("Oldest wait on a queue")
    WORKER = "worker", gettext_lazy("No worker")
    RECURRING = "recurring", gettext_lazy("A recurring job missed its time")
    BULK = "bulk", gettext_lazy("A bulk operation paused")


class AlertRule(Kept):
    """What people want to be told of, and where. Written by ``handlers.alerts.edits`` alone; times are aware, UTC."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=9, choices=AlertKind)
    job_type = models.CharField(max_length=200, blank=True, default="")  # empty: of every type
    queue = models.CharField(max_length=64, blank=True, default="")  # empty: of every queue
    threshold = models.FloatField(default=0)  # share: 0 to 1; wait: seconds
    least = models.PositiveIntegerField(default=20)  # share: attempts that must have ended in the time
    minutes = models.PositiveIntegerField(default=15)  # share: the time that is looked at
    hold_seconds = models.PositiveIntegerField(default=0)  # it must last so long before it is told
    again_minutes = models.PositiveIntegerField(default=240)  # it is told again while it lasts; 0: never
    emails: Any = models.JSONField(default=list)  # addresses
    webhook_url = models.CharField(max_length=500, blank=True, default="")
    webhook_secret = models.CharField(max_length=100, blank=True, default="")  # by which the receiver knows us
    muted_until = models.DateTimeField(null=True)
    muted_by = models.CharField(max_length=150, blank=True, default="")
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    looked_at = models.DateTimeField(null=True)  # when a scheduler last did
    told_at = models.DateTimeField(null=True)  # when something was last sent

    class Meta:
        db_table = "jobs_alertrule"
        verbose_name = gettext_lazy("alert rule")
        default_permissions = ("view", "add", "change", "delete")
        permissions: ClassVar = [("mute_alertrule", "Can mute alert rules")]

    def __str__(self) -> str:
        return self.name

    @property
    def version(self) -> str:
        """Another one after each change."""
        return self.changed_at.isoformat()


class AlertIncident(Kept):
    """What a rule found about one thing, from when it began until it was over. One of a rule and key is open at once.

    Kept for 90 days after that.
    """

    id = models.BigAutoField(primary_key=True)
    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, db_constraint=False, related_name="incidents")
    key = models.CharField(max_length=200)  # what it is about: a queue, a type, a group, a recurring job, a run
    words = models.CharField(max_length=500)  # how it is, or was when it was last so
    path = models.CharField(max_length=300, blank=True, default="")  # of its page, below the console's address
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()  # when it was last so
    ended_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)  # when people were last told that it is so; null: it is too young
    told_end = models.BooleanField(default=False)  # whether they were told that it is over

    class Meta:
        db_table = "jobs_alertincident"
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rule", "key"], condition=Q(ended_at__isnull=True), name="jobs_alert_open"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["rule", "-id"], name="jobs_alert_of_rule"),
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="jobs_alert_ended"),
        ]

    def __str__(self) -> str:
        return self.words


class AlertNotice(Kept):
    """One message to one place, which a job sends."""

    id = models.BigAutoField(primary_key=True)
    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, db_constraint=False, related_name="notices")
    at = models.DateTimeField()
    channel = models.CharField(max_length=7)  # email, webhook
    event: Any = models.JSONField()  # what it says: see handlers.alerts.notices
    claimed_at = models.DateTimeField(null=True)  # when somebody began to send it
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True, default="")  # of the last try

    class Meta:
        db_table = "jobs_alertnotice"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["rule", "-id"], name="jobs_notice_of_rule"),
            models.Index(fields=["at"], name="jobs_notice_at"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} of {self.at:%Y-%m-%d %H:%M}"
