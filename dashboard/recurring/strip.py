"""The last occurrences as a row of bars, told apart by height as well as by colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from handlers.states import State

STEP, WIDTH, HEIGHT = 8, 6, 20  # pixels from bar to bar, of a bar, of the highest
# The height of each, in pixels, and its class. What has not ended yet is what is left.
SIZES = {State.FAILED.value: 20, State.SUCCEEDED.value: 13, "skipped": 4, "gone": 2, State.DELETED.value: 4}
UNDER_WAY = 8


class Mark(NamedTuple):
    """One occurrence: what became of it, and when it was due."""

    outcome: str
    due: datetime


def strip(marks: Sequence[Mark]) -> SafeString:
    """``marks``, oldest first; empty where there are none."""
    if not marks:
        return SafeString("")
    bars = format_html_join(
        "",
        '<rect class="strip-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
        (
            (
                mark.outcome if mark.outcome in SIZES else "under-way",
                place * STEP,
                HEIGHT - size,
                WIDTH,
                size,
                _words(mark),
            )
            for place, mark in enumerate(marks)
            for size in [SIZES.get(mark.outcome, UNDER_WAY)]
        ),
    )
    counts = Counter(_word(mark.outcome) for mark in marks)
    told = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    return format_html(
        '<svg class="strip" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"'
        ' aria-label="The last {count}: {told}">{bars}</svg>',
        width=len(marks) * STEP,
        height=HEIGHT,
        count=len(marks),
        told=told,
        bars=bars,
    )


def _word(outcome: str) -> str:
    return "aged out" if outcome == "gone" else outcome


def _words(mark: Mark) -> str:
    return f"{mark.due.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC: {_word(mark.outcome)}"
