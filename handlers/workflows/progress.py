"""Workflows are moved on: when jobs have moved, those who wait for them are brought up to date.

By where the jobs are now, so it is harmless to repeat and needs no order. What is written is locked in one order
(nodes by job, gates, workflows), so that two who do this at once wait for each other and not each for each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import connections
from django.db.models import F

from handlers.models import Gate, GateParent, JobRecord, JobResult, NodeInput, NodeOutcome, Workflow, WorkflowNode
from handlers.models.sql import chunks, database_now, is_postgresql
from handlers.states import State
from handlers.workflows.gates import MET, MISSED, decide, reason, verdict
from handlers.workflows.release import release, release_nodes

CHUNK = 1_000
_OUTCOMES = {
    State.SUCCEEDED: NodeOutcome.SUCCEEDED, State.FAILED: NodeOutcome.FAILED, State.DELETED: NodeOutcome.DELETED,
}  # fmt: skip


def follow(ids: Sequence[int], using: str) -> None:
    """Bring up to date whoever waits for these jobs, which have moved (see ``handlers.following``)."""
    todo, releases = list(ids), _Releases(using)
    while todo:
        openers: list[int] = []
        for some in chunks(todo, CHUNK):
            openers += _Step(some, using, releases).do()
        todo = sorted(set(openers))
    releases.do()


class _Releases:
    """Those who are to move on: their jobs are locked last of all."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.gates: dict[int, Gate] = {}
        self.nodes: list[tuple[WorkflowNode, Gate]] = []

    def do(self) -> None:
        for _, gate in sorted(self.gates.items()):
            release(gate, using=self.using)
        for node, gate in self.nodes:
            release_nodes([node], gate, using=self.using)


class _Step:
    def __init__(self, ids: Sequence[int], using: str, releases: _Releases) -> None:
        self.ids, self.using, self.releases = ids, using, releases
        self.outcomes: dict[int, NodeOutcome] = {}  # of each node
        self.changed: dict[NodeOutcome, list[WorkflowNode]] = defaultdict(list)  # by their new outcome

    def do(self) -> list[int]:
        """The jobs that have opened workflows which have ended by this: for others they have ended only now."""
        nodes = list(self._locked(WorkflowNode.objects.using(self.using).filter(pk__in=self.ids)))
        if not nodes:
            return []
        states = dict(
            JobRecord.objects.using(self.using).filter(pk__in=[node.pk for node in nodes]).values_list("pk", "state")
        )
        self._see_outcomes(nodes, states)
        if waiting := [node for node in nodes if node.gate_id and states.get(node.pk) == State.AWAITING]:
            self._see_restored(waiting)
        for outcome, changed in self.changed.items():
            rows = WorkflowNode.objects.using(self.using).filter(pk__in=[node.pk for node in changed])
            rows.update(outcome=outcome, **({} if outcome == NodeOutcome.SKIPPED else {"skip": False}))
        self._keep_results()
        self._move_gates()
        return self._sum_up()

    def _locked(self, rows: Any) -> Any:
        rows = rows.order_by("pk")
        return rows.select_for_update() if is_postgresql(connections[self.using]) else rows

    def _see_outcomes(self, nodes: Iterable[WorkflowNode], states: dict[int, str]) -> None:
        ended = [pk for pk, state in states.items() if state == State.SUCCEEDED]
        inner: dict[int, list[tuple[bool, bool]]] = defaultdict(list)
        if ended:
            opened = Workflow.objects.using(self.using).filter(opened_by__in=ended)
            for opener, finished_at, deleted in opened.values_list("opened_by", "finished_at", "deleted"):
                inner[opener or 0].append((finished_at is not None, deleted > 0))
        for node in nodes:
            if node.pk not in states:
                continue  # erased
            outcome = _outcome(State(states[node.pk]), inner.get(node.pk, ()), skip=node.skip)
            self.outcomes[node.pk] = outcome
            if outcome != node.outcome:
                self.changed[outcome].append(node)

    def _see_restored(self, nodes: Collection[WorkflowNode]) -> None:
        """Nodes that wait again, perhaps for what was decided meanwhile."""
        gates = Gate.objects.using(self.using).filter(pk__in={node.gate_id for node in nodes}, is_open__isnull=False)
        by_id = {gate.pk: gate for gate in gates}
        for node in nodes:
            if gate := by_id.get(node.gate_id or 0):
                self.releases.nodes.append((node, gate))

    def _keep_results(self) -> None:
        succeeded = [pk for pk, outcome in self.outcomes.items() if outcome == NodeOutcome.SUCCEEDED]
        inputs = list(NodeInput.objects.using(self.using).filter(source_id__in=succeeded))
        if not inputs:
            return
        results = JobResult.objects.using(self.using).filter(
            pk__in={each.source_id for each in inputs}, attempt=F("job__attempt")
        )
        found = dict(results.values_list("pk", "data"))
        for each in inputs:
            each.data = found.get(each.source_id)
        NodeInput.objects.using(self.using).bulk_update(inputs, ["data"], batch_size=CHUNK)

    def _move_gates(self) -> None:
        parents = list(
            GateParent.objects.using(self.using)
            .filter(parent_id__in=self.outcomes)
            .exclude(verdict=MET)
            .values_list("pk", "gate_id", "parent_id", "verdict", "gate__when")
        )
        told: dict[str, list[int]] = defaultdict(list)
        sums: dict[int, Counter[str]] = defaultdict(Counter)
        named: dict[int, int] = {}
        for pk, gate_id, parent_id, before, when in parents:
            now = verdict(self.outcomes[parent_id], when)
            if now == before:
                continue
            told[now].append(pk)
            sums[gate_id][now] += 1
            sums[gate_id][before] -= 1  # one that was restored: it may still end otherwise
            named[gate_id] = parent_id
        for now, pks in told.items():
            GateParent.objects.using(self.using).filter(pk__in=pks).update(verdict=now)
        for gate in self._locked(Gate.objects.using(self.using).filter(pk__in=sums)):
            gate.met += sums[gate.pk][MET]
            gate.missed += sums[gate.pk][MISSED]
            if not gate.is_open:  # one that is passed stays so
                before = gate.is_open
                gate.is_open = decide(gate.require, total=gate.total, met=gate.met, missed=gate.missed)
                if gate.is_open is not None and gate.is_open != before:
                    gate.why = reason(gate.when, gate.require, [named[gate.pk]], gate.total, is_open=gate.is_open)
                    self.releases.gates[gate.pk] = gate
            gate.save(using=self.using, update_fields=["met", "missed", "is_open", "why"])

    def _sum_up(self) -> list[int]:
        """Add what has changed to the workflows' sums; see which have ended."""
        sums: dict[int, Counter[str]] = defaultdict(Counter)
        for outcome, nodes in self.changed.items():
            for node in nodes:
                if node.workflow_id and node.counts:
                    sums[node.workflow_id][outcome] += 1
                    sums[node.workflow_id][node.outcome] -= 1
        openers = []
        for workflow in self._locked(Workflow.objects.using(self.using).filter(pk__in=sums)):
            for name in ("succeeded", "failed", "deleted", "skipped"):
                setattr(workflow, name, getattr(workflow, name) + sums[workflow.pk][name])
            was_over = workflow.finished_at is not None
            is_over = not workflow.open and not workflow.failed
            if was_over != is_over:
                workflow.finished_at = database_now(connections[self.using]) if is_over else None
            workflow.save(using=self.using, update_fields=["succeeded", "failed", "deleted", "skipped", "finished_at"])
            if not workflow.open:
                self._call_back(workflow, is_over=is_over)
            if is_over and not was_over and workflow.opened_by:
                openers.append(workflow.opened_by)
        return openers

    def _call_back(self, workflow: Workflow, *, is_over: bool) -> None:
        """Let the jobs run that wait for all of it; those of another end never will."""
        jobs = {}
        if workflow.on_end:
            jobs[workflow.on_end] = Gate(is_open=True, why="all of its workflow has ended")
        if workflow.on_success and is_over:
            good = not workflow.deleted
            why = "all of its workflow has succeeded" if good else "not all of its workflow has succeeded"
            jobs[workflow.on_success] = Gate(is_open=good, why=why)
        for node in WorkflowNode.objects.using(self.using).filter(pk__in=jobs):
            self.releases.nodes.append((node, jobs[node.pk]))


def _outcome(state: State, inner: Sequence[tuple[bool, bool]], *, skip: bool) -> NodeOutcome:
    """``inner``: of each workflow that it has opened, whether that is over, and whether some of it was deleted."""
    if state == State.DELETED and skip:
        return NodeOutcome.SKIPPED
    if state == State.SUCCEEDED and inner:
        if not all(is_over for is_over, _ in inner):
            return NodeOutcome.NOT_YET
        if any(deleted for _, deleted in inner):
            return NodeOutcome.DELETED
    return _OUTCOMES.get(state, NodeOutcome.NOT_YET)
