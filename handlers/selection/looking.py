"""Looking through jobs one after the other for what no index finds: as far as a short time allows, and it can go on."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

from django.db import router

from handlers.models import JobRecord
from handlers.selection.matching import by_ids, edge, is_windowed, page
from handlers.selection.selection import Selection

SECONDS = 0.06  # which all reads together take, about
FIRST = 1_000  # jobs of the first read
LEAST = 4_000  # jobs that are looked at however long that takes: on a cold disk, longer than SECONDS
GROWTH = 8  # times as many jobs as the read before, at most
WORTH = 4  # a read of less than this part of what was looked at is not worth it
SHARE = 0.6  # of the time that is left, for the next read: it may be slower than the one before


class Look(NamedTuple):
    """What was found, and how far it was looked for."""

    rows: list[JobRecord]  # by id: newest first, or oldest first where it was looked after a job
    looked: int = 0  # jobs looked at one by one, unless there is none beyond them
    reached: int | None = None  # the last of these; None: there is none beyond it, or an index found the rows


def look(selection: Selection, size: int, *, before: int | None, after: int | None, seconds: float | None) -> Look:
    """The next ``size`` jobs of ``selection``, or those that were met in ``seconds``."""
    using = router.db_for_read(JobRecord)
    selection = by_ids(selection, using)
    if selection.ids or not is_windowed(selection, using):
        return Look(page(selection, size, before=before, after=after, only=(), alias=using))
    deadline = time.monotonic() + (SECONDS if seconds is None else seconds)
    rows: list[JobRecord] = []
    looked, step = 0, FIRST
    while True:
        began = time.monotonic()
        reached = edge(selection, step, using, before=before, after=after)
        part = selection
        if reached is not None:
            part = replace(selection, lowest=reached) if after is None else replace(selection, highest=reached)
        rows += page(part, size - len(rows), before=before, after=after, only=(), alias=using)
        if reached is None or len(rows) >= size:
            return Look(rows, looked, reached)
        looked += step
        before, after = (reached, after) if after is None else (before, reached)
        now = time.monotonic()
        in_time = int(step * SHARE * (deadline - now) / max(now - began, 1e-6))
        if looked >= max(LEAST, in_time * WORTH):
            return Look(rows, looked, reached)
        step = min(max(in_time, LEAST - looked), step * GROWTH)
