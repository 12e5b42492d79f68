"""What belongs to a job: its parent and children, its correlation, the other failures of its group."""

from __future__ import annotations

from dataclasses import dataclass, field

from handlers.models import FailureGroup, JobPayload, JobRecord
from handlers.selection import Selection

MAX_CHILDREN = 20  # shown; the list has the rest


@dataclass(frozen=True)
class Relations:
    """The jobs around one job."""

    parent: JobRecord | None = None
    parent_id: int | None = None  # also where the parent aged out
    children: list[JobRecord] = field(default_factory=list)
    more_children: bool = False
    correlation: str = ""
    group: FailureGroup | None = None

    @property
    def correlation_query(self) -> str:
        """The search that finds the jobs of the same correlation."""
        return str(Selection(correlation=self.correlation))


def relations(record: JobRecord, payload: JobPayload | None) -> Relations:
    """What belongs to ``record``, in at most four queries, each by an index and bounded."""
    child_ids = list(
        JobPayload.objects.filter(parent_id=record.pk).order_by("-pk").values_list("pk", flat=True)[: MAX_CHILDREN + 1]
    )
    parent_id = payload.parent_id if payload else None
    wanted = [*child_ids[:MAX_CHILDREN], *([parent_id] if parent_id else [])]
    found = JobRecord.objects.in_bulk(wanted) if wanted else {}
    group = FailureGroup.objects.filter(fingerprint=record.fingerprint).first() if record.fingerprint else None
    return Relations(
        parent=found.get(parent_id) if parent_id else None,
        parent_id=parent_id,
        children=[found[pk] for pk in child_ids[:MAX_CHILDREN] if pk in found],
        more_children=len(child_ids) > MAX_CHILDREN,
        correlation=payload.correlation if payload else "",
        group=group,
    )
