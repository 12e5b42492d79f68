"""The time line of a workflow's jobs: when each waited for others, waited on its queue, and ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.numbers import thousands
from dashboard.kit.text import duration, inert
from dashboard.kit.vocabulary import STATES as STATE_WORDS
from dashboard.kit.vocabulary import state_label
from dashboard.workflows.nodes import Row
from handlers.states import FINAL, State

ROW, BAR, THIN = 18, 10, 2  # pixels: a job's row, what was done in it, and its waiting
TOP, FOOT, NAMES = 24, 4, 190  # pixels above the first row, for the times; below the last one; for the names
TICKS = 4
LETTERS = 24
ROOM = 1.03  # for the sign of what ended last
LEAST = 0.25  # per cent of the width that anything has
SIGNS = {"failed": "✗", "succeeded": "✓", "deleted": "\N{EN DASH}", "skipped": "»", "unneeded": "\N{EN DASH}"}
KEYS = (
    ("waits", gettext_lazy("waits for others")),
    ("queued", gettext_lazy("waits on its queue")),
    ("ran", gettext_lazy("runs")),
    ("failed", STATE_WORDS["failed"]),
)
DID = {
    "waits": gettext_lazy("waited for others %(span)s"),
    "queued": gettext_lazy("waited on its queue %(span)s"),
    "ran": gettext_lazy("ran %(span)s"),
    "failed": gettext_lazy("failed after %(span)s"),
}


class Part(NamedTuple):
    """What a job did for some time."""

    kind: str
    start: datetime
    end: datetime


def gantt(rows: Sequence[Row], began: datetime, now: datetime) -> SafeString:
    """The picture; empty where no job of ``rows`` is kept. ``began``: the left edge."""
    kept = [(row, parts(row, began, now)) for row in rows if row.job]
    if not kept:
        return SafeString("")
    end = max((part.end for _row, some in kept for part in some), default=now)
    length = max((end - began) * ROOM, timedelta(milliseconds=1))
    height = TOP + ROW * len(kept) + FOOT
    ran = sum(any(part.kind in ("ran", "failed") for part in some) for _row, some in kept)
    told = _(
        "When each of %(jobs)s jobs waited and ran, over %(span)s; %(ran)s of them have run. The table says when each"
        " started and how long it took."
    )
    return format_html(
        '<figure class="chart gantt"><div class="chart-body">'
        '<svg class="axis" width="{names}" height="{h}" aria-hidden="true">{labels}</svg>'
        '<svg class="plot" width="100%" height="{h}" role="img" aria-label="{told}">{grid}{bars}</svg></div>'
        '<figcaption>{keys}<span class="quiet">{since}</span></figcaption></figure>',
        names=NAMES,
        h=height,
        told=told % {"jobs": thousands(len(kept)), "span": duration(end - began), "ran": thousands(ran)},
        since=_("since the workflow was made"),
        labels=format_html_join("", '<text class="tick value" x="0" y="{}">{}</text>', _labels(kept)),
        grid=_grid(length, height),
        bars=format_html_join("", "<g><title>{}</title>{}</g>", _bars(kept, began, length)),
        keys=format_html_join(
            "",
            '<span class="key"><span class="swatch {}" aria-hidden="true"></span>{}</span>',
            (key for key in KEYS if key[0] != "failed" or any(row.failed for row, _parts in kept)),
        ),
    )


def parts(row: Row, began: datetime, now: datetime) -> list[Part]:
    """What a job has done, one after the other. Of one that ran again, its last run."""
    job = row.job
    if job is None:
        return []
    over = job.finished_at if job.state in FINAL else None
    started = job.started_at if job.started_at and job.state != State.ENQUEUED else None
    moments = [
        ("waits", max(job.created_at, began), job.enqueued_at or over),
        ("queued", job.enqueued_at, started or over),
        ("failed" if job.state == State.FAILED else "ran", started, over),
    ]
    told: list[Part] = []
    for kind, start, end in moments:
        if start is not None and (end or now) >= start:
            told.append(Part(kind, start, end or now))
    return told


def _labels(kept: Iterable[tuple[Row, object]]) -> Iterable[tuple[int, str]]:
    for place, (row, _parts) in enumerate(kept):
        name = inert((row.job.job_type if row.job else "").rpartition(".")[2], 200)
        short = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        yield TOP + place * ROW + 12, f"{short} #{row.node.pk}"


def _bars(
    kept: Sequence[tuple[Row, Sequence[Part]]], began: datetime, length: timedelta
) -> Iterable[tuple[str, SafeString]]:
    for place, (row, some) in enumerate(kept):
        middle = TOP + place * ROW + ROW / 2
        drawn = format_html_join(
            "",
            '<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>',
            (
                (
                    part.kind,
                    f"{_share(part.start - began, length):.3f}",
                    middle - size / 2,
                    f"{max(_share(part.end - part.start, length), LEAST):.3f}",
                    size,
                )
                for part in some
                for size in [THIN if part.kind == "waits" else BAR]
            ),
        )
        told = ", ".join(DID[part.kind] % {"span": duration(part.end - part.start)} for part in some)
        sign = SIGNS.get(row.state, "")
        mark = SafeString("")
        if sign and some:
            at = _share(some[-1].end - began, length)
            mark = format_html(
                '<text class="sign sign-{}" x="{}%" y="{}">{}</text>', row.state, f"{at:.3f}", middle + 4, sign
            )
        name = inert(row.job.job_type if row.job else "", 200)
        yield f"{name} #{row.node.pk}: {state_label(row.state)}; {told}", drawn + mark


def _share(part: timedelta, length: timedelta) -> float:
    return min(max(part / length * 100, 0.0), 100.0)


def _grid(length: timedelta, height: float) -> SafeString:
    return format_html_join(
        "",
        '<line class="grid" x1="{x}%" x2="{x}%" y1="{high}" y2="{y}"/>'
        '<text class="tick{minor}" x="{x}%" y="{text}" text-anchor="{anchor}">{words}</text>',
        (
            {
                "x": f"{place / TICKS * 100:g}",
                "high": TOP - 6,
                "y": height,
                "text": TOP - 10,
                "minor": " minor" if place % 2 else "",
                "anchor": "start" if not place else "end" if place == TICKS else "middle",
                "words": duration(length * place / TICKS) if place else "0",
            }
            for place in range(TICKS + 1)
        ),
    )
