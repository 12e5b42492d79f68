"""A workflow as a graph of few boxes, however many jobs it has: what is alike is one box.

The database folds: jobs of one type at one gate are one group, and only groups are read. Groups that are alike (of one
type, at gates that ask the same of the same boxes) are folded once more, so that a hundred chains side by side are one.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db.models import Count, Max, Min, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Cast, Concat

from handlers.models import Gate, GateParent, NodeOutcome, Workflow, WorkflowNode

SMALL = 10_000  # jobs of a workflow of which each read may go through all
KEPT_SECONDS, MOST_KEPT = 10.0, 20  # pictures of big ones
FEW = 4  # alike, that are drawn one by one
ROWS = 2_000  # groups that are read
PARENTS = 20_000  # parents of gates that are read; of wider gates the first and the last job of each group are tried
NAMED = 100  # groups of three or four of which the jobs are looked up


class Kind(NamedTuple):
    """Which group: jobs of one type at one gate."""

    gate_id: int | None
    job_type: str


@dataclass
class Group:
    """Jobs of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    ids: set[int] = field(default_factory=set)  # of the first and the last at least; of few, all

    @property
    def count(self) -> int:
        """How many jobs."""
        return self.outcomes.total()


@dataclass(eq=False)
class Box:
    """One job, or many that are alike."""

    layer: int
    kinds: list[Kind]
    outcomes: Counter[str]
    gate: Gate | None
    met: bool | None  # whether its gates are passed; None: some are not decided
    parents: set[Box] = field(default_factory=set)
    job_id: int | None = None  # where it is one job

    @property
    def job_type(self) -> str:
        """The type of its jobs."""
        return self.kinds[0].job_type

    @property
    def count(self) -> int:
        """How many jobs it stands for."""
        return self.outcomes.total()

    @property
    def name(self) -> str:
        """What addresses call it: its first gate, a plus where there are others, and its type."""
        return f"{self.kinds[0].gate_id or 0}{'+' if len(self.kinds) > 1 else ''}.{self.job_type}"


@dataclass(frozen=True)
class Graph:
    """The boxes by layer: a box is right of all that it waits for."""

    layers: list[list[Box]]
    unread: int  # jobs that stand in no box: there are too many groups
    failed: int | None  # the first layer with a failed job


def fold(workflow: Workflow) -> Graph:
    """The whole of it, as far as ROWS reach. That of a big one, for which all is gone through, is kept a while."""
    if workflow.total <= SMALL:
        return _fold(workflow)
    kept = _kept.get(workflow.pk)
    if kept is None or time.monotonic() - kept[0] > KEPT_SECONDS:
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        kept = _kept[workflow.pk] = (time.monotonic(), _fold(workflow))
    return kept[1]


_kept: dict[int, tuple[float, Graph]] = {}


def _fold(workflow: Workflow) -> Graph:
    groups = _groups(workflow)
    gates = Gate.objects.in_bulk({kind.gate_id for kind in groups if kind.gate_id})
    _find_few(workflow, groups)
    parents = _parents(gates.values(), groups)
    by_layer: dict[int, list[Kind]] = defaultdict(list)
    depth: dict[int | None, int] = {None: 0}
    # A gate is made after those of its parents, so this order goes from the left to the right.
    for gate_id in sorted(gates):
        depth[gate_id] = 1 + max((depth.get(parent.kind.gate_id, 0) for parent in parents[gate_id]), default=0)
    for kind in sorted(groups, key=lambda kind: min(groups[kind].ids)):
        by_layer[depth.get(kind.gate_id, 1)].append(kind)
    drawer = _Drawer(groups, gates, parents)
    places = sorted(by_layer)
    layers = [drawer.layer(place, by_layer[deep]) for place, deep in enumerate(places)]
    failing = (
        place for place, deep in enumerate(places) if any(groups[kind].outcomes["failed"] for kind in by_layer[deep])
    )
    unread = max(workflow.total - sum(group.count for group in groups.values()), 0)
    return Graph(layers, unread, next(failing, None))


def gates_of_box(workflow: Workflow, name: str) -> tuple[list[int], str]:
    """The gates of the box that an address calls ``name``, none where its jobs wait for nothing; and its type."""
    number, _, job_type = name.partition(".")
    digits = number.removesuffix("+")
    gate_id = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0
    if not gate_id or digits == number:
        return [gate_id] if gate_id else [], job_type
    for layer in fold(workflow).layers:
        for box in layer:
            if Kind(gate_id, job_type) in box.kinds:
                return [kind.gate_id for kind in box.kinds if kind.gate_id], job_type
    return [gate_id], job_type


class _Parent(NamedTuple):
    job_id: int
    kind: Kind


class _Drawer:
    """Makes boxes, layer by layer."""

    def __init__(self, groups: dict[Kind, Group], gates: dict[int, Gate], parents: dict[int, list[_Parent]]) -> None:
        self._groups, self._gates, self._parents = groups, gates, parents
        self._single: dict[int, Box] = {}  # by job
        self._folded: dict[Kind, Box] = {}

    def layer(self, place: int, kinds: Iterable[Kind]) -> list[Box]:
        """The boxes of one layer, those of what was made first first."""
        alike: dict[object, list[Kind]] = defaultdict(list)
        boxes_of: dict[Kind, set[Box]] = {}
        for kind in kinds:
            boxes_of[kind] = parents = self._boxes(kind.gate_id)
            gate = self._gates.get(kind.gate_id or 0)
            asks = (gate.when, gate.require, gate.total == 1) if gate else ()
            alike[(kind.job_type, asks, frozenset(parents))].append(kind)
        made = []
        for some in alike.values():
            made += self._one_box(place, some) if self._are_many(some) else self._each(place, some)
        for box in made:
            box.parents = boxes_of[box.kinds[0]]
        return made

    def _are_many(self, kinds: Sequence[Kind]) -> bool:
        return sum(self._groups[kind].count for kind in kinds) > FEW

    def _one_box(self, place: int, kinds: list[Kind]) -> list[Box]:
        gates = [self._gates[kind.gate_id] for kind in kinds if kind.gate_id in self._gates]
        box = Box(place, kinds, Counter(), gates[0] if gates else None, _met(gates))
        for kind in kinds:
            box.outcomes += self._groups[kind].outcomes
            self._folded[kind] = box
        return [box]

    def _each(self, place: int, kinds: Iterable[Kind]) -> list[Box]:
        made = []
        for kind in kinds:
            group = self._groups[kind]
            if len(group.ids) < group.count:
                made += self._one_box(place, [kind])
                continue
            gate = self._gates.get(kind.gate_id or 0)
            for job_id in sorted(group.ids):
                box = Box(place, [kind], Counter({"": 1}), gate, _met([gate] if gate else []), job_id=job_id)
                self._single[job_id] = box
                made.append(box)
        return made

    def _boxes(self, gate_id: int | None) -> set[Box]:
        found = (
            self._single.get(parent.job_id) or self._folded.get(parent.kind)
            for parent in self._parents.get(gate_id or 0, ())
        )
        return {box for box in found if box}


def _met(gates: Sequence[Gate]) -> bool | None:
    decided = {gate.is_open for gate in gates}
    return None if None in decided else bool(not decided or True in decided)


def _groups(workflow: Workflow) -> dict[Kind, Group]:
    """The jobs by gate and type. Read in the index's order, which ends where there are too many."""
    nodes = WorkflowNode.objects.filter(workflow_id=workflow.pk, counts=True)
    sums: dict[str, Any] = {f"n_{outcome.value}": Count("pk", filter=Q(outcome=outcome)) for outcome in NodeOutcome}
    columns = ("gate_id", "job_type", "first", "last", *sums)
    some = nodes.values("gate_id", "job_type").annotate(first=Min("pk"), last=Max("pk"), **sums)
    some = some.order_by("gate_id", "job_type")
    found = {}
    for waits in (False, True):
        for gate_id, job_type, first, last, *counts in some.filter(gate_id__isnull=not waits).values_list(*columns)[
            :ROWS
        ]:
            outcomes = Counter(dict(zip(NodeOutcome.values, counts, strict=True)))
            found[Kind(gate_id, job_type)] = Group(outcomes, {first, last})
    return found


def _find_few(workflow: Workflow, groups: dict[Kind, Group]) -> None:
    """Look up the jobs of groups that may be drawn one by one, where their first and last are not all."""
    wanted = [kind for kind, group in groups.items() if len(group.ids) < group.count <= FEW][:NAMED]
    if not wanted:
        return
    which = Q()
    for kind in wanted:
        which |= Q(gate_id=kind.gate_id, job_type=kind.job_type)
    rows = WorkflowNode.objects.filter(which, workflow_id=workflow.pk, counts=True)
    for pk, gate_id, job_type in rows.values_list("pk", "gate_id", "job_type"):
        groups[Kind(gate_id, job_type)].ids.add(pk)


def _parents(gates: Iterable[Gate], groups: dict[Kind, Group]) -> dict[int, list[_Parent]]:
    """Who is waited for at each gate; of many that are drawn as one box, one of them."""
    narrow: list[int] = []
    wide: list[int] = []
    room = PARENTS
    for gate in sorted(gates, key=lambda gate: gate.total):
        (narrow if gate.total <= room else wide).append(gate.pk)
        room -= min(gate.total, room)
    found: dict[int, list[_Parent]] = defaultdict(list)
    if narrow:
        _read_parents(GateParent.objects.filter(gate_id__in=narrow), groups, found)
    if wide:
        tried = [pk for group in groups.values() for pk in group.ids]
        _read_parents(GateParent.objects.filter(gate_id__in=wide, parent_id__in=tried), groups, found)
    return found


def _read_parents(parents: QuerySet[GateParent], groups: dict[Kind, Group], found: dict[int, list[_Parent]]) -> None:
    """Add them, by gate. Folded by the database, as the groups are: a gate may wait for ten thousand of one group."""
    # Both in one text: each look at a node is a descent of an index, and there may be twenty thousand of them.
    both = Concat(Cast("gate_id", TextField()), Value(" "), "job_type", output_field=TextField())
    node = WorkflowNode.objects.filter(pk=OuterRef("parent_id")).annotate(kind=both)
    rows = parents.annotate(kind=Subquery(node.values("kind")))
    some = rows.order_by().values_list("gate_id", "kind")
    alone: list[int] = []  # jobs of which each may be a box of its own
    for gate_id, text, first, number in some.annotate(first=Min("parent_id"), number=Count("pk")):
        if text is None:  # of nodes that are gone
            continue
        kind = _kind(text)
        group = groups.get(kind)
        if number > 1 and group is not None and len(group.ids) == group.count <= FEW:
            alone += group.ids
        else:
            found[gate_id].append(_Parent(first, kind))
    if alone:
        for gate_id, parent_id, text in rows.filter(parent_id__in=alone).values_list("gate_id", "parent_id", "kind"):
            parent = _Parent(parent_id, _kind(text))
            if parent not in found[gate_id]:
                found[gate_id].append(parent)


def _kind(text: str) -> Kind:
    gate_id, _, job_type = text.partition(" ")
    return Kind(int(gate_id) if gate_id else None, job_type)
