"""Stories in which a job has failed: what their sagas wait for may not come before somebody retries it."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from django.db import connections

from handlers import bounded
from handlers.models import JobPayload, JobRecord, SagaRecord
from handlers.models.kept import database
from handlers.states import State

LOOKED_AT = 200  # newest jobs of a story that are looked at
MOST_FAILED = 1_000  # jobs, those that failed last, whose stories are looked for
MOST_FOUND = 1_000  # sagas of these stories

_JOBS, _PAYLOADS = JobRecord._meta.db_table, JobPayload._meta.db_table

# Literals, because only then SQLite sees that partial indexes fit.
_HAS_STORY = "NOT (p.correlation = '')"
# What stands after ``WITH story(name) AS (…)``.
_OF_STORIES = f"""
    SELECT story.name FROM story WHERE EXISTS (
        SELECT 1 FROM (
            SELECT p.job_id FROM {_PAYLOADS} p WHERE p.correlation = story.name AND {_HAS_STORY}
            ORDER BY p.job_id DESC LIMIT {LOOKED_AT}
        ) AS few JOIN {_JOBS} j ON j.id = few.job_id WHERE j.state = '{State.FAILED}'
    )
"""


class Failing(NamedTuple):
    """The correlations of the jobs that failed last. ``is_all``: no other job is failed."""

    stories: frozenset[str]
    is_all: bool


def failing() -> Failing:
    """Those of now, in one statement."""
    last = bounded.first(State.FAILED.value, "id", MOST_FAILED)
    with connections[database()].cursor() as cursor:
        cursor.execute(f"""
            SELECT p.correlation FROM ({last}) AS failed
            LEFT JOIN {_PAYLOADS} p ON p.job_id = failed.id AND {_HAS_STORY}
        """)
        found = [correlation for (correlation,) in cursor.fetchall()]
    return Failing(frozenset(filter(None, found)), len(found) <= MOST_FAILED)


def failed_among(rows: Collection[SagaRecord], known: Failing) -> set[int]:
    """Those of ``rows``, by their ids, that are not over and in whose stories a job has failed."""
    waiting = {row.correlation for row in rows if row.completed_at is None and row.correlation}
    failed = waiting & known.stories
    if not known.is_all and (others := waiting - failed):
        ctes, params = bounded.named_tables({"story": others})
        with connections[database()].cursor() as cursor:
            cursor.execute(f"WITH {ctes} {_OF_STORIES}", params)
            failed |= {name for (name,) in cursor.fetchall()}
    return {row.pk for row in rows if row.completed_at is None and row.correlation in failed}


def sagas_of(known: Failing) -> list[int]:
    """The sagas of these stories that have not failed themselves, and are not over."""
    rows = SagaRecord.objects.filter(correlation__in=known.stories, completed_at=None, error="", unreadable="")
    return list(rows.values_list("pk", flat=True)[:MOST_FOUND]) if known.stories else []
