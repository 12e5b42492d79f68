"""The last occurrences as a row of bars, told apart by height as well as by colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import ngettext

from dashboard.kit.moments import plain
from dashboard.kit.vocabulary import counted_state, state_label
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
    # Put together by hand: a list has hundreds of them, and format_html looks at each of seven values of each.
    bars = "".join(
        f'<rect class="strip-{mark.outcome if mark.outcome in SIZES else "under-way"}" x="{place * STEP}"'
        f' y="{HEIGHT - size}" width="{WIDTH}" height="{size}">'
        f'<title data-at="{mark.due.isoformat()}" data-as="whole" data-beside="utc">{escape(_words(mark))}</title>'
        "</rect>"
        for place, mark in enumerate(marks)
        for size in [SIZES.get(mark.outcome, UNDER_WAY)]
    )
    counts = Counter(mark.outcome for mark in marks)
    told = ", ".join(counted_state(outcome, count) for outcome, count in counts.most_common())
    words = ngettext("The last one: %(told)s", "The last %(number)d: %(told)s", len(marks))
    return format_html(
        '<svg class="strip" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"'
        ' aria-label="{words}">{bars}</svg>',
        width=len(marks) * STEP,
        height=HEIGHT,
        words=words % {"number": len(marks), "told": told},
        bars=mark_safe(bars),  # noqa: S308 - escaped
    )


def _words(mark: Mark) -> str:
    return f"{plain(mark.due, seconds=True)}: {state_label(mark.outcome)}"
