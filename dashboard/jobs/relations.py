"""What a job belongs to: its correlation, the recurring job that it is of, the other failures of its group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Subquery
from django.http import HttpRequest

from dashboard.kit import in_short
from dashboard.kit.reach import rows_within, seen
from handlers.models import FailureGroup, JobPayload, JobRecord, Occurrence, RecurringJob
from handlers.selection import Selection


@dataclass(frozen=True)
class Relations:
    """What one job belongs to."""

    correlation: str = ""
    group: FailureGroup | None = None  # its count only
    recurring_id: int | None = None  # of the recurring job that it is an occurrence of, also where that was removed
    recurring: str = ""  # its name; empty where it was removed
    due_at: datetime | None = None

    @property
    def correlation_query(self) -> str:
        """The search that finds the jobs of the same correlation."""
        return str(Selection(correlation=self.correlation))


def payload_of(request: HttpRequest, record: JobRecord) -> JobPayload | None:
    """The job's arguments. What ``relations`` needs comes along by keys: of its group, and of what recurs."""
    group = FailureGroup.objects.filter(fingerprint=record.fingerprint or None)
    occurrence = Occurrence.objects.filter(job_id=record.pk)
    # What recurs may be of another type by now than this job, and beyond this person's reach.
    recurring = RecurringJob.objects.filter(rows_within(seen(request)), occurrences__job_id=record.pk)
    return (
        JobPayload.objects.filter(pk=record.pk)
        .annotate(
            own_tags=in_short.own_tags(),
            group_count=Subquery(group.values("count")),
            recurring_id=Subquery(occurrence.values("recurring_id")[:1]),
            recurring_due_at=Subquery(occurrence.values("due_at")[:1]),
            recurring_name=Subquery(recurring.values("name")[:1]),
        )
        .first()
    )


def relations(request: HttpRequest, record: JobRecord, payload: JobPayload | None) -> Relations:
    """What ``record`` belongs to and this person may see. ``payload``: from ``payload_of``."""
    found, group = vars(payload) if payload else {}, None
    if seen(request).is_whole and found.get("group_count") is not None:  # which counts the jobs of all
        group = FailureGroup(fingerprint=record.fingerprint, count=found["group_count"])
    return Relations(
        correlation=payload.correlation if payload else "",
        group=group,
        recurring_id=found.get("recurring_id"),
        recurring=found.get("recurring_name") or "",
        due_at=found.get("recurring_due_at"),
    )
