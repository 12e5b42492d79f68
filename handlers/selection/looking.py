"""Looking through jobs one after the other for what no index finds: as far as a short time allows, and it can go on."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

from handlers.limits import TookTooLong, time_limit
from handlers.models import JobRecord
from handlers.models.kept import database
from handlers.selection.conditions import id_bounds, unindexed
from handlers.selection.criteria import Criteria
from handlers.selection.matching import by_ids, edge, read

SECONDS = 0.04  # which all reads together take, about
FIRST = 2_000  # jobs of the first read, which is made however long it takes
GROWTH = 8  # times as many jobs as the read before, at most
SHARE = 0.6  # of the time that is left, for the next read: it may be slower than the one before
WORTH = 2  # a read of less than this part of what was looked at is not worth it


class Look(NamedTuple):
    """What was found, and how far it was looked for."""

    rows: list[JobRecord]  # by id: newest first, or oldest first where it was looked after a job
    looked: int = 0  # jobs looked at one by one, unless there is none beyond them
    reached: int | None = None  # the last of these; None: there is none beyond it, or an index found the rows
    newest: int | None = None  # the newest job there was, of any kind, before it was looked from there


def look(selection: Criteria, size: int, *, before: int | None, after: int | None, seconds: float | None) -> Look:
    """The next ``size`` jobs of ``selection``, or those that were met in ``seconds``."""
    using = database()
    selection = by_ids(selection, using)
    if selection.ids or not unindexed(selection, using):
        return Look(read(selection, size, using, before=before, after=after))
    ids = JobRecord.objects.using(using).order_by("-pk").values_list("pk", flat=True)
    newest = ids.first() if before is None and after is None else None
    lowest, highest = id_bounds(selection, using)
    selection = replace(selection, lowest=lowest or 0, highest=highest)  # so that no read has a window of its own
    limit = SECONDS if seconds is None else seconds
    began = time.monotonic()
    step = FIRST
    met = _read(selection, size, step, before=before, after=after, using=using)
    took = time.monotonic() - began
    if met.reached is None or len(met.rows) >= size:
        return met._replace(newest=newest)
    try:
        # What is read from a cold disk takes many times as long as what was read before it.
        with time_limit(max(limit - took, 0) + limit / 2, using):
            while met.reached is not None and len(met.rows) < size:
                now = time.monotonic()
                rate = step / took
                step = min(int(rate * SHARE * (began + limit - now)), met.looked * GROWTH)
                if step * WORTH < met.looked:
                    break
                if after is None:
                    before = met.reached
                else:
                    after = met.reached
                more = _read(selection, size - len(met.rows), step, before=before, after=after, using=using)
                met = Look(met.rows + more.rows, met.looked + step, more.reached)
                took = time.monotonic() - now
    except TookTooLong:
        pass
    return met._replace(newest=newest)


def _read(selection: Criteria, size: int, step: int, *, before: int | None, after: int | None, using: str) -> Look:
    """Those of the next ``step`` jobs that fit, ``size`` at most."""
    reached = edge(selection, step, using, before=before, after=after)
    if reached is not None:
        selection = replace(selection, lowest=reached) if after is None else replace(selection, highest=reached)
    return Look(read(selection, size, using, before=before, after=after), step, reached)
