"""Bulk operations as the console tells of them: what a run does, how far it is, and what came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit.numbers import thousands
from dashboard.kit.verbs import BULK_VERBS, jobs_in_words
from handlers import bulk
from handlers.models import BulkOperation
from handlers.models.bulk import BulkState
from handlers.selection import NOTHING, InvalidSelection, Part, Reach, Selection

CHOICES = {verb.name: verb for verb in BULK_VERBS}
GOING = 5  # runs that the Overview names
BAD_SHARE = 0.2  # of first attempts that failed again, above which a run came out badly


@dataclass(frozen=True)
class Run:
    """One of them. ``tone``: going, good, some (failed), bad or quiet, which is its colour."""

    operation: BulkOperation
    receipt: bulk.Receipt | None = None  # None: not looked at

    @property
    def label(self) -> str:
        """Its verb, as on a button."""
        verb = CHOICES.get(self.operation.verb)
        return str(verb.label) if verb else self.operation.verb

    @property
    def what(self) -> str:
        """``Retry 400 jobs``."""
        told = {
            "verb": self.label, "jobs": count_in_words(self.operation.count), "queue": self.operation.queue
        }  # fmt: skip
        return (_("%(verb)s %(jobs)s to queue %(queue)s") if self.operation.queue else _("%(verb)s %(jobs)s")) % told

    @property
    def progress(self) -> str:
        """How many of how many; where that was not counted, how many so far."""
        operation, done = self.operation, thousands(self.done)
        if operation.state == BulkState.DONE:
            return _("all %(count)s") % {"count": done}
        if operation.count == bulk.COUNTED + 1:
            return _("%(done)s of more than %(most)s") % {"done": done, "most": thousands(bulk.COUNTED)}
        if not operation.count:
            return _("%(done)s so far") % {"done": done}
        return _("%(done)s of %(all)s") % {"done": done, "all": thousands(operation.count)}

    @property
    def done(self) -> int:
        """Jobs that it came to."""
        return self.operation.moved + self.operation.moved_on

    @property
    def left(self) -> int:
        """Jobs that it has not come to; 0: none, or nobody knows."""
        count = self.operation.count
        return max(count - self.done, 0) if count <= bulk.COUNTED else 0

    @property
    def bar(self) -> bool:
        """Whether a bar says something."""
        is_over = self.operation.state in (BulkState.DONE, BulkState.STOPPED)
        return not is_over and 0 < self.operation.count <= bulk.COUNTED

    @property
    def runs(self) -> bool:
        """Whether its jobs run afterwards, so that something comes out."""
        verb = bulk.VERBS.get(self.operation.verb)
        return verb is not None and verb.runs

    @property
    def came_out(self) -> str:
        """``40 succeeded, 360 failed again``: the first attempts after the move. Empty: nothing, or nobody looked."""
        found = self.receipt
        if found is None or not self.runs or not found.looked_at:
            return ""
        parts = [
            (found.first_succeeded, _("%(count)s succeeded")),
            (found.first_failed, _("%(count)s failed again")),
            (found.first_to_come, _("%(count)s still to come")),
            (found.first_never, _("%(count)s never ran")),
        ]
        words = ", ".join(text % {"count": thousands(count)} for count, text in parts if count)
        if found.looked_at < self.operation.moved:
            return _("of the newest %(count)s: %(words)s") % {"count": thousands(found.looked_at), "words": words}
        return words

    @property
    def tone(self) -> str:
        """Its colour."""
        operation, found = self.operation, self.receipt
        if operation.state == BulkState.PAUSED:
            return "bad" if operation.held else "some"
        if operation.state in bulk.LIVE:
            return "going"
        if not self.runs:
            return "good" if operation.state == BulkState.DONE else "quiet"
        if found is None or not found.looked_at:
            return "quiet"
        if found.first_failed:
            return "bad" if found.first_failed > BAD_SHARE * found.looked_at else "some"
        if operation.state == BulkState.STOPPED:
            return "quiet"
        return "going" if found.first_to_come else "good"

    @property
    def state_words(self) -> str:
        """Its state; never a bare "Done" over jobs that failed again, or of which nobody knows yet."""
        operation, found = self.operation, self.receipt
        if operation.state == BulkState.CANARY:
            return _("Waiting for its canary")
        if operation.state == BulkState.RUNNING:
            return _("Running")
        if operation.state == BulkState.PAUSED:
            return _("Paused by itself") if operation.held else _("Paused")
        ended = _("Done") if operation.state == BulkState.DONE else _("Stopped")
        if not self.runs or (operation.state == BulkState.STOPPED and not (found and found.first_failed)):
            return ended
        if found is None or not found.looked_at:
            return _("Ended")
        if found.first_failed:
            failed = ngettext("%(count)s failed again", "%(count)s failed again", found.first_failed)
            return f"{ended}: {failed % {'count': thousands(found.first_failed)}}"
        return _("Outcomes to come") if found.first_to_come else ended

    @property
    def say(self) -> str:
        """What is said aloud when it changes: in steps of a tenth, so that nobody is talked down."""
        count = self.operation.count
        if self.operation.state not in bulk.LIVE or not 0 < count <= bulk.COUNTED:
            return f"{self.label}: {self.state_words}"
        return _("%(label)s: %(share)d %% done") % {"label": self.label, "share": self.done * 10 // count * 10}


def count_in_words(count: int, most: int = bulk.COUNTED) -> str:
    """``400 jobs``, ``more than 100,000 jobs``; 0: nobody counted."""
    if not count:
        return _("all jobs that match")
    return _("more than %(most)s jobs") % {"most": thousands(most)} if count > most else jobs_in_words(count)


def is_within(operation: BulkOperation, reach: Reach) -> bool:
    """Whether all jobs that the run may come to are within ``reach``, and stay there."""
    if reach.is_whole:
        return True
    try:
        selection = Selection.from_json(operation.selection)
    except InvalidSelection:
        return False
    return selection.is_within(reach) and (not operation.queue or moves_within(selection, operation.queue, reach))


def moves_within(selection: Selection, queue: str, reach: Reach) -> bool:
    """Whether what ``selection`` has stays within ``reach`` on ``queue``."""
    return reach.holds([Part(way.types, (queue,)) for way in selection.reached() if way.types != NOTHING.types])


def going() -> list[Run]:
    """The newest runs that go on or wait for somebody: one statement, few rows."""
    waiting: list[Any] = [*bulk.LIVE, BulkState.PAUSED.value]
    return [Run(each) for each in BulkOperation.objects.filter(state__in=waiting).order_by("-pk")[:GOING]]
