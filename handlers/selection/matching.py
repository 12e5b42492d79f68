"""The rows of a selection, and a page of them through the indexes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

from django.db import connections
from django.db.models import QuerySet

from handlers.models import JobPayload, JobRecord
from handlers.models.kept import database
from handlers.models.sql import is_postgresql
from handlers.selection.arguments import FEW, contained
from handlers.selection.conditions import (
    IN_PAYLOADS,
    bound,
    by_index,
    id_bounds,
    indexed,
    key_of,
    unindexed,
)
from handlers.selection.criteria import Criteria
from handlers.selection.tags import NO_JOB, by_few, ways
from handlers.selection.values import MAX_ID, stored_names
from handlers.states import State

WINDOW = 80_000  # newest jobs that are looked at for what no index finds
FEW_TAGGED = 1_000  # jobs with one tag; of more, the index of tags gives a page in order
MAX_BRANCHES = 16  # reads of one page; more choices than that share one

Some = TypeVar("Some", bound=Criteria)


def is_windowed(selection: Criteria, alias: str | None = None) -> bool:
    """Whether some part of it is found by no index."""
    using = alias or database()
    return bool(unindexed(selection, using)) and not by_ids(selection, using).ids


def rows(selection: Criteria, alias: str | None = None) -> QuerySet[JobRecord]:
    """The jobs of ``selection``, in no order."""
    using = alias or database()
    selection = by_ids(selection, using)
    return _rows(selection, _names(selection), using)


def page(
    selection: Criteria, size: int, *, before: int | None, after: int | None, only: Sequence[str], alias: str | None
) -> list[JobRecord]:
    """At most ``size`` jobs by id."""
    using = alias or database()
    return read(by_ids(selection, using), size, using, before=before, after=after, only=only)


def read(
    selection: Criteria, size: int, using: str, *, before: int | None, after: int | None, only: Sequence[str] = ()
) -> list[JobRecord]:
    """A page of what ``by_ids`` made, each branch read through its own index and the branches merged."""
    found: dict[int, JobRecord] = {}
    reached = [way for part in selection.reached() for way in ways(part, FEW_TAGGED, using)]
    branches = [branch for way in reached for branch in _branches(way, using)]
    for branch, names in branches:
        key = key_of(branch)
        if key == IN_PAYLOADS and branch.engine and replace(branch, types=(), queues=()).is_empty:
            # Which jobs, says an index alone. Joined, PostgreSQL might read all that are newer than the newest of them.
            ids = _cut(_beside(branch, names, using), Criteria(), size, before, after).values_list("pk", flat=True)
            part = JobRecord.objects.using(using).filter(pk__in=ids)
        else:
            part = _cut(_rows(branch, names, using), branch, size, before, after)
        found |= {row.pk: row for row in (part.only(*only) if only else part)}
    return sorted(found.values(), key=lambda row: row.pk, reverse=after is None)[:size]


def _cut(rows: QuerySet[Any], selection: Criteria, size: int, before: int | None, after: int | None) -> QuerySet[Any]:
    """The ``size`` of ``rows`` that come next in the order of the ids of ``selection``."""
    if before is not None:
        rows = rows.filter(bound(selection, "lt", before))
    if after is not None:
        rows = rows.filter(bound(selection, "gt", after))
    key = key_of(selection)
    return rows.order_by(key if after is not None else f"-{key}")[:size]


def pinned(selection: Some, alias: str | None = None) -> Some:
    """``selection`` with the ids written down between which its times and its window lie."""
    using = alias or database()
    lowest, highest = id_bounds(selection, using)
    if selection.since and lowest is None:
        lowest = 0
    if selection.until and highest is None:
        highest = MAX_ID
    made = replace(selection, lowest=lowest, highest=highest)
    if selection.lowest is None and unindexed(selection, using):
        floor = edge(by_ids(made, using), WINDOW, using)
        made = replace(made, lowest=max(floor or 0, lowest or 0))
    return made


def by_ids(selection: Criteria, using: str) -> Criteria:
    """``selection`` with the ids of the jobs that its arguments, or a tag of its, are on, if those are few.

    PostgreSQL cannot tell how many jobs hold a value. Asked for the newest of them, it would rather look at one job
    after the other, newest first, than read the index of arguments: for a value on one job of millions, at them all.
    """
    selection = by_few(_of_one_part(selection), FEW_TAGGED, using)
    if selection.ids or not selection.arguments or not is_postgresql(connections[using]):
        return selection
    found = JobPayload.objects.using(using).filter(*contained(selection, using, "data")).order_by()
    ids = tuple(found.values_list("pk", flat=True)[: FEW + 1])
    return selection if len(ids) > FEW else replace(selection, arguments=(), ids=ids or (NO_JOB,))


def _of_one_part(selection: Criteria) -> Criteria:
    """``selection`` without ``within`` where its types and queues can say the same."""
    reached = selection.reached()
    if not reached:
        return replace(selection, types=(), queues=(), within=(), ids=(NO_JOB,))
    return reached[0] if len(reached) == 1 else selection


def _branches(selection: Criteria, using: str) -> list[tuple[Criteria, list[str]]]:
    """A selection, and its types' stored names, for each way through an index.

    No index gives the jobs of several states, types or queues in the order of their ids. That of a failure group's
    jobs is by their states.
    """
    names = _names(selection)
    if selection.fingerprint and (selection.lowest is not None or not unindexed(selection, using)):
        return [(branch, names) for branch in _by_state(selection)]
    states: list[tuple[str, ...]] = [(state,) for state in selection.states] or [()]
    types: list[list[str]] = [[name] for name in names] or [[]]
    queues: list[tuple[str, ...]] = [(queue,) for queue in selection.queues] or [()]
    if len(states) * len(types) * len(queues) > MAX_BRANCHES or unindexed(selection, using):
        return [(selection, names)]
    return [
        (replace(selection, states=state, queues=queue), name) for state, name, queue in product(states, types, queues)
    ]


def _by_state(selection: Criteria) -> list[Criteria]:
    return [replace(selection, states=(state,)) for state in selection.states or tuple(State)]


def _names(selection: Criteria) -> list[str]:
    return sorted({stored for name in selection.types for stored in stored_names(name)})


def _indexed(selection: Criteria, names: Sequence[str], using: str) -> QuerySet[JobRecord]:
    return JobRecord.objects.using(using).filter(*indexed(selection, names, using))


def _rows(selection: Criteria, names: Sequence[str], using: str) -> QuerySet[JobRecord]:
    found = _indexed(selection, names, using)
    rest = unindexed(selection, using)
    if rest and selection.lowest is None and not selection.ids:
        floor = edge(selection, WINDOW, using)
        found = found if floor is None else found.filter(bound(selection, "gte", floor))
    return found.filter(*rest)


def _beside(selection: Criteria, names: Sequence[str], using: str) -> QuerySet[JobPayload]:
    """What lies beside the jobs of the types ``names`` and the queues of ``selection``."""
    beside = JobPayload.objects.using(using)
    beside = beside.filter(job_type__in=names) if names else beside
    return beside.filter(queue__in=selection.queues) if selection.queues else beside


def _is_by_name_only(selection: Criteria) -> bool:
    """Whether nothing that an index finds narrows it but types, queues, ids' bounds and that they succeeded."""
    looked_at: dict[str, Any] = {"worker": "", "error": "", "arguments": (), "text": ()}
    looked_at |= {"lowest": None, "highest": None}
    return replace(selection, states=(), types=(), queues=(), **looked_at).is_empty


def edge(
    selection: Criteria, size: int, using: str, *, before: int | None = None, after: int | None = None
) -> int | None:
    """The id of the last of the next ``size`` jobs that fit what an index finds; None: there is none beyond these.

    ``before`` and ``after``: as for a page.
    """
    reads = [
        _edge_read(branch, size, using, before, after)
        for part in by_index(selection, using).reached()
        for branch in (_by_state(part) if part.fingerprint else [part])
    ]
    if len(reads) == 1:
        last = list(reads[0][size - 1 :])
    else:
        last = sorted({job_id for ids in reads for job_id in ids}, reverse=after is None)[size - 1 : size + 1]
    return last[0] if len(last) > 1 else None


def _edge_read(branch: Criteria, size: int, using: str, before: int | None, after: int | None) -> QuerySet[Any, Any]:
    """The ids of the next ``size`` + 1 jobs of one way to them."""
    key, names = key_of(branch), _names(branch)
    # An index of what no worker updates has it all: nothing need be joined, and no row be looked at.
    if (key == IN_PAYLOADS or not branch.states) and _is_by_name_only(branch):
        beside = _beside(branch, names, using)
        if branch.lowest is not None:
            beside = beside.filter(pk__gte=branch.lowest)
        if branch.highest is not None:
            beside = beside.filter(pk__lte=branch.highest)
        return _cut(beside, Criteria(), size + 1, before, after).values_list("pk", flat=True)
    return _cut(_indexed(branch, names, using), branch, size + 1, before, after).values_list(key, flat=True)
