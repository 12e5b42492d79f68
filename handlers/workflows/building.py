"""A workflow comes into being: nodes, gates and what they wait for, row by row in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from django.db import connections

from handlers import lifecycle
from handlers.exceptions import InvalidJob
from handlers.models import Gate, GateParent, NodeInput, Workflow, WorkflowNode
from handlers.models.sql import insert
from handlers.publishing import publish_on_commit
from handlers.transport import Message
from handlers.workflows.flow import Planned, Rule
from handlers.workflows.governing import publish_rest_on_commit

CHUNK = 1_000  # nodes that are written at once
HELD = 10_000  # messages that are held until the commit; after so many they are read again then
NODE = {
    "job_id": "id", "workflow_id": "id", "job_type": "text", "gate_id": "id", "delay_seconds": "float",
    "counts": "bool", "outcome": "text", "skip": "bool",
}  # fmt: skip
PARENT = {"gate_id": "id", "parent_id": "id", "verdict": "text"}
INPUT = {"job_id": "id", "field": "text", "source_id": "id"}


class Builder:
    """Writes the nodes of one workflow. ``count``: how many of them count in its sums."""

    def __init__(self, workflow: Workflow, actor: str, using: str) -> None:
        self._workflow, self._actor, self._using = workflow, actor, using
        self._gates: dict[Rule, int] = {}
        self.count = 0
        self._written: list[int] = []  # the first job, and how many
        self._savepoints = self._savepoint_ids()
        self._held = 0  # messages
        self._is_doubtful = False  # a part was written within a savepoint of the block's own

    def write(self, planned: Sequence[Planned]) -> None:
        """Insert jobs with all that hangs on them; nodes then know theirs. Parents were written, or come, before."""
        if not planned:
            return
        messages = lifecycle.create([each.new for each in planned], actor=self._actor, using=self._using)
        for each, message in zip(planned, messages, strict=True):
            each.node._job_id = message.job_id
        self._make_gates([each.rule for each in planned if each.rule])
        nodes, inputs, workflow_id, gates = [], [], self._workflow.pk, self._gates
        for (_, new, rule, delay, later, counts), message in zip(planned, messages, strict=True):
            job_id, gate = message.job_id, None if rule is None else gates[rule]
            seconds = delay.total_seconds() if delay and rule else None
            nodes.append((job_id, workflow_id, new.job_type, gate, seconds, counts, "", False))
            inputs += [(job_id, field, source.job_id) for field, source in later]
        insert(connections[self._using], WorkflowNode, NODE, nodes)
        insert(connections[self._using], NodeInput, INPUT, inputs)
        self.count += sum(each.counts for each in planned)
        first, number = self._written or (messages[0].job_id, 0)
        self._written = [first, number + len(messages)]
        self._is_doubtful = self._is_doubtful or self._savepoint_ids() != self._savepoints
        self._publish(_to_publish(planned, messages))

    def check(self) -> None:
        """Raise InvalidJob if a part of what was written is gone again: others would wait for it for ever."""
        if not self._is_doubtful:
            return
        first, number = self._written
        nodes = WorkflowNode.objects.using(self._using).filter(workflow_id=self._workflow.pk, pk__gte=first)
        if nodes.count() != number:
            raise InvalidJob(
                "workflow: a part of it was rolled back inside its block: let the exception leave the block, or add"
                " jobs, and ask for their ids, outside of such a transaction",
                field="workflow",
            )

    def _publish(self, messages: Sequence[Message]) -> None:
        if self._held < HELD:
            self._held += len(messages)
            publish_on_commit(messages, using=self._using)
            if self._held >= HELD:
                publish_rest_on_commit(self._workflow.pk, messages[-1].job_id, self._using)

    def _savepoint_ids(self) -> tuple[object, ...]:
        return tuple(connections[self._using].savepoint_ids)

    def _make_gates(self, rules: Sequence[Rule]) -> None:
        new = list(dict.fromkeys(rule for rule in rules if rule not in self._gates))
        if not new:
            return
        # By their jobs: an extension may have two nodes for one.
        parents = [list(dict.fromkeys(parent.job_id for parent in rule.parents)) for rule in new]
        gates = Gate.objects.using(self._using).bulk_create(
            [
                Gate(workflow_id=self._workflow.pk, when=rule.when, require=rule.require, total=len(ids))
                for rule, ids in zip(new, parents, strict=True)
            ]
        )
        self._gates |= {rule: gate.pk for rule, gate in zip(new, gates, strict=True)}
        rows = ((gate.pk, job_id, "") for gate, ids in zip(gates, parents, strict=True) for job_id in ids)
        while some := list(islice(rows, CHUNK)):
            insert(connections[self._using], GateParent, PARENT, some)


def _to_publish(planned: Sequence[Planned], messages: Sequence[Message]) -> list[Message]:
    return [message for each, message in zip(planned, messages, strict=True) if not each.rule and each.counts]
