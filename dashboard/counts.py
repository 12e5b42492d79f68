"""Several capped counts in one statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from django.db import connections, router
from django.db.models import QuerySet

from dashboard.limits import TookTooLong, time_limit
from dashboard.queries import CAP, STATES, Count
from handlers.models import JobRecord
from handlers.selection import Selection

TABS_SECONDS = 0.25  # a count that takes longer is not worth the wait


def capped_many(rows: Mapping[str, QuerySet[JobRecord]], cap: int = CAP) -> dict[str, Count]:
    """How many there are of each of ``rows``, looking at no more than ``cap`` + 1 of each."""
    using = router.db_for_read(JobRecord)
    parts, params = [], []
    for place, query in enumerate(rows.values()):
        sql, values = query.using(using).order_by().values("pk")[: cap + 1].query.get_compiler(using).as_sql()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted_{place})")  # noqa: S608 - the ORM's own
        params += values
    if not parts:
        return {}
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", params)
        found = cursor.fetchone()
    return {name: Count(min(value, cap), value > cap) for name, value in zip(rows, found, strict=True)}


def tab_counts(selection: Selection) -> dict[str, Count]:
    """Capped counts by state of what ``selection`` leaves; none where they cannot be had at once."""
    if selection.states or selection.looks_at_newest:
        return {}
    try:
        with time_limit(TABS_SECONDS):
            selection = selection.pinned()  # its times are looked up once
            return capped_many({state: replace(selection, states=(state,)).rows() for state in STATES})
    except TookTooLong:
        return {}
