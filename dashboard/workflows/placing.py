"""Where the boxes of a graph stand, so that lines cross little and pass behind no other box. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dashboard.workflows.folding import Box

ROWS = 12  # boxes of one layer that have a place of their own; the last place is that of all others then
WAYS = 6  # places of one layer that are kept free for lines to what lies beyond it


@dataclass(eq=False)
class Slot:
    """A place in a column: of one box, of all for which there is none left, or of no box but a line that passes."""

    column: int
    boxes: Sequence[Box] = ()
    row: float = 0.0  # from the middle of the column


@dataclass(frozen=True)
class Plan:
    """All places, and who has which."""

    columns: list[list[Slot]] = field(default_factory=list)
    slot_of: dict[Box, Slot] = field(default_factory=dict)
    ways: dict[tuple[Slot, int], Slot] = field(default_factory=dict)  # by where a line begins, and the column

    def height(self, box: Box) -> float:
        """Where the lines come from that lead to ``box``, on average."""
        rows = [self._tip(self.slot_of[parent]).row for parent in box.parents if parent in self.slot_of]
        return sum(rows) / len(rows) if rows else 0.0

    def _tip(self, origin: Slot) -> Slot:
        """How far the lines of ``origin`` have come."""
        return self.ways.get((origin, len(self.columns) - 1), origin)

    def passing(self, last: dict[Box, int]) -> list[tuple[Slot, float]]:
        """Whose lines go on beyond the next column, and where they are. ``last``: of each box's children."""
        found = [slot for column in self.columns for slot in column if slot.boxes]
        on = [slot for slot in found if max(last.get(box, 0) for box in slot.boxes) > len(self.columns)]
        return [(slot, self._tip(slot).row) for slot in on[:WAYS]]


def places(layers: Sequence[Sequence[Box]]) -> Plan:
    """A plan of these layers. Boxes whose parents are as high stay in the order in which they were made."""
    plan = Plan()
    last = {parent: number for number, layer in enumerate(layers) for box in layer for parent in box.parents}
    for number, layer in enumerate(layers):
        ranked = sorted(layer, key=plan.height)
        fit = ROWS if len(layer) <= ROWS else ROWS - 1
        slots = [(plan.height(box), Slot(number, [box])) for box in ranked[:fit]]
        for origin, row in plan.passing(last):
            way = plan.ways[origin, number] = Slot(number)
            slots.append((row, way))
        column = [slot for _, slot in sorted(slots, key=lambda pair: pair[0])]
        if rest := ranked[fit:]:
            column.append(Slot(number, rest))
        for row, slot in enumerate(column):
            slot.row = row - (len(column) - 1) / 2
            plan.slot_of.update(dict.fromkeys(slot.boxes, slot))
        plan.columns.append(column)
    return plan
