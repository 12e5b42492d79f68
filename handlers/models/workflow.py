"""Jobs that wait for each other: workflows, their nodes, and the gates at which nodes wait for their parents."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from handlers.models.job import AsItIs
from handlers.models.kept import Kept, database


class When(models.TextChoices):
    """By which end of a parent a gate is passed."""

    SUCCESS = "success", "Succeeded"
    FAILURE = "failure", "Failed"
    DELETED = "deleted", "Deleted"
    ENDED = "ended", "Ended in any way"


class Require(models.TextChoices):
    """Of how many of its parents a gate asks that."""

    ALL = "all", "All of them"
    ANY = "any", "Any of them"


class NodeOutcome(models.TextChoices):
    """How a node has ended, as far as those are told who wait for it."""

    NOT_YET = "", "Not yet"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    DELETED = "deleted", "Deleted"
    SKIPPED = "skipped", "Skipped by a person"  # counts as succeeded
    UNNEEDED = "unneeded", "Not needed"  # deleted, because what it waited for has ended otherwise


# Of a workflow.
SUMS = (
    NodeOutcome.SUCCEEDED, NodeOutcome.FAILED, NodeOutcome.DELETED, NodeOutcome.SKIPPED, NodeOutcome.UNNEEDED,
)  # fmt: skip


def unended(row: Any) -> int:
    """How many nodes of a workflow have not ended. ``row``: its ``total`` and SUMS, by their names."""
    return int(row.total - sum(getattr(row, outcome) for outcome in SUMS))


class Workflow(Kept):
    """A set of jobs with an end of its own. The one row that sums them up: only ``handlers.workflows`` writes it."""

    id = models.BigAutoField(primary_key=True)
    title = models.CharField(max_length=200, blank=True, default="")
    correlation = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150, blank=True, default="")
    opened_by = models.BigIntegerField(null=True)  # the job whose handler opened it: who waits for that, waits for this

    total = models.BigIntegerField(default=0)  # nodes, without those of on_success and on_end
    succeeded = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    deleted = models.BigIntegerField(default=0)
    skipped = models.BigIntegerField(default=0)
    unneeded = models.BigIntegerField(default=0)
    on_success = models.BigIntegerField(null=True)  # the job that runs once all have succeeded
    on_end = models.BigIntegerField(null=True)  # the job that runs once none is left to run
    finished_at = models.DateTimeField(null=True)  # none is left to run, and none has failed
    paused_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "jobs_workflow"
        default_permissions = ("view",)
        permissions: ClassVar = [("change_workflow", "Can pause, resume and cancel workflows")]
        indexes: ClassVar = [
            models.Index(fields=["opened_by"], condition=Q(opened_by__isnull=False), name="jobs_workflow_opener"),
            models.Index(fields=["id"], condition=Q(finished_at=None), name="jobs_workflow_open"),
            models.Index(fields=["id"], condition=Q(paused_at__isnull=False), name="jobs_workflow_paused"),
            models.Index(fields=["id"], condition=Q(failed__gt=0, finished_at=None), name="jobs_workflow_failed"),
            models.Index(fields=["id"], condition=Q(cancelled_at__isnull=False), name="jobs_workflow_cancelled"),
            models.Index(
                fields=["finished_at", "id"], condition=Q(finished_at__isnull=False), name="jobs_workflow_over"
            ),
        ]

    def __str__(self) -> str:
        return self.title or f"workflow {self.pk}"

    @property
    def open(self) -> int:
        """How many nodes have not ended."""
        return unended(self)


class Gate(Kept):
    """Where nodes wait for parents: those that wait for the same ones, by the same rule, share it."""

    id = models.BigAutoField(primary_key=True)
    workflow_id = models.BigIntegerField(null=True, db_index=True)
    when = models.CharField(max_length=7, choices=When, default=When.SUCCESS)
    require = models.CharField(max_length=3, choices=Require, default=Require.ALL)
    total = models.BigIntegerField()  # parents
    met = models.BigIntegerField(default=0)  # of them ended as it asks
    missed = models.BigIntegerField(default=0)  # of them ended otherwise, for good
    is_open = models.BooleanField(null=True)  # True: passed; False: it never will be; null: not decided
    why = models.CharField(max_length=200, blank=True, default="")  # that was decided so, as histories say it

    class Meta:
        db_table = "jobs_gate"
        default_permissions = ()

    def __str__(self) -> str:
        return f"gate {self.pk}"


class GateParent(Kept):
    """A parent of a gate."""

    id = models.BigAutoField(primary_key=True)
    gate = models.ForeignKey(Gate, on_delete=models.CASCADE, db_constraint=False, related_name="parents")
    parent_id = models.BigIntegerField()  # a node's job
    verdict = models.CharField(max_length=6, blank=True, default="")  # met, missed; empty: it has not ended so far

    class Meta:
        db_table = "jobs_gateparent"
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["parent_id", "gate"], name="jobs_gateparent_once")]

    def __str__(self) -> str:
        return f"parent {self.parent_id} of gate {self.gate_id}"


class WorkflowNode(Kept):
    """A job that waits for others, or for which others wait, or of a workflow."""

    job_id = models.BigIntegerField(primary_key=True)
    workflow_id = models.BigIntegerField(null=True)  # null: a parent or a continuation outside of one
    job_type = models.CharField(max_length=200, blank=True, default="", db_default="")  # the job's, which never changes
    gate_id = models.BigIntegerField(null=True)  # null: it waits for nothing
    delay_seconds = models.FloatField(null=True)  # how long after the gate it is due
    counts = models.BooleanField(default=True)  # in its workflow's sums: not on_success, on_end
    outcome = models.CharField(max_length=9, choices=NodeOutcome, blank=True, default=NodeOutcome.NOT_YET)
    skip = models.BooleanField(default=False)  # a person has said so

    class Meta:
        db_table = "jobs_workflownode"
        default_permissions = ()
        # None by the outcome, so that to write it touches no index.
        indexes: ClassVar = [
            models.Index(fields=["workflow_id", "job_id"], name="jobs_node_workflow"),
            models.Index(fields=["gate_id", "job_id"], condition=Q(gate_id__isnull=False), name="jobs_node_gate"),
            # By which a workflow of any size is folded into what is alike.
            models.Index(
                fields=["workflow_id", "gate_id", "job_type", "job_id"],
                condition=Q(counts=True),
                name="jobs_node_alike",
            ),
        ]

    def __str__(self) -> str:
        return f"node {self.job_id}"

    @classmethod
    def span(cls, workflow_id: int, using: str | None = None) -> tuple[int, int]:
        """The ids of a workflow's first and last job, between which are few others; (1, 0) where it has none.

        Two reads at the ends of an index: SQLite goes through all of it for both in one.
        """
        rows = cls.objects.using(using or database()).filter(workflow_id=workflow_id)
        ends = [rows.order_by(order).values_list("pk", flat=True).first() for order in ("pk", "-pk")]
        return (ends[0] or 1, ends[1] or 0)


class NodeInput(Kept):
    """An argument of a job that is what another one returns."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.BigIntegerField()
    field = models.CharField(max_length=200)
    source_id = models.BigIntegerField(db_index=True)  # the job
    data = models.JSONField(encoder=AsItIs, null=True)  # what that returned

    class Meta:
        db_table = "jobs_nodeinput"
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["job_id", "field"], name="jobs_nodeinput_once")]

    def __str__(self) -> str:
        return f"{self.field} of job {self.job_id}"
