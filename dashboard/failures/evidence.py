"""What a failure group is known by: its newest traceback, its jobs, where it hits, what its jobs share."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL
from django.http import HttpRequest

from dashboard.failures.access import bulk_url
from dashboard.failures.words import retry_words
from dashboard.jobs.tracebacks import Frame, Part, app_frame, parts
from dashboard.kit import in_short
from dashboard.kit.queries import CAP, Count
from dashboard.kit.reach import seen as reach_seen
from dashboard.kit.sensitive import shown
from dashboard.kit.text import inert
from handlers.masking import MASK
from handlers.models import AttemptError, JobPayload, JobRecord
from handlers.models.kept import database
from handlers.models.sql import is_postgresql
from handlers.selection import Reach, Selection
from handlers.states import State

NEWEST = 10  # jobs that the page shows
PLACES = 8  # types and queues that are told
LOOKED_AT = 100  # jobs whose arguments are compared
LARGEST = 20_000  # bytes of the arguments of one of them
SHARED = 8  # arguments that the page shows
LEAST_SHARE = 0.5
LONGEST_VALUE = 60  # characters
PLAIN = re.compile(r"[\w.-]{1,60}", re.ASCII)  # what needs no quotation marks in a search


class Sample(NamedTuple):
    """One failed attempt."""

    error: AttemptError

    @property
    def frame(self) -> Frame | None:
        """The last line of the app's own code in the traceback."""
        return app_frame(self.error.traceback)

    @property
    def traceback_parts(self) -> list[Part]:
        """The traceback in pieces."""
        return parts(self.error.traceback)


class Shared(NamedTuple):
    """An argument with the same value in many of the jobs."""

    name: str
    value: str
    number: int
    search: str  # what finds those jobs among all; empty where no search says it


class Where(NamedTuple):
    """How many of the jobs that are failed now are of a type, on a queue."""

    job_type: str
    queue: str
    number: int


def sample(fingerprint: str, of: Sequence[JobRecord] | None = None) -> Sample | None:
    """The newest failed attempt that is still on record; ``of``: of one of these jobs."""
    errors = AttemptError.objects.filter(fingerprint=fingerprint)
    if of is not None:
        errors = errors.filter(job_id__in=[record.pk for record in of])
    error = errors.order_by("-pk").first()
    return Sample(error) if error else None


def jobs(fingerprint: str, reach: Reach) -> list[JobRecord]:
    """The newest jobs within ``reach`` whose last failure was such a one, in whatever state."""
    return Selection(fingerprint=fingerprint).kept_within(reach).page(NEWEST + 1)


def failed_now(fingerprint: str, reach: Reach) -> tuple[Count, list[Where]]:
    """How many jobs are failed now, of which types and on which queues; of more than CAP, of the newest of them."""
    selection = Selection(fingerprint=fingerprint, states=(State.FAILED.value,), engine=True)
    found = selection.kept_within(reach).page(CAP + 1, only=("job_type", "queue"))
    counts = Counter((record.job_type, record.queue) for record in found[:CAP])
    return Count.of(len(found)), [Where(*place, number) for place, number in counts.most_common()]


def told(
    request: HttpRequest, fingerprint: str, failed: Count, places: Sequence[Where], records: Sequence[JobRecord]
) -> dict[str, Any]:
    """What a page says of its jobs, which have been read, and what may be done with those that are failed now."""
    return {
        "failed": failed,
        "places": places[:PLACES],
        "more_places": max(len(places) - PLACES, 0),
        "jobs": in_short.beside(request, records[:NEWEST]),
        "search": f"group:{fingerprint}",
        "retry_url": bulk_url(request, "retry", fingerprint) if failed.value else "",
        "retry_words": retry_words(failed),
        "delete_url": bulk_url(request, "delete", fingerprint) if failed.value else "",
    }


def shared_arguments(request: HttpRequest, fingerprint: str) -> tuple[list[Shared], int]:
    """Which arguments most of the newest failed jobs share, as far as this person may see; of how many jobs."""
    selection = Selection(fingerprint=fingerprint, states=(State.FAILED.value,)).kept_within(reach_seen(request))
    records = selection.page(LOOKED_AT, only=("job_type",))
    small = JobPayload.objects.filter(_is_small(), pk__in=[record.pk for record in records])
    payloads = dict(small.values_list("pk", "data"))
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        if record.pk in payloads:
            for name, value in _plain(shown(request, record, payloads[record.pk])):
                found[name][json.dumps(value, ensure_ascii=False)] += 1
    most = [(count, name, value) for name, values in found.items() for value, count in values.most_common(1)]
    enough = max(2, LEAST_SHARE * len(payloads))
    ranked = sorted((one for one in most if one[0] >= enough), key=lambda one: (-one[0], one[1]))
    return [Shared(inert(n, 80), inert(v), c, _search(n, v)) for c, n, v in ranked[:SHARED]], len(payloads)


def _plain(data: Any) -> Iterator[tuple[str, Any]]:
    """The arguments that are one short value, those of one object deeper too. What is masked is left out."""
    if not isinstance(data, dict):
        return
    for name, value in data.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", deep) for inner, deep in value.items() if _is_plain(deep))
        elif _is_plain(value):
            yield str(name), value


def _is_plain(value: Any) -> bool:
    return value != MASK and not isinstance(value, dict | list) and len(str(value)) <= LONGEST_VALUE


def _search(name: str, value: str) -> str:
    bare = value.strip('"')
    return f"args.{name}:{bare}" if PLAIN.fullmatch(bare) and PLAIN.fullmatch(name) else ""


def _is_small() -> RawSQL:
    size = "pg_column_size(data)" if is_postgresql(connections[database()]) else "length(data)"
    return RawSQL(f"{size} <= {LARGEST}", (), output_field=BooleanField())  # noqa: S611 - no value in it


def type_names(sequence: Sequence[Where]) -> list[str]:
    """The types of these places, the most frequent first."""
    return list(dict.fromkeys(where.job_type for where in sequence))
