"""A job among those that wait for each other: its workflow, for what it waits, who waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from dashboard.kit import workflows
from dashboard.kit.gates import Wait, waits_of
from dashboard.kit.queries import Count
from dashboard.kit.reach import kept, seen
from handlers.models import Gate, GateParent, JobPayload, JobRecord, NodeInput, NodeOutcome, Workflow, WorkflowNode
from handlers.states import State

NAMED = 5  # of those that wait for it
GATES = 500  # at which others wait for it that are looked at


class Later:
    """Stands in a call for an argument that is not there yet."""

    def __init__(self, source_id: int) -> None:
        self.source_id = source_id

    def __repr__(self) -> str:
        return f"<result of job {self.source_id}>"


@dataclass(frozen=True)
class Flow:
    """What the page says of it."""

    node: WorkflowNode
    workflow: Workflow | None
    wait: Wait | None
    missing: Mapping[str, Later]  # arguments
    followers: tuple[JobRecord, ...]  # a few of those that wait for it
    waiting: Count  # how many of them there are
    inner: tuple[Workflow, ...]  # workflows that it has opened
    role: str = ""

    @property
    def more(self) -> str:
        """How many of those that wait for it are not named."""
        left = self.waiting.value - len(self.followers)
        return str(Count(left, self.waiting.more)) if left > 0 else ""

    @property
    def has_open_inner(self) -> bool:
        """Whether those who wait for it wait for a workflow that it has opened."""
        return any(each.finished_at is None for each in self.inner)


def flow_of(request: HttpRequest, record: JobRecord, payload: JobPayload | None) -> Flow | None:
    """The place of ``record``; None where it neither waits for others nor others for it.

    None, too, where it is in no workflow all of whose jobs this person may see: others would be named and counted.
    """
    if not record.watched:
        return None
    node = WorkflowNode.objects.filter(pk=record.pk).first()
    if node is None:
        return None
    workflow = Workflow.objects.filter(pk=node.workflow_id).first() if node.workflow_id else None
    reach = seen(request)
    if not reach.is_whole and (workflow is None or not workflows.is_within(reach, workflow)):
        return None
    waits = record.state == State.AWAITING
    followers, waiting = _followers(request, record.pk)
    role = ""
    if workflow and record.pk in (workflow.on_success, workflow.on_end):
        role = (
            _("runs once all have succeeded")
            if record.pk == workflow.on_success
            else _("runs once none is left to run")
        )
    return Flow(
        node,
        workflow,
        waits_of([node]).get(node.pk) if waits else None,
        _missing(record.pk, payload) if waits or node.outcome == NodeOutcome.NOT_YET else {},
        followers,
        waiting,
        tuple(workflows.kept(reach, Workflow.objects.filter(opened_by=record.pk).order_by("pk")[:NAMED])),
        role,
    )


def with_later(data: Any, flow: Flow | None) -> Any:
    """Arguments with a word for each that is not there yet."""
    return {**data, **flow.missing} if flow and flow.missing and isinstance(data, dict) else data


def _missing(job_id: int, payload: JobPayload | None) -> dict[str, Later]:
    """The arguments that come from other jobs, and have not come."""
    data = payload.data if payload and isinstance(payload.data, dict) else {}
    rows = NodeInput.objects.filter(job_id=job_id).order_by("pk").values_list("field", "source_id")
    return {field: Later(source_id) for field, source_id in rows if field not in data}


def _followers(request: HttpRequest, job_id: int) -> tuple[tuple[JobRecord, ...], Count]:
    at = GateParent.objects.filter(parent_id=job_id).values("gate_id")[:GATES]
    gates = list(Gate.objects.filter(pk__in=at, is_open=None).values_list("pk", flat=True))
    if not gates:
        return (), Count(0)
    nodes = WorkflowNode.objects.filter(gate_id__in=gates).order_by("gate_id", "pk")
    ids = list(kept(request, dict.fromkeys(nodes.values_list("pk", flat=True)[:1_001])))
    first = JobRecord.objects.only("job_type", "state", "failures").in_bulk(ids[:NAMED])
    return tuple(first[pk] for pk in ids if pk in first), Count.of(len(ids))
