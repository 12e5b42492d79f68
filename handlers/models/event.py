"""What was published, and how far it has come to whom."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from handlers.models.job import AsItIs
from handlers.models.kept import Kept


class EventRecord(Kept):
    """One published event. Written once, in its publisher's transaction."""

    id = models.BigAutoField(primary_key=True)
    event_type = models.CharField(max_length=200, verbose_name="type")
    data = models.JSONField(encoder=AsItIs)  # its fields
    correlation = models.CharField(max_length=64, blank=True, default="")
    published_at = models.DateTimeField()
    job_id = models.BigIntegerField(null=True)  # whose handler has published it
    context = models.JSONField(encoder=AsItIs, null=True)  # what travels with it: see ``handlers.carried``
    release = models.CharField(max_length=16, blank=True, default="")  # KnownTypes of the code that wrote it

    class Meta:
        db_table = "jobs_eventrecord"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["event_type", "id"], name="jobs_event_type"),
            models.Index(fields=["correlation", "id"], condition=~Q(correlation=""), name="jobs_event_correlation"),
            models.Index(fields=["job_id"], condition=Q(job_id__isnull=False), name="jobs_event_job"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} #{self.pk}"


class DeliveryState(models.TextChoices):
    """How far an event has come to one subscriber."""

    WAITING = "waiting", "Waiting"  # not handled so far; the later ones of its stream come after it
    EARLY = "early", "Early"  # waits for its saga to start; it holds no other
    FAILED = "failed", "Failed"  # its last attempt has; holds the later ones of its stream
    DONE = "done", "Handled"
    IGNORED = "ignored", "Ignored"  # there is no saga for it, or none any more
    DROPPED = "dropped", "Dropped"  # its job was deleted


UNTAKEN = (DeliveryState.WAITING, DeliveryState.EARLY, DeliveryState.FAILED)


class Delivery(Kept):
    """An event on its way to one subscriber, by a job: the inbox. Only ``handlers.events`` writes it."""

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(EventRecord, on_delete=models.CASCADE, db_constraint=False, related_name="deliveries")
    subscriber = models.CharField(max_length=200)  # its job type's name
    stream = models.CharField(max_length=300, blank=True, default="")  # of what is handled in order; empty: in none
    key = models.CharField(max_length=100, blank=True, default="")  # of a saga: by which it is found,
    value = models.CharField(max_length=200, blank=True, default="")  # and what the event has there, as JSON
    job_id = models.BigIntegerField()
    state = models.CharField(max_length=7, choices=DeliveryState, default=DeliveryState.WAITING)
    saga_id = models.BigIntegerField(null=True)  # that has taken it
    taken_at = models.DateTimeField(null=True)  # or ignored, or dropped; null: it is to come
    error = models.CharField(max_length=500, blank=True, default="")  # why its last attempt failed, in one line

    class Meta:
        db_table = "jobs_delivery"
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["event", "subscriber"], name="jobs_delivery_once")]
        indexes: ClassVar = [
            models.Index(fields=["job_id"], name="jobs_delivery_job"),
            models.Index(
                fields=["subscriber", "stream", "id"],
                condition=Q(state__in=["waiting", "failed"]),
                name="jobs_delivery_stream",
            ),
            models.Index(
                fields=["subscriber", "key", "value", "id"], condition=Q(state="early"), name="jobs_delivery_early"
            ),
            models.Index(
                fields=["saga_id", "id"],
                condition=Q(saga_id__isnull=False, state="failed"),
                name="jobs_delivery_failed",
            ),
        ]

    def __str__(self) -> str:
        return f"event {self.event_id} to {self.subscriber}"
