"""What becomes of the occurrences of one recurring job that are due. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from handlers.models import How, Misfire, Overlap
from handlers.recurrence.times import Times

LOOK_BACK = 20_000  # occurrences in one transaction, about; what lies further on has its turn in the next


@dataclass(slots=True)
class Plan:
    """Which of them are fired and which are not, and what comes next."""

    fire: list[tuple[datetime, How]] = field(default_factory=list)
    missed: list[datetime] = field(default_factory=list)
    overlapped: list[datetime] = field(default_factory=list)
    due: datetime | None = None  # the next one
    held: datetime | None = None

    @property
    def dues(self) -> list[datetime]:
        """All that come to something now."""
        return [*(due for due, _ in self.fire), *self.missed, *self.overlapped]

    def leave_out(self, dues: Container[datetime]) -> None:
        """Those came to something before."""
        self.fire = [(due, how) for due, how in self.fire if due not in dues]
        self.missed = [due for due in self.missed if due not in dues]
        self.overlapped = [due for due in self.overlapped if due not in dues]


def plan(row: Mapping[str, Any], times: Times, now: datetime, *, is_busy: bool, patience: timedelta) -> Plan:
    """Decide on what is due ``now``. ``is_busy``: the job before has not ended. Late by ``patience`` is a misfire."""
    found = Plan(due=row["due_at"], held=row["held_at"])
    dues: list[datetime] = []
    while found.due is not None and times.fired_at(found.due) <= now and len(dues) < LOOK_BACK:
        dues.append(found.due)
        found.due = times.after(found.due)
    late = [due for due in dues if now - times.fired_at(due) > patience]
    on_time = dues[len(late) :]
    more = found.due is not None and times.fired_at(found.due) <= now
    kept: list[datetime] = []
    if row["misfire"] == Misfire.EACH:
        last = late[-row["catch_up"] :]
        if more and not on_time:  # what is to be caught up with ends further on: these may be too many
            late, found.due = late[: -row["catch_up"]], last[0]
        else:
            oldest = now - timedelta(seconds=row["catch_up_seconds"])
            kept = [due for due in last if due >= oldest]
    elif row["misfire"] == Misfire.ONE and not on_time and not more:
        kept = late[-1:]
    found.missed = late[: len(late) - len(kept)]
    found.fire = [*((due, How.LATE) for due in kept), *((due, How.DUE) for due in on_time)]
    if row["overlap"] != Overlap.ALLOW:
        _let_overlap(found, row["overlap"], is_busy=is_busy)
    elif found.held:  # from when it was not allowed
        found.fire, found.held = [(found.held, How.HELD), *found.fire], None
    return found


def _let_overlap(found: Plan, overlap: str, *, is_busy: bool) -> None:
    """Of all that would run now, one does; and one may wait."""
    waiting = [(found.held, How.HELD)] if found.held else []
    runs = [*waiting, *found.fire]
    first = [] if is_busy else runs[:1]
    rest = [due for due, _ in runs[len(first) :]]
    held = rest[:1] if overlap == Overlap.QUEUE else []
    found.fire, found.held, found.overlapped = first, held[0] if held else None, rest[len(held) :]
