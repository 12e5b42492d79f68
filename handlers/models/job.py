"""A job's row, kept lean because workers update it, and its arguments beside it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept
from handlers.states import State

STATE_CHOICES = [(state.value, state.label) for state in State]


class JobRecord(Kept):
    """One durable job. Only ``handlers.lifecycle`` writes it. All times are aware, UTC."""

    id = models.BigAutoField(primary_key=True)
    state = models.CharField(max_length=10, choices=STATE_CHOICES, default=State.ENQUEUED.value)
    # Minted at each entry to scheduled or enqueued; whoever holds an older one can change nothing.
    token = models.CharField(max_length=16)
    job_type = models.CharField(max_length=200, verbose_name=gettext_lazy("type"))
    queue = models.CharField(max_length=64)

    attempt = models.PositiveIntegerField(default=0)  # runs really started; never reset
    failures = models.PositiveIntegerField(default=0)  # failed attempts in this round
    crashes = models.PositiveIntegerField(default=0)  # worker deaths while this job was the one running
    # Claimed without company: set when a worker was lost and nobody can tell which job of its batch it ran.
    alone = models.BooleanField(default=False)

    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150, blank=True, default="")
    run_at = models.DateTimeField(null=True)
    enqueued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, blank=True, default="")
    error = models.CharField(max_length=200, blank=True, default="")  # the last failure in one line
    fingerprint = models.CharField(max_length=16, blank=True, default="")  # of the last failure: its failure group
    # Something follows when it moves: see WatchedMove. (The defaults are the database's for the release before.)
    watched = models.BooleanField(default=False, db_default=False)
    limited = models.BooleanField(default=False, db_default=False)  # claimed only with a slot
    priority = models.SmallIntegerField(default=0, db_default=0)  # on its queue: see ``priorities.rank``

    class Meta:
        db_table = "jobs_jobrecord"
        verbose_name = gettext_lazy("job")
        default_permissions = ("view",)
        permissions: ClassVar = [
            ("enqueue_jobrecord", "Can enqueue jobs"),
            ("retry_jobrecord", "Can retry failed and scheduled jobs"),
            ("requeue_jobrecord", "Can run succeeded jobs again"),
            ("move_jobrecord", "Can move jobs to another queue"),
            ("delete_jobrecord", "Can delete and restore jobs"),
            ("signal_jobrecord", "Can answer jobs that wait for a signal"),
            ("view_sensitive", "Can see sensitive arguments"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["queue", "enqueued_at", "id"], condition=Q(state=State.ENQUEUED.value), name="jobs_enqueued"
            ),
            models.Index(fields=["run_at", "id"], condition=Q(state=State.SCHEDULED.value), name="jobs_scheduled"),
            models.Index(fields=["run_at", "id"], condition=Q(state=State.WAITING.value), name="jobs_waiting"),
            models.Index(fields=["worker", "id"], condition=Q(state=State.PROCESSING.value), name="jobs_processing"),
            models.Index(fields=["finished_at", "id"], condition=Q(state=State.FAILED.value), name="jobs_failed"),
            models.Index(fields=["job_type", "id"], condition=Q(state=State.FAILED.value), name="jobs_failed_type"),
            models.Index(fields=["fingerprint", "state", "id"], condition=~Q(fingerprint=""), name="jobs_of_group"),
            # The console's list of any state but the one that nearly all jobs end in.
            models.Index(fields=["state", "id"], condition=~Q(state=State.SUCCEEDED.value), name="jobs_not_succeeded"),
            models.Index(fields=["id"], condition=Q(state=State.SCHEDULED.value, failures__gt=0), name="jobs_retrying"),
            models.Index(
                fields=["finished_at", "id"],
                condition=Q(state__in=[State.SUCCEEDED.value, State.DELETED.value]),
                name="jobs_ageing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_type} #{self.pk}"

    @property
    def payload(self) -> Any:
        """The job's arguments: the JSON value that its type was encoded to. Filter by ``arguments__data``."""
        return self.arguments.data

    @property
    def result(self) -> Any:
        """What the handler returned, a JSON value; None when it returned nothing, or has not yet."""
        kept = getattr(self, "kept_result", None)
        return kept.data if kept is not None and kept.attempt == self.attempt else None

    @property
    def is_retrying(self) -> bool:
        """Whether the job waits out the backoff of a failed attempt."""
        return self.state == State.SCHEDULED and self.failures > 0


class AsItIs(json.JSONEncoder):
    """JSON with each letter as it is, so that SQLite, which keeps the text, finds it: enqueue writes it like that."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "ensure_ascii": False})


class JobPayload(Kept):
    """A job's arguments and what else it is found by, apart from the row that workers update.

    ``job_type`` and ``queue`` repeat the job's, which workers never change: their indexes stay out of their way here.
    On PostgreSQL ``data`` has a ``jsonb_path_ops`` index, made by migration.
    """

    job = models.OneToOneField(
        JobRecord, primary_key=True, on_delete=models.CASCADE, db_constraint=False, related_name="arguments"
    )
    data = models.JSONField(encoder=AsItIs)
    job_type = models.CharField(max_length=200, default="")
    queue = models.CharField(max_length=64, default="")
    parent_id = models.BigIntegerField(null=True)  # the job whose handler enqueued this one
    correlation = models.CharField(max_length=64, blank=True, default="")  # shared by what belongs together
    release = models.CharField(max_length=16, null=True)  # noqa: DJ001 - KnownTypes of the code that wrote the arguments
    context = models.JSONField(encoder=AsItIs, null=True)  # what travels with it: see ``handlers.carried``
    expires_at = models.DateTimeField(null=True)  # unless it was started before, it is deleted then; null: looked at

    class Meta:
        db_table = "jobs_jobpayload"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["job_type", "job"], name="jobs_by_type"),
            models.Index(fields=["queue", "job"], name="jobs_by_queue"),
            models.Index(fields=["parent_id", "job"], condition=Q(parent_id__isnull=False), name="jobs_by_parent"),
            models.Index(fields=["correlation", "job"], condition=~Q(correlation=""), name="jobs_by_correlation"),
            models.Index(fields=["expires_at", "job"], condition=Q(expires_at__isnull=False), name="jobs_expiring"),
        ]

    def __str__(self) -> str:
        return f"arguments of job {self.pk}"
