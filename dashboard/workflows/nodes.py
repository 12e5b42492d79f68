"""The jobs of a workflow, a page at a time: where each is, for what it waits and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.gates import Wait, in_span, waits_of
from dashboard.kit.queries import RETRYING
from dashboard.kit.search import AFTER, BEFORE, place
from dashboard.kit.vocabulary import STATES as STATE_WORDS
from dashboard.workflows.access import seen_of
from dashboard.workflows.folding import gates_of_box
from handlers.failures import clean
from handlers.models import JobRecord, NodeOutcome, Workflow, WorkflowNode
from handlers.selection import InvalidSelection
from handlers.states import State

SIZE = 50  # on a page
DRAWN = 200  # in the time line that goes with it
LIVE = (State.PROCESSING, State.WAITING, State.ENQUEUED, State.SCHEDULED, State.AWAITING)
STATES = {
    **{str(name): STATE_WORDS[name] for name in ("failed", *LIVE)},
    "inner": gettext_lazy("succeeded, its own workflow goes on"),
    **{name: STATE_WORDS[name] for name in ("succeeded", "skipped", "unneeded", "deleted")},
}
FILTERS = ("state", "box")


@dataclass(frozen=True)
class Row:
    """One job of it."""

    node: WorkflowNode
    job: JobRecord | None  # None: aged out
    wait: Wait | None = None
    inner: tuple[int, ...] = ()  # workflows that it has opened
    role: str = ""  # on_success, on_end

    @property
    def state(self) -> str:
        """The word for where it is."""
        if self.node.outcome in (NodeOutcome.SKIPPED, NodeOutcome.UNNEEDED):
            return str(self.node.outcome)
        if self.job is None:
            return self.node.outcome or "gone"
        return RETRYING if self.job.is_retrying else self.job.state

    @property
    def took(self) -> timedelta | None:
        """How long its last attempt ran."""
        if self.job is None or self.job.started_at is None or self.job.finished_at is None:
            return None
        return max(self.job.finished_at - self.job.started_at, timedelta(0))

    @property
    def failed(self) -> bool:
        """Whether a person is waited for."""
        return self.job is not None and self.job.state == State.FAILED


@dataclass(frozen=True)
class Listed:
    """A page of them, and a few more for the time line."""

    rows: list[Row]
    drawn: list[Row]
    more: bool  # than are drawn
    state: str
    box: str
    first_url: str = ""
    before_url: str = ""
    after_url: str = ""
    after_drawn_url: str = ""

    @property
    def is_filtered(self) -> bool:
        """Whether some are left out."""
        return bool(self.state or self.box)

    @property
    def is_first(self) -> bool:
        """Whether it begins with the first of them."""
        return not self.first_url


def listed(request: HttpRequest, workflow: Workflow) -> Listed:
    """Those that the address asks for, in the order in which they were made."""
    asked = {name: clean(request.GET.get(name, ""), 250) for name in FILTERS}
    rows = _wanted(workflow, **asked)
    try:
        before, after = place(request.GET, BEFORE), place(request.GET, AFTER)
    except InvalidSelection:
        before = after = None
    if before is not None:
        found = _ids(rows.filter(pk__lt=before).order_by("-pk")[: SIZE + 1])
        shown, has_before, has_after = found[:SIZE][::-1], len(found) > SIZE, True
        drawn = shown
    else:
        rows = rows if after is None else rows.filter(pk__gt=after)
        found = _ids(rows.order_by("pk")[: DRAWN + 1])
        shown, has_before, has_after = found[:SIZE], after is not None, len(found) > SIZE
        drawn = found[:DRAWN]
    told = _rows(request, workflow, drawn, len(shown))
    return Listed(
        told[: len(shown)],
        told,
        len(found) > len(drawn),
        **asked,
        first_url=_url(request) if before is not None or after is not None else "",
        before_url=_url(request, **{BEFORE: shown[0]}) if has_before and shown else "",
        after_url=_url(request, **{AFTER: shown[-1]}) if has_after and shown else "",
        after_drawn_url=_url(request, **{AFTER: drawn[-1]}) if len(found) > len(drawn) else "",
    )


def in_state(
    workflow: Workflow,
    state: str,
    nodes: QuerySet[WorkflowNode] | None = None,
    span: tuple[int, int] | None = None,
) -> QuerySet[JobRecord]:
    """The jobs of the workflow, or of some of its ``nodes``, that are in a state. ``span``: where it was read."""
    own = WorkflowNode.objects.filter(workflow_id=workflow.pk) if nodes is None else nodes
    jobs = in_span(span or WorkflowNode.span(workflow.pk), state)
    return jobs.filter(Exists(own.filter(pk=OuterRef("pk"))))


def _wanted(workflow: Workflow, state: str, box: str) -> QuerySet[Any]:
    """Nodes, or their jobs: both have the same key."""
    rows = WorkflowNode.objects.filter(workflow_id=workflow.pk)
    if box:
        gates, job_type = gates_of_box(workflow, box)
        rows = rows.filter(job_type=job_type, counts=True)
        rows = rows.filter(gate_id__in=gates) if gates else rows.filter(gate_id=None)
    if state in LIVE or state == State.FAILED:
        return in_state(workflow, state, rows)
    if state in ("skipped", "unneeded", "deleted"):
        return in_state(workflow, State.DELETED, rows.filter(outcome=state))
    if state == "inner":
        return in_state(workflow, State.SUCCEEDED, rows.filter(outcome=NodeOutcome.NOT_YET))
    return rows.filter(outcome=state) if state == NodeOutcome.SUCCEEDED else rows


def _ids(rows: QuerySet[Any]) -> list[int]:
    return list(rows.values_list("pk", flat=True))


def _rows(request: HttpRequest, workflow: Workflow, ids: Sequence[int], shown: int) -> list[Row]:
    """The nodes with their jobs; the first ``shown`` with all that the table says of them."""
    jobs, by_id = JobRecord.objects.in_bulk(ids), WorkflowNode.objects.in_bulk(ids)
    nodes = [by_id[pk] for pk in ids if pk in by_id]
    told = nodes[:shown]
    waits = waits_of(node for node in told if node.pk in jobs and jobs[node.pk].state == State.AWAITING)
    inner: dict[int, list[int]] = {}
    opened = Workflow.objects.filter(opened_by__in=[node.pk for node in told]).order_by("pk")
    for each in seen_of(request, opened[: 2 * SIZE]):
        inner.setdefault(each.opened_by or 0, []).append(each.pk)
    roles = {workflow.on_success: _("on success"), workflow.on_end: _("at the end")}
    return [
        Row(node, jobs.get(node.pk), waits.get(node.pk), tuple(inner.get(node.pk, ())), roles.get(node.pk, ""))
        for node in nodes
    ]


def _url(request: HttpRequest, **where: Any) -> str:
    """The table from another place on."""
    query = QueryDict(mutable=True)
    for name in (*FILTERS, "layer"):
        if value := request.GET.get(name, ""):
            query[name] = value
    for name, number in where.items():
        query[name] = str(number)
    return f"?{query.urlencode()}#jobs"
