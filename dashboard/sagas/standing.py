"""Where a saga stands: one word for it, and why somebody should look at it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.text import duration, inert
from handlers.models import SagaRecord

# What the list can be narrowed to, and words for it.
STATES = {
    "trouble": gettext_lazy("in trouble: its last event failed"),
    "job": gettext_lazy("a job of its story failed"),
    "stuck": gettext_lazy("stuck: nothing for longer than it should"),
    "open": gettext_lazy("goes on"),
    "completed": gettext_lazy("completed"),
}
WORDS = {
    "unreadable": gettext_lazy("Cannot be read"),
    "failed": gettext_lazy("Failed"),
    "job": gettext_lazy("A job failed"),
    "stuck": gettext_lazy("Stuck"),
    "open": gettext_lazy("Goes on"),
    "completed": gettext_lazy("Completed"),
}


@dataclass(frozen=True)
class Standing:
    """A saga as it is now."""

    row: SagaRecord
    now: datetime
    job_failed: bool = False  # one of its story

    @property
    def title(self) -> str:
        """By what it is known: ``order_id 42``; its number where it has no key."""
        return inert(self.row.label) or _("Saga %(id)d") % {"id": self.row.pk}

    @property
    def state(self) -> str:
        """One of WORDS."""
        row = self.row
        if row.completed_at is not None:
            return "completed"
        if row.unreadable:
            return "unreadable"
        if row.error:
            return "failed"
        if self.job_failed:
            return "job"
        return "stuck" if row.stuck_at is not None and row.stuck_at <= self.now else "open"

    @property
    def word(self) -> str:
        """That in a word."""
        return str(WORDS[self.state])

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens in it."""
        return self.row.completed_at is not None

    @property
    def needs_somebody(self) -> bool:
        """Whether it does not go on by itself, as far as one can tell."""
        return self.state in ("unreadable", "failed", "job", "stuck")

    @property
    def why(self) -> str:
        """Why somebody should look at it, in words; empty where nobody needs to."""
        row = self.row
        match self.state:
            case "unreadable":
                return _("%(why)s. It waits, with its events, for code that reads it.") % {
                    "why": capfirst(inert(row.unreadable))
                }
            case "failed":
                return _("Its last event failed: %(why)s. Those that follow wait for it.") % {"why": inert(row.error)}
            case "job":
                return _("A job of its story has failed. What it waits for may not come before that is retried.")
            case "stuck":
                return _("Nothing has happened for %(time)s, longer than it should.") % {
                    "time": duration(max(self.now - row.touched_at, timedelta(0)))
                }
        return ""
