"""Workflows are moved on: when jobs have moved, those who wait for them are brought up to date.

By where the jobs are now, so it is harmless to repeat and needs no order. What is written is locked in one order
(nodes by job, gates, workflows), so that two who do this at once wait for each other and not each for each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

from django.db import connections

from handlers.models import Gate, NodeOutcome, Workflow
from handlers.models.sql import chunks, database_now, listed
from handlers.states import State
from handlers.workflows import rows
from handlers.workflows.gates import MISSED, OPEN, decide, reason, verdicts
from handlers.workflows.release import release, release_nodes
from handlers.workflows.rows import Alike, WorkflowRow

CHUNK = 1_000
# By the words that rows have for them.
_OUTCOMES = {
    State.SUCCEEDED.value: NodeOutcome.SUCCEEDED.value, State.FAILED.value: NodeOutcome.FAILED.value,
    State.DELETED.value: NodeOutcome.DELETED.value,
}  # fmt: skip
NOT_YET, SUCCEEDED, DELETED, SKIPPED = (
    outcome.value for outcome in (NodeOutcome.NOT_YET, NodeOutcome.SUCCEEDED, NodeOutcome.DELETED, NodeOutcome.SKIPPED)
)
AWAITING = State.AWAITING.value


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
        self.nodes: dict[tuple[bool, str], list[str]] = defaultdict(list)  # listed, by whether they go on, and why

    def do(self) -> None:
        for _, gate in sorted(self.gates.items()):
            release(gate, using=self.using)
        for (is_open, why), ids in self.nodes.items():
            nodes = rows.waiting(listed(ids), self.using)  # without those that were over, and have aged out
            release_nodes(nodes, Gate(is_open=is_open, why=why), using=self.using)


class _Step:
    def __init__(self, ids: Sequence[int], using: str, releases: _Releases) -> None:
        self.ids, self.using, self.releases = ids, using, releases
        self.ended: list[tuple[Alike, str]] = []  # with the outcome of each node
        self.changed: list[tuple[Alike, str]] = []

    def do(self) -> list[int]:
        """The jobs that have opened workflows which have ended by this: for others they have ended only now."""
        if not (ids := rows.lock_nodes(self.ids, self.using)):
            return []
        # Read once the nodes are ours: who had them before has seen no later states than we do.
        nodes = rows.alike(ids, self.using)
        self._see_outcomes(nodes)
        if waiting := [node for node in nodes if node.state == AWAITING]:
            self._see_restored([node for node in waiting if node.gate_id])
        by_outcome: dict[str, list[str]] = defaultdict(list)
        for node, outcome in self.changed:
            by_outcome[outcome].append(node.ids)
        rows.keep_outcomes(by_outcome, self.using)
        sources = [node.ids for node, outcome in self.ended if node.is_source and outcome == SUCCEEDED]
        rows.keep_results(sources, self.using)
        self._move_gates()
        # For jobs of the end that were restored it may have come.
        ends = {node.workflow_id for node in waiting if node.workflow_id and not node.counts}
        return self._sum_up(ends) if self.changed or ends else []

    def _see_outcomes(self, nodes: Iterable[Alike]) -> None:
        inner: dict[int, list[tuple[bool, bool]]] = defaultdict(list)
        if openers := [node.opener for node in nodes if node.opener]:
            opened = Workflow.objects.using(self.using).filter(opened_by__in=openers)
            for opener, finished_at, deleted in opened.values_list("opened_by", "finished_at", "deleted"):
                inner[opener or 0].append((finished_at is not None, deleted > 0))
        closed = self._closed({node.gate_id for node in nodes if node.gate_id and node.state == DELETED})
        for node in nodes:
            outcome = _outcome(_OUTCOMES.get(node.state, NOT_YET), inner.get(node.opener or 0, ()), skip=node.skip)
            if outcome == DELETED and node.gate_id in closed:
                outcome = NodeOutcome.UNNEEDED.value
            self.ended.append((node, outcome))
            if outcome != node.outcome or (node.skip and outcome != SKIPPED):  # it was undone
                self.changed.append((node, outcome))

    def _closed(self, gates: Collection[int]) -> set[int]:
        found = Gate.objects.using(self.using).filter(pk__in=gates, is_open=False)
        return set(found.values_list("pk", flat=True)) if gates else set()

    def _see_restored(self, nodes: Collection[Alike]) -> None:
        """Nodes that wait again, perhaps for what was decided meanwhile."""
        gates = Gate.objects.using(self.using).filter(pk__in={node.gate_id for node in nodes}, is_open__isnull=False)
        by_id = {gate.pk: gate for gate in gates}
        for node in nodes:
            if gate := by_id.get(node.gate_id or 0):
                self.releases.nodes[bool(gate.is_open), gate.why].append(node.ids)

    def _move_gates(self) -> None:
        """Tell the gates at which others wait for these."""
        # What may have missed before, it is told apart; what was met stays so.
        alike: dict[tuple[str, str], list[str]] = defaultdict(list)
        for node, outcome in self.ended:
            alike[outcome, OPEN].append(node.ids)
            if node.outcome:
                alike[outcome, MISSED].append(node.ids)
        sums: dict[int, Counter[str]] = defaultdict(Counter)
        named: dict[int, int] = {}
        for (outcome, former), ids in alike.items():
            for gate_id, now, number, parent_id in rows.judge(ids, verdicts(outcome), former, self.using):
                sums[gate_id][now] += number
                sums[gate_id][former] -= number  # one that was restored: it may still end otherwise
                named[gate_id] = parent_id
        for gate in rows.add_to_gates(sums, self.using) if sums else ():
            if gate.is_open:
                continue  # one that is passed stays so
            is_open = decide(gate.require, total=gate.total, met=gate.met, missed=gate.missed)
            if is_open == gate.is_open:
                continue
            found = Gate.objects.using(self.using).get(pk=gate.pk)
            found.is_open = is_open
            if is_open is not None:
                found.why = reason(gate.when, gate.require, named[gate.pk], gate.total, is_open=is_open)
                self.releases.gates[gate.pk] = found
            found.save(using=self.using, update_fields=["is_open", "why"])

    def _sum_up(self, also: Collection[int]) -> list[int]:
        """Add what has changed to the workflows' sums; see which of them, and of ``also``, have ended."""
        sums: dict[int, Counter[str]] = defaultdict(Counter, {pk: Counter() for pk in also})
        for node, outcome in self.changed:
            if node.counts and node.workflow_id:
                sums[node.workflow_id][outcome] += node.number
                sums[node.workflow_id][node.outcome] -= node.number
        openers = []
        for workflow in rows.add_to_workflows(sums, self.using) if sums else ():
            is_over = not workflow.open and not workflow.failed
            if workflow.is_finished != is_over:
                at = database_now(connections[self.using]) if is_over else None
                Workflow.objects.using(self.using).filter(pk=workflow.pk).update(finished_at=at)
            if not workflow.open:
                self._call_back(workflow, is_over=is_over)
            if is_over and not workflow.is_finished and workflow.opened_by:
                openers.append(workflow.opened_by)
        return openers

    def _call_back(self, workflow: WorkflowRow, *, is_over: bool) -> None:
        """Let the jobs run that wait for all of it; those of another end never will."""
        if workflow.on_end:
            self.releases.nodes[True, "all of its workflow has ended"].append(str(workflow.on_end))
        if workflow.on_success and is_over:
            good = not workflow.deleted
            why = "all of its workflow has succeeded" if good else "not all of its workflow has succeeded"
            self.releases.nodes[good, why].append(str(workflow.on_success))


def _outcome(outcome: str, inner: Sequence[tuple[bool, bool]], *, skip: bool) -> str:
    """What the ``outcome`` of a job is that of its node. ``inner``: of each workflow that it has opened, whether that
    is over, and whether some of it was deleted."""
    if outcome == DELETED and skip:
        return SKIPPED
    if outcome == SUCCEEDED and inner:
        if not all(is_over for is_over, _ in inner):
            return NOT_YET
        if any(deleted for _, deleted in inner):
            return DELETED
    return outcome
