"""Sagas: what they know, by what they are found, what they wait for, and what has happened in them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from handlers.models.job import AsItIs
from handlers.models.kept import Kept


class SagaRecord(Kept):
    """One saga. Only ``handlers.sagas`` writes it, each of its turns in one transaction with all that it says."""

    id = models.BigAutoField(primary_key=True)
    saga_type = models.CharField(max_length=200, verbose_name=gettext_lazy("type"))
    label = models.CharField(max_length=200, blank=True, default="")  # its first key, in words: order_id 42
    data = models.JSONField(encoder=AsItIs)  # its state, after its last turn
    correlation = models.CharField(max_length=64)  # of the jobs that it sends
    turns = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    touched_at = models.DateTimeField()  # by its last turn, that failed or not
    stuck_at = models.DateTimeField(null=True)  # when it will have done nothing for longer than it should; null: over
    completed_at = models.DateTimeField(null=True)
    completed_by = models.CharField(max_length=150, blank=True, default="")  # by hand: who; empty: itself
    error = models.CharField(max_length=500, blank=True, default="")  # of its last turn, if that failed, in one line
    failed_at = models.DateTimeField(null=True)  # since when
    # Why this code cannot read its state, in words: it waits, with its events, for code that can.
    unreadable = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        db_table = "jobs_sagarecord"
        verbose_name = gettext_lazy("saga")
        default_permissions = ("view",)
        permissions: ClassVar = [("change_sagarecord", "Can complete sagas by hand")]
        indexes: ClassVar = [
            models.Index(fields=["saga_type", "id"], name="jobs_saga_type"),
            models.Index(fields=["saga_type", "id"], condition=Q(completed_at=None), name="jobs_saga_open"),
            models.Index(fields=["stuck_at", "id"], condition=Q(stuck_at__isnull=False), name="jobs_saga_stuck"),
            models.Index(fields=["id"], condition=~Q(error="", unreadable=""), name="jobs_saga_trouble"),
            models.Index(fields=["completed_at", "id"], condition=Q(completed_at__isnull=False), name="jobs_saga_over"),
            models.Index(fields=["correlation", "id"], name="jobs_saga_correlation"),
        ]

    def __str__(self) -> str:
        return f"{self.saga_type} #{self.pk}"


class SagaKey(Kept):
    """What a saga is found by: of each type one has a key's value, completed or not, until it has aged out.

    One without a saga is what an event waits for that came before it: whoever starts the saga fills it in.
    """

    id = models.BigAutoField(primary_key=True)
    saga = models.ForeignKey(SagaRecord, null=True, on_delete=models.CASCADE, db_constraint=False, related_name="keys")
    saga_type = models.CharField(max_length=200)
    name = models.CharField(max_length=100)  # of the field
    value = models.CharField(max_length=200)  # as JSON

    class Meta:
        db_table = "jobs_sagakey"
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["saga_type", "name", "value"], name="jobs_sagakey_one"),
        ]
        indexes: ClassVar = [models.Index(fields=["value", "id"], name="jobs_sagakey_value")]  # whatever the type

    def __str__(self) -> str:
        return f"{self.name} {self.value}"


class SagaTimeout(Kept):
    """What a saga wants to be told later. There is one of a name: a newer takes its place, and the former is void."""

    id = models.BigAutoField(primary_key=True)
    saga = models.ForeignKey(SagaRecord, on_delete=models.CASCADE, db_constraint=False, related_name="timeouts")
    name = models.CharField(max_length=100)
    job_id = models.BigIntegerField(db_index=True)
    due_at = models.DateTimeField()

    class Meta:
        db_table = "jobs_sagatimeout"
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["saga", "name"], name="jobs_sagatimeout_one")]

    def __str__(self) -> str:
        return f"timeout {self.name} of saga {self.saga_id}"


class TurnKind(models.TextChoices):
    """What a saga's turn came of."""

    EVENT = "event", "Event"
    TIMEOUT = "timeout", "Timeout"
    PERSON = "person", "By hand"


class SagaTurn(Kept):
    """A turn of a saga: what came in, and what it came to."""

    id = models.BigAutoField(primary_key=True)
    saga = models.ForeignKey(SagaRecord, on_delete=models.CASCADE, db_constraint=False, related_name="timeline")
    at = models.DateTimeField()
    kind = models.CharField(max_length=7, choices=TurnKind)
    name = models.CharField(max_length=200, blank=True, default="")  # the event's type, the timeout's name
    event_id = models.BigIntegerField(null=True)
    job_id = models.BigIntegerField(null=True)  # by which it came
    # What it asked for, in order: {"do": "send", "type": .., "job": id, "at": .. or "delay": seconds},
    # {"do": "timeout", "name": .., "job": id, "delay": seconds}, {"do": "cancel", "job": id}, {"do": "complete"}.
    asked = models.JSONField(default=list, encoder=AsItIs)
    before = models.JSONField(null=True, encoder=AsItIs)  # the state; null: there was none
    after = models.JSONField(null=True, encoder=AsItIs)  # null: it failed, and the state stayed
    error = models.CharField(max_length=500, blank=True, default="")  # why it failed, in one line; nothing was done
    actor = models.CharField(max_length=150, blank=True, default="")  # of one by hand
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        db_table = "jobs_sagaturn"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["saga", "id"], name="jobs_sagaturn_saga"),
            models.Index(fields=["job_id"], condition=Q(job_id__isnull=False), name="jobs_sagaturn_job"),
        ]

    def __str__(self) -> str:
        return f"turn {self.pk} of saga {self.saga_id}"
