"""Jobs by a tag: their own, which an index has in the order of ids, or their type's, which is a condition on types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.db.models import Exists, OuterRef, Q

from handlers.models import JobTag
from handlers.registry import registry
from handlers.selection.criteria import Criteria
from handlers.selection.values import stored_names

NO_JOB = 0  # the id of none


def types_with(tag: str) -> list[str]:
    """The registered types that have ``tag``."""
    return [job_type.name for job_type in registry.all() if tag in job_type.tags]


def tagged(selection: Criteria, using: str) -> list[Q]:
    """The conditions on a job's tags."""
    found = [_own(tag, using) | _by_type(tag) for tag in selection.tags]
    return [*found, Q(own_tags__tag=selection.own_tag)] if selection.own_tag else found


def by_few(selection: Criteria, few: int, using: str) -> Criteria:
    """``selection`` with the ids of the jobs that one of its tags is on, if those are no more than ``few``."""
    for tag in selection.tags:
        if selection.ids or types_with(tag):
            continue
        if (ids := _ids(tag, few, using)) is not None:
            rest = tuple(other for other in selection.tags if other != tag)
            return replace(selection, tags=rest, ids=ids or (NO_JOB,))
    return selection


def ways(selection: Criteria, few: int, using: str) -> list[Criteria]:
    """What leads to the jobs of ``selection``, which ``by_few`` made: the index of tags, and those of types."""
    if not selection.tags or selection.ids:
        return [selection]
    # A tag that no type has leads to all of its jobs by itself.
    tag, *rest = sorted(selection.tags, key=lambda each: bool(types_with(each)))
    others, types = tuple(rest), types_with(tag)
    if not types:
        return [replace(selection, tags=others, own_tag=tag)]
    found = []
    if (ids := _ids(tag, few, using)) is None:
        found.append(replace(selection, tags=others, own_tag=tag))
    elif ids:
        found.append(replace(selection, tags=others, ids=ids))
    if selection.types:
        stored = {name for each in selection.types for name in stored_names(each)}
        types = [name for name in types if stored & set(stored_names(name))]
    if types:
        found.append(replace(selection, tags=others, types=tuple(types)))
    return found


def _ids(tag: str, few: int, using: str) -> tuple[int, ...] | None:
    rows = JobTag.objects.using(using).filter(tag=tag).order_by()
    ids = tuple(rows.values_list("job_id", flat=True)[: few + 1])
    return ids if len(ids) <= few else None


def _own(tag: str, using: str) -> Q:
    return Q(Exists(JobTag.objects.using(using).filter(job_id=OuterRef("pk"), tag=tag)))


def _by_type(tag: str) -> Q:
    names: Sequence[str] = [name for each in types_with(tag) for name in stored_names(each)]
    return Q(job_type__in=names) if names else Q()
