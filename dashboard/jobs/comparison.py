"""Arguments side by side: a failed job beside the last success of its type, and what an edit changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from dashboard.kit import sensitive
from dashboard.kit.reach import seen
from dashboard.kit.text import inert
from handlers.models import JobHistory, JobPayload, JobRecord
from handlers.states import State

LOOKED_AT = 1_000  # newest jobs of a type among which a success is looked for
MAX_ROWS = 50  # arguments
MAX_VALUE = 300  # characters of one
MAX_EDITS = 5  # the newest ones
_NONE: Any = object()  # there is no such argument


@dataclass(frozen=True)
class Row:
    """One argument, here and there."""

    name: str
    here: str
    there: str

    @property
    def differs(self) -> bool:
        """Whether the two are not the same, as far as this person may see them."""
        return self.here != self.there


@dataclass(frozen=True)
class Comparison:
    """A job beside the last success of its type."""

    other: JobRecord
    rows: list[Row]
    more_rows: bool
    took: timedelta | None
    waited: timedelta | None


@dataclass(frozen=True)
class Edit:
    """That a person changed the job's arguments when retrying it."""

    at: datetime
    actor: str
    rows: list[Row]  # only what differs; ``here``: after, ``there``: before


def last_success(request: HttpRequest, record: JobRecord, shown_here: Any) -> Comparison | None:
    """The newest success of ``record``'s type, if there is one among the newest other jobs of the type.

    ``shown_here``: the arguments of ``record`` as this person may see them. Two queries, by index.
    """
    # Not the job itself: it may have succeeded since the page's other parts were read.
    others = JobPayload.objects.filter(job_type=record.job_type).exclude(pk=record.pk)
    if (queues := seen(request).queues_of(record.job_type)) is not None:
        others = others.filter(queue__in=list(queues))
    newest = others.order_by("-pk").values_list("pk", flat=True)
    ids = list(newest[:LOOKED_AT])
    succeeded = JobRecord.objects.filter(pk__in=ids, state=State.SUCCEEDED.value, arguments__isnull=False)
    other = succeeded.select_related("arguments").order_by("-pk").first() if ids else None
    if other is None:
        return None
    rows = side_by_side(shown_here, sensitive.shown(request, other, other.payload))
    return Comparison(
        other=other,
        rows=rows[:MAX_ROWS],
        more_rows=len(rows) > MAX_ROWS,
        took=_between(other.started_at, other.finished_at),
        waited=_between(other.enqueued_at, other.started_at),
    )


def edits(request: HttpRequest, record: JobRecord, moves: Sequence[JobHistory], shown_now: Any) -> list[Edit]:
    """The newest edits of the job's arguments, newest first."""
    after, found = shown_now, []
    for move in reversed(moves):
        if not isinstance(move.data, dict) or "old_payload" not in move.data:
            continue
        before = sensitive.shown(request, record, move.data["old_payload"])
        rows = [row for row in side_by_side(after, before) if row.differs]
        found.append(Edit(move.at, move.actor, rows[:MAX_ROWS]))
        after = before
        if len(found) == MAX_EDITS:
            break
    return found


def side_by_side(here: Any, there: Any) -> list[Row]:
    """The arguments of both, those that differ first, else in the order of ``here``."""
    if not (isinstance(here, dict) and isinstance(there, dict)):
        return [_row(_("the whole"), here, there)]
    return sorted(
        (_row(name, here.get(name, _NONE), there.get(name, _NONE)) for name in {**here, **there}),
        key=lambda row: not row.differs,
    )


def _row(name: Any, here: Any, there: Any) -> Row:
    one, other = _text(here), _text(there)
    if one != other and one[:MAX_VALUE] == other[:MAX_VALUE]:  # the difference would be cut away
        place = max(next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), MAX_VALUE) - 20, 0)
        one, other = f"…{one[place:]}", f"…{other[place:]}"
    return Row(inert(str(name), 100), inert(one, MAX_VALUE), inert(other, MAX_VALUE))


def _text(value: Any) -> str:
    return "—" if value is _NONE else json.dumps(value, ensure_ascii=False, default=str)


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    return max(end - start, timedelta(0)) if start and end else None
