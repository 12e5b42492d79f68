"""Workflows of who sees some jobs only: those all of whose jobs are within. Of others not even the name is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.db.models import Q, QuerySet

from dashboard.kit import by_key
from dashboard.kit.reach import rows_within
from handlers.models import GateParent, JobRecord, Workflow, WorkflowNode
from handlers.selection import Reach, stored_names

MOST_JOBS = 1_000  # of a workflow that are looked at; whether a larger one is within, nobody can tell at once
STEP = 50  # workflows that are looked at together
MOST = 500  # that are looked at for one page of a list
WINDOW = 20_000  # that are looked through for one page of what no index finds


def within(reach: Reach, rows: Iterable[Workflow]) -> set[int]:
    """The ids of those of ``rows`` all of whose jobs are within, and all that these wait for. Three statements."""
    rows = list(rows)
    if reach.is_whole:
        return {row.pk for row in rows}
    small = [row.pk for row in rows if row.total <= MOST_JOBS]
    if not small:
        return set()
    types = [stored for name in reach.types() for stored in stored_names(name)]
    nodes = WorkflowNode.objects.filter(workflow_id__in=small)
    ours = JobRecord.objects.filter(rows_within(reach), pk__in=nodes.values("pk")).values("pk")
    # Of a job that has aged out the type alone is known.
    gone = ~Q(pk__in=JobRecord.objects.filter(pk__in=nodes.values("pk")).values("pk"))
    beyond = set(nodes.exclude(Q(pk__in=ours) | (gone & Q(job_type__in=types))).values_list("workflow_id", flat=True))
    left = [pk for pk in small if pk not in beyond]
    parents = GateParent.objects.filter(gate__workflow_id__in=left)
    others = JobRecord.objects.filter(pk__in=parents.values("parent_id")).exclude(rows_within(reach)).values("pk")
    beyond.update(parents.filter(parent_id__in=others).values_list("gate__workflow_id", flat=True))
    known = set(nodes.filter(workflow_id__in=left).values_list("workflow_id", flat=True))
    return {pk for pk in left if pk not in beyond and pk in known}


def is_within(reach: Reach, row: Workflow) -> bool:
    """Whether all of one is."""
    return reach.is_whole or bool(within(reach, [row]))


def kept(reach: Reach, rows: Iterable[Workflow]) -> list[Workflow]:
    """Those of ``rows`` that are within, in their order."""
    rows = list(rows)
    ours = within(reach, rows)
    return [row for row in rows if row.pk in ours]


class Looker:
    """Reads a page of a list among those that are within, and remembers how far it looked."""

    def __init__(self, reach: Reach, rows: QuerySet[Workflow], *, is_sought: bool = False, named: int = 0) -> None:
        """``is_sought``: no index leads to ``rows``, so only WINDOW workflows are looked through for them.

        ``named``: the id of one that the first page has wherever it is.
        """
        self._reach, self._rows, self._is_sought, self._named = reach, rows, is_sought, named
        self.reached: int | None = None  # the last that was looked at, where not as many as wanted were among them

    def read(self, size: int) -> Callable[[Q, str], list[Workflow]]:
        """As ``dashboard.kit.by_key`` asks for it."""

        def read(where: Q, order: str) -> list[Workflow]:
            rows = self._rows.filter(where).order_by(order)
            edge = _edge(where, order) if self._is_sought else None
            if edge is not None:
                near = Q(pk__gte=edge) if order == "-pk" else Q(pk__lte=edge)
                rows = rows.filter(near | Q(pk=self._named) if self._named and not where else near)
            found = list(rows[:size]) if self._reach.is_whole else self._within(rows, order, size)
            if self.reached is None and len(found) < size:
                self.reached = edge
            return found

        return read

    def _within(self, rows: QuerySet[Workflow], order: str, size: int) -> list[Workflow]:
        behind = "pk__lt" if order == "-pk" else "pk__gt"
        found, self.reached = by_key.among(
            lambda last, number: list((rows if last is None else rows.filter(**{behind: last}))[:number]),
            lambda some: within(self._reach, some),
            size,
            step=STEP,
            most=MOST,
        )
        return found


def _edge(where: Q, order: str) -> int | None:
    """The last of WINDOW workflows in this order; None where there are no more than that."""
    ids = Workflow.objects.filter(where).order_by(order).values_list("pk", flat=True)
    some = list(ids[WINDOW - 1 : WINDOW + 1])
    return some[0] if len(some) > 1 else None
