"""One chunk of a run, and what it leads to: the next one, a pause, or the end."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from django.db import connections

from handlers.audit import actor_name, audit
from handlers.bulk.control import over_limit
from handlers.bulk.outcomes import canary_outcomes, tried
from handlers.bulk.runs import LIVE, STALLED_AFTER, VERBS, named, next_chunk, starter
from handlers.failures import clean, reason_text
from handlers.lifecycle import Applied, database
from handlers.models import BulkItem, BulkOperation
from handlers.models.bulk import BulkState
from handlers.models.sql import database_now, insert
from handlers.publishing import publish_on_commit
from handlers.selection import Selection
from handlers.writing import writing

CHUNK = 2_000  # jobs of one transaction: what a pause waits for, and how long their rows are held
READ = ("token", "attempt")  # of each job, of which there may be a hundred thousand
CANARY_LOOK = timedelta(seconds=2)  # between two looks at the jobs that went first
ITEM_COLUMNS = {"operation_id": "id", "job_id": "id", "moved": "bool", "attempt": "int"}


def run_chunk(operation_id: int, step: int) -> bool:
    """Do the chunk ``step`` of a run. False: that chunk was done before, or the run does not go on."""
    alias = database()
    with writing(alias):
        rows = BulkOperation.objects.using(alias).filter(pk=operation_id, step=step, state__in=LIVE)
        # First of all, so that it holds the row until the commit: who pauses meanwhile waits, and so does a repetition.
        if not rows.update(step=step + 1):
            return False
        operation = BulkOperation.objects.using(alias).get(pk=operation_id)
        now = database_now(connections[alias])
        _Chunk(operation, alias, now).do()
        operation.save(using=alias)
    return True


class _Chunk:
    def __init__(self, operation: BulkOperation, alias: str, now: datetime) -> None:
        self.operation, self.alias, self.now = operation, alias, now

    def do(self) -> None:
        operation = self.operation
        before = tried(operation, self.alias) if operation.state == BulkState.CANARY else 0
        if operation.state == BulkState.CANARY and before >= operation.canary and not self._canary_passed():
            return
        if operation.state == BulkState.RUNNING and (why := over_limit(operation, self.alias)):
            self._hold(why)
            return
        size, delay = _pace(operation, before)
        moved = operation.moved
        applied, more = self._move(size)
        if operation.state == BulkState.CANARY:
            gone = before + operation.moved - moved
            if not more and not gone:
                self._finish(applied)
            elif not more and gone < operation.canary:
                operation.canary = gone  # there were no more: these are all
                self._go_on(applied, CANARY_LOOK)
            else:
                self._go_on(applied, CANARY_LOOK if gone >= operation.canary else delay)
        elif more:
            self._go_on(applied, delay)
        else:
            self._finish(applied)

    def _canary_passed(self) -> bool:
        operation = self.operation
        found = canary_outcomes(operation, self.alias)
        jobs = f"{found.total:,} canary job{'' if found.total == 1 else 's'}"
        if found.failed:
            self._hold(f"{found.failed:,} of {jobs} failed again.")
        elif found.pending:
            if self.now - operation.progressed_at >= STALLED_AFTER:
                self._pause(f"Nothing happened for 5 minutes: {found.pending:,} of {jobs} did not end.")
            else:
                self._go_on(Applied(), CANARY_LOOK)
        elif found.deleted:
            self._hold(f"{found.deleted:,} of {jobs} were deleted before they ran.")
        else:
            operation.state = BulkState.RUNNING
            operation.progressed_at = self.now
            return True
        return False

    def _move(self, size: int) -> tuple[Applied, bool]:
        """Do the verb to the next ``size`` jobs. True: there may be more after them."""
        operation = self.operation
        selection = Selection.from_json(operation.selection)
        rows = selection.page(size, after=operation.after_id, only=READ, alias=self.alias)
        if not rows:
            return Applied(), False
        operation.after_id = rows[-1].pk
        more = len(rows) == size
        reason = f"{named(operation.pk)}: {operation.reason}" if operation.reason else named(operation.pk)
        options = {"queue": operation.queue} if VERBS[operation.verb].to_queue else {}
        applied = VERBS[operation.verb].act(
            [row.pk for row in rows],
            **options,
            actor=actor_name(starter(operation)),
            reason=reason_text(reason),
            expect={row.pk: row.token for row in rows},  # moved as they were read: the attempt noted is right
        )
        items = [(operation.pk, row.pk, row.pk in applied.moved, row.attempt) for row in rows]
        insert(connections[self.alias], BulkItem, ITEM_COLUMNS, items)
        operation.moved += len(applied.moved)
        operation.moved_on += len(rows) - len(applied.moved)
        operation.progressed_at = self.now
        return applied, more

    def _go_on(self, applied: Applied, delay: timedelta | None) -> None:
        messages = [*applied.messages, *next_chunk(self.operation, self.alias, delay)]
        publish_on_commit(messages, using=self.alias, stale=applied.stale)

    def _finish(self, applied: Applied) -> None:
        operation = self.operation
        operation.state, operation.finished_at = BulkState.DONE, self.now
        facts = {"moved": operation.moved, "moved_on": operation.moved_on}
        audit(starter(operation), "finish_bulk", named(operation.pk), operation.moved, operation.reason, facts)
        publish_on_commit(applied.messages, using=self.alias, stale=applied.stale)

    def _hold(self, why: str) -> None:
        self.operation.held = True
        self._pause(why)

    def _pause(self, why: str) -> None:
        operation = self.operation
        operation.state, operation.note = BulkState.PAUSED, clean(why, 500)
        audit(named(operation.pk), "pause_bulk", named(operation.pk), operation.moved, why, None)


def _pace(operation: BulkOperation, gone: int) -> tuple[int, timedelta | None]:
    """How many jobs the chunk has, and how long after it the next one is due."""
    rate = operation.rate_per_second
    size = CHUNK if rate is None else min(CHUNK, max(1, math.floor(rate)))
    if operation.state == BulkState.CANARY:
        size = min(size, max(1, operation.canary - gone))
    return size, None if rate is None else timedelta(seconds=size / rate)
