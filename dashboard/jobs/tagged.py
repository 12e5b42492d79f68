"""The tags of the jobs on a page of the list, each with how many jobs have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections
from django.utils.http import urlencode

from dashboard.jobs import counts
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.queries import CAP, Count
from handlers.models import JobPayload, JobTag
from handlers.models.kept import database
from handlers.registry import registry
from handlers.selection import Selection, stored_names

MOST = 8  # tags that are told


class ShownTag(NamedTuple):
    """A tag, where its jobs are, and how many there are; None: it would have taken too long."""

    name: str
    url: str
    number: Count | None = None


def shown(names: Iterable[str]) -> list[ShownTag]:
    """Tags with their addresses."""
    return [ShownTag(name, url(name)) for name in names]


@lru_cache(1_000)
def url(tag: str) -> str:
    """The address of the jobs with ``tag``, below the job list's."""
    return f"?{urlencode({'q': str(Selection(tags=(tag,)))})}"


def most_common(tags: Iterable[Iterable[str]]) -> list[ShownTag]:
    """The tags that several of a page's jobs have, ``tags`` being each one's; with how many have them in all."""
    found = Counter(tag for each in tags for tag in each)
    names = [name for name, times in found.most_common(MOST) if times > 1]
    try:
        with time_limit(counts.TABS_SECONDS):
            known = _counts(names)
    except TookTooLong:
        known = {}
    return [ShownTag(name, url(name), known.get(name)) for name in names]


def _counts(tags: list[str]) -> dict[str, Count]:
    """By indexes alone, looking at no more than CAP + 1 jobs that have it themselves and as many by their types."""
    if not tags:
        return {}
    parts, params = [], []
    for tag in tags:
        own = f"SELECT job_id FROM {JobTag._meta.db_table} WHERE tag = %s LIMIT {CAP + 1}"  # noqa: S608 - a table's name
        params.append(tag)
        sources = [f"SELECT job_id FROM ({own}) AS own"]  # noqa: S608
        for name in [stored for each in registry.all() if tag in each.tags for stored in stored_names(each.name)]:
            typed = f"SELECT job_id FROM {JobPayload._meta.db_table} WHERE job_type = %s LIMIT {CAP + 1}"  # noqa: S608
            params.append(name)
            sources.append(f"SELECT job_id FROM ({typed}) AS typed")  # noqa: S608
        parts.append(f"(SELECT COUNT(*) FROM ({' UNION '.join(sources)}) AS tagged)")  # noqa: S608
    with connections[database()].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", params)
        found: tuple[Any, ...] = cursor.fetchone()
    return {tag: Count.of(number) for tag, number in zip(tags, found, strict=True)}
