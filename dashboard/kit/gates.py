"""Why a job waits for others: how many of them, and who of them is in the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from django.db import connections
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from dashboard.kit.numbers import thousands
from handlers.models import Gate, GateParent, JobRecord, Require, When, Workflow, WorkflowNode
from handlers.models.kept import database
from handlers.models.sql import is_postgresql
from handlers.selection.conditions import NOT_SUCCEEDED
from handlers.states import State

READ = 2_000  # parents of all gates of a page that are read
FAILED_READ = 200  # failed jobs of a workflow among which those of its wide gates are looked for
NAMED = 3  # parents of one gate that are named

# What is waited for: of any of several, of all that are left of them, of one.
_FOR = {
    When.SUCCESS: (
        gettext_lazy("Waits for any of %(total)s jobs to succeed"),
        gettext_lazy("Waits for %(left)s of %(total)s jobs to succeed"),
        gettext_lazy("Waits for a job to succeed"),
    ),
    When.FAILURE: (
        gettext_lazy("Waits for any of %(total)s jobs to fail"),
        gettext_lazy("Waits for %(left)s of %(total)s jobs to fail"),
        gettext_lazy("Waits for a job to fail"),
    ),
    When.DELETED: (
        gettext_lazy("Waits for any of %(total)s jobs to be deleted"),
        gettext_lazy("Waits for %(left)s of %(total)s jobs to be deleted"),
        gettext_lazy("Waits for a job to be deleted"),
    ),
    When.ENDED: (
        gettext_lazy("Waits for any of %(total)s jobs to end"),
        gettext_lazy("Waits for %(left)s of %(total)s jobs to end"),
        gettext_lazy("Waits for a job to end"),
    ),
}
_ANY = {
    When.SUCCESS: gettext_lazy("one is enough"), When.FAILURE: gettext_lazy("if one fails"),
    When.DELETED: gettext_lazy("if one is deleted"), When.ENDED: gettext_lazy("once one has ended"),
}  # fmt: skip
_ALL = {
    When.SUCCESS: "", When.FAILURE: gettext_lazy("if failed"), When.DELETED: gettext_lazy("if deleted"),
    When.ENDED: gettext_lazy("once ended"),
}  # fmt: skip
# What one does now, and what several do.
_NOW = {
    State.AWAITING: ngettext_lazy("waits itself", "wait themselves"),
    State.SCHEDULED: ngettext_lazy("is scheduled", "are scheduled"),
    State.ENQUEUED: ngettext_lazy("waits on its queue", "wait on their queue"),
    State.PROCESSING: ngettext_lazy("runs", "run"),
    State.WAITING: ngettext_lazy("waits for a signal", "wait for a signal"),
    State.FAILED: ngettext_lazy("failed", "failed"),
    State.DELETED: ngettext_lazy("was deleted", "were deleted"),
    State.SUCCEEDED: ngettext_lazy(
        "succeeded, and a workflow that it opened has not ended",
        "succeeded, and workflows that they opened have not ended",
    ),
}
_RETRYING = ngettext_lazy("is to be retried", "are to be retried")
_TO_MEND = ngettext_lazy("failed: retry or skip it", "failed: retry or skip them")
_URGENT = (State.FAILED, State.WAITING, State.PROCESSING, State.ENQUEUED, State.SCHEDULED)  # who is named first


class Parent(NamedTuple):
    """One who is waited for."""

    job_id: int
    job_type: str
    now: str  # what it does now; empty where the next one says it for both


@dataclass(frozen=True)
class Wait:
    """Why a job has not started."""

    lead: str  # what it waits for
    named: tuple[Parent, ...] = ()
    more: int = 0  # others

    def __str__(self) -> str:
        """All of it as text."""
        told = [f"{_('job %(number)d') % {'number': parent.job_id}} {parent.now}".strip() for parent in self.named]
        told += [_("%(count)s more") % {"count": thousands(self.more)}] if self.more and told else []
        return f"{self.lead}: {', '.join(told)}" if told else self.lead


def waits_of(nodes: Iterable[WorkflowNode]) -> dict[int, Wait]:
    """Why each of ``nodes``, whose jobs are waiting, does so. In at most five statements, however many they are."""
    nodes = list(nodes)
    gates = Gate.objects.in_bulk({node.gate_id for node in nodes if node.gate_id})
    ends = _ends([node for node in nodes if not node.gate_id])
    undecided = [gate for gate in gates.values() if gate.is_open is None]
    parents = _unmet(undecided, {node.workflow_id for node in nodes if node.workflow_id})
    waits = {}
    for node in nodes:
        gate = gates.get(node.gate_id or 0)
        if gate is not None:
            waits[node.pk] = _wait(gate, parents.get(gate.pk, []))
        elif words := ends.get(node.pk):
            waits[node.pk] = Wait(words)
    return waits


def rule(when: str, require: str, total: int) -> str:
    """What a gate asks for in few words; empty where that is the common thing, the success of all."""
    if require == Require.ANY and total > 1:
        return str(_ANY[When(when)])
    return str(_ALL[When(when)])


def _wait(gate: Gate, unmet: Sequence[JobRecord]) -> Wait:
    if gate.is_open is not None:
        return Wait(_("What it waits for has come; it is being moved on") if gate.is_open else _("It will never run"))
    left, (any_of, all_of, one) = gate.total - gate.met, _FOR[When(gate.when)]
    lead = one if gate.total <= 1 else any_of if gate.require == Require.ANY else all_of
    lead_words = str(lead) % {"left": thousands(left), "total": thousands(gate.total)}
    named = _named(unmet[:NAMED], can_mend=gate.when == When.SUCCESS)
    return Wait(lead_words, named, max(left - gate.missed - len(named), 0))


def _named(jobs: Sequence[JobRecord], *, can_mend: bool) -> tuple[Parent, ...]:
    """Parents with what they do; of those in a row that do the same the last one says it for all."""
    told = []
    for (is_retrying, state), some in groupby(jobs, key=lambda job: (job.is_retrying, State(job.state))):
        same = list(some)
        words = _RETRYING if is_retrying else _TO_MEND if can_mend and state == State.FAILED else _NOW[state]
        told += [Parent(job.pk, job.job_type, "") for job in same[:-1]]
        told.append(Parent(same[-1].pk, same[-1].job_type, words % len(same)))
    return tuple(told)


def _unmet(gates: Sequence[Gate], workflows: Iterable[int]) -> dict[int, list[JobRecord]]:
    """Those who have not ended as each of ``gates`` asks, who is in the way first.

    All parents of narrow gates are looked at; of wide ones only those that have failed.
    """
    narrow: list[int] = []
    wide: list[int] = []
    room = READ
    for gate in sorted(gates, key=lambda gate: gate.total):
        (narrow if gate.total <= room else wide).append(gate.pk)
        room -= min(gate.total, room)
    rows = [*_pairs(gate_id__in=narrow)] if narrow else []
    if wide:
        ids = _failed(wide, workflows)
        rows += _pairs(gate_id__in=wide, parent_id__in=ids) if ids else []
    jobs = JobRecord.objects.only("state", "failures", "job_type").in_bulk({parent_id for _, parent_id in rows})
    found: dict[int, list[JobRecord]] = defaultdict(list)
    for gate_id, parent_id in rows:
        if parent_id in jobs:
            found[gate_id].append(jobs[parent_id])
    return {gate_id: sorted(some, key=_urgency) for gate_id, some in found.items()}


def _failed(gates: Sequence[int], workflows: Iterable[int]) -> list[int]:
    """The first failed jobs for which these gates wait."""
    waited_for = GateParent.objects.filter(parent_id=OuterRef("pk"), gate_id__in=gates)
    found: list[int] = []
    for workflow_id in workflows:
        jobs = in_span(WorkflowNode.span(workflow_id), State.FAILED).filter(Exists(waited_for))
        found += jobs.order_by("pk").values_list("pk", flat=True)[:FAILED_READ]
    return found


def in_span(span: tuple[int, int], state: str) -> QuerySet[JobRecord]:
    """The jobs with an id between two, and in a state.

    By the jobs' index of states, as it finds those that failed or run among very many that wait or are done.
    """
    rows = JobRecord.objects.filter(state=state, pk__gte=span[0], pk__lte=span[1])
    return rows if state == State.SUCCEEDED or is_postgresql(connections[database()]) else rows.filter(NOT_SUCCEEDED)


def _pairs(**which: object) -> Iterator[tuple[int, int]]:
    rows = GateParent.objects.filter(verdict="", **which)
    return iter(rows.values_list("gate_id", "parent_id")[:READ])


def _urgency(job: JobRecord) -> tuple[int, int]:
    return (_URGENT.index(State(job.state)) if job.state in _URGENT else len(_URGENT), job.pk)


def _ends(nodes: Sequence[WorkflowNode]) -> dict[int, str]:
    """What the jobs wait for that run at the end of their workflow."""
    ids = {node.workflow_id for node in nodes if node.workflow_id and not node.counts}
    words = {}
    for on_success, on_end in Workflow.objects.filter(pk__in=ids).values_list("on_success", "on_end") if ids else ():
        words[on_success or 0] = _("Runs once all jobs of its workflow have succeeded")
        words[on_end or 0] = _("Runs once no job of its workflow is left to run")
    return words
