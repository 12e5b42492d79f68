"""What belongs to a job: its parent and children, its correlation, the other failures of its group."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import OuterRef, Subquery
from django.http import HttpRequest

from dashboard.kit import in_short
from dashboard.kit.reach import covers, seen
from handlers.models import FailureGroup, JobPayload, JobRecord, Occurrence, RecurringJob
from handlers.selection import Selection

MAX_CHILDREN = 20  # shown; the list has the rest


@dataclass(frozen=True)
class Relations:
    """The jobs around one job."""

    parent: JobRecord | None = None  # its type, state and failures only
    parent_id: int | None = None  # also where the parent aged out
    children: list[JobRecord] = field(default_factory=list)
    more_children: bool = False
    correlation: str = ""
    group: FailureGroup | None = None  # its count only
    recurring_id: int | None = None  # of the recurring job that it is an occurrence of, also where that was removed
    recurring: str = ""  # its name; empty where it was removed
    due_at: datetime | None = None

    @property
    def correlation_query(self) -> str:
        """The search that finds the jobs of the same correlation."""
        return str(Selection(correlation=self.correlation))


def payload_of(record: JobRecord) -> JobPayload | None:
    """The job's arguments. What ``relations`` needs comes along by keys: of its parent, its group, what recurs."""
    parent = JobRecord.objects.filter(pk=OuterRef("parent_id"))
    group = FailureGroup.objects.filter(fingerprint=record.fingerprint or None)
    occurrence = Occurrence.objects.filter(job_id=record.pk)
    recurring = RecurringJob.objects.filter(occurrences__job_id=record.pk)
    return (
        JobPayload.objects.filter(pk=record.pk)
        .annotate(
            own_tags=in_short.own_tags(),
            parent_type=Subquery(parent.values("job_type")),
            parent_state=Subquery(parent.values("state")),
            parent_queue=Subquery(parent.values("queue")),
            parent_failures=Subquery(parent.values("failures")),
            group_count=Subquery(group.values("count")),
            recurring_id=Subquery(occurrence.values("recurring_id")[:1]),
            recurring_due_at=Subquery(occurrence.values("due_at")[:1]),
            recurring_name=Subquery(recurring.values("name")[:1]),
        )
        .first()
    )


def relations(request: HttpRequest, record: JobRecord, payload: JobPayload | None) -> Relations:
    """What belongs to ``record`` and this person may see, in one more query, bounded.

    ``payload``: from ``payload_of``.
    """
    reach = seen(request)
    rows = JobPayload.objects.filter(parent_id=record.pk).select_related("job").defer("data").order_by("-pk")
    children = list(rows[: MAX_CHILDREN + 1])
    found = vars(payload) if payload else {}
    parent_id, parent, group = found.get("parent_id"), None, None
    if not reach.is_whole and not (
        found.get("parent_state") and reach.covers(found["parent_type"], found["parent_queue"])
    ):
        parent_id = None  # nobody can tell any more whether one that aged out was within
    if parent_id and found.get("parent_state"):
        failures = found["parent_failures"]
        parent = JobRecord(pk=parent_id, job_type=found["parent_type"], state=found["parent_state"], failures=failures)
    if reach.is_whole and found.get("group_count") is not None:  # which counts the jobs of all
        group = FailureGroup(fingerprint=record.fingerprint, count=found["group_count"])
    return Relations(
        parent=parent,
        parent_id=parent_id,
        children=[child.job for child in children[:MAX_CHILDREN] if covers(request, child.job)],
        more_children=len(children) > MAX_CHILDREN,
        correlation=payload.correlation if payload else "",
        group=group,
        recurring_id=found.get("recurring_id"),
        recurring=found.get("recurring_name") or "",
        due_at=found.get("recurring_due_at"),
    )
