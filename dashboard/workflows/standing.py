"""Where a workflow stands: one word for it, its sums, and both as a bar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.numbers import thousands
from dashboard.kit.text import inert
from dashboard.kit.vocabulary import STATES as STATE_WORDS
from dashboard.kit.vocabulary import counted_state
from handlers.models import Workflow

# What the list can be narrowed to, and words for it.
STATES = {
    "running": STATE_WORDS["running"],
    "paused": STATE_WORDS["paused"],
    "failed": gettext_lazy("failed: some of its jobs"),
    "succeeded": STATE_WORDS["succeeded"],
    "ended": gettext_lazy("ended: not all succeeded"),
    "cancelled": STATE_WORDS["cancelled"],
}
HEIGHT, LOW, LEAST = 12, 8, 0.8  # pixels of the bar and of what is no failure in it; per cent that any part has


@dataclass(frozen=True)
class Standing:
    """A workflow as it is now."""

    row: Workflow
    now: datetime

    @property
    def title(self) -> str:
        """Its title; its number where it has none."""
        return inert(self.row.title) or _("Workflow %(id)d") % {"id": self.row.pk}

    @property
    def state(self) -> str:
        """One of STATES, or ``cancelling``."""
        row = self.row
        if row.finished_at:
            return "cancelled" if row.cancelled_at else "ended" if row.deleted else "succeeded"
        if row.cancelled_at:
            return "cancelling"
        return "paused" if row.paused_at else "failed" if row.failed else "running"

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.row.finished_at is not None

    @property
    def done(self) -> int:
        """How many of its jobs nobody has to think of any more."""
        return self.row.succeeded + self.row.skipped + self.row.unneeded + self.row.deleted

    @property
    def words(self) -> str:
        """How many of how many: ``412 of 500 done, 3 failed``."""
        row, numbers = self.row, {"done": thousands(self.done), "total": thousands(self.row.total)}
        told = [(_("all %(total)s done") if self.done == row.total else _("%(done)s of %(total)s done")) % numbers]
        told += [counted_state("failed", row.failed)] if row.failed else []
        told += [counted_state("deleted", row.deleted)] if row.deleted else []
        return ", ".join(told)

    @property
    def took(self) -> timedelta:
        """How long it took, or has taken so far."""
        return max((self.row.finished_at or self.now) - self.row.created_at, timedelta(0))

    @property
    def parts(self) -> list[tuple[str, int]]:
        """Its jobs by how they ended."""
        row = self.row
        sums = {"succeeded": row.succeeded, "skipped": row.skipped, "unneeded": row.unneeded, "deleted": row.deleted}
        sums |= {"failed": row.failed}
        return [(name, count) for name, count in sums.items() if count]

    @property
    def bar(self) -> SafeString:
        """How far it is, as a bar. What failed is higher than the rest: told apart without colour."""
        total, place, bars = max(self.row.total, 1), 0.0, []
        for name, count in self.parts:
            width = max(count / total * 100, LEAST)
            size = HEIGHT if name == "failed" else LOW
            bars.append((name, f"{min(place, 100 - LEAST):.2f}", (HEIGHT - size) / 2, f"{width:.2f}", size))
            place += width
        told = ", ".join(counted_state(name, count) for name, count in self.parts) or _("none has ended")
        words = _("%(done)s of %(total)s jobs done: %(told)s") % {
            "done": thousands(self.done), "total": thousands(self.row.total), "told": told,
        }  # fmt: skip
        return format_html(
            '<svg class="flow-bar" width="100%" height="{}" role="img" aria-label="{}">'
            '<rect class="rest" x="0" y="{}" width="100%" height="{}" rx="2"/>{}</svg>',
            HEIGHT,
            words,
            (HEIGHT - LOW) / 2,
            LOW,
            format_html_join("", '<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>', bars),
        )
