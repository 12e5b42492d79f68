"""Charts as SVG that the server draws: classes for colours, per cent for widths, so that text keeps its size anywhere.

Nothing inline that a strict Content-Security-Policy forbids. Each chart says in words what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import log10
from typing import Protocol

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard.kit import marks as marked
from dashboard.kit.marks import Mark
from dashboard.kit.moments import in_short
from dashboard.kit.numbers import in_figures, thousands
from dashboard.kit.text import duration

HEIGHT = 176  # pixels of the plot
TOP = 10  # above the highest line, so that its label fits
LABELS = 22  # below the plot, for the times
GAP = 0.22  # of a bar's place that stays empty
LEAST = 2.0  # pixels: what happened once is still seen beside thousands
MAX_DELAYS = 50  # bars of a plot of delays
SPARK = (96, 24)  # width and height of a sparkline


class Point(Protocol):
    """How many jobs ended how in the time that began at ``at``."""

    @property
    def at(self) -> datetime:
        """When the time began."""

    @property
    def succeeded(self) -> int:
        """Attempts that succeeded."""

    @property
    def failed(self) -> int:
        """Attempts that failed for good."""

    @property
    def retried(self) -> int:
        """Attempts that failed and are to be repeated."""


def throughput_chart(
    points: Sequence[Point], marks: Sequence[Mark] = (), link: Callable[[Point], str] | None = None
) -> SafeString:
    """What succeeded as bars upward, what failed as bars downward from the same line: told apart without colour.

    ``points`` are evenly spaced, oldest first. One scale serves both directions. ``marks``: deploys, oldest first.
    ``link``: the address of what a bar counts. The keyboard finds the same links in the table.
    """
    if len(points) < 2:
        return format_html('<p class="note">{}</p>', _("Nothing was counted yet."))
    step = points[1].at - points[0].at
    above = max(point.succeeded for point in points)
    below = max(point.failed + point.retried for point in points)
    unit = _unit(max(above, below, 1))
    top = max(-(-above // unit) * unit, unit)
    scale = (HEIGHT - TOP) / (top + below)
    zero = TOP + top * scale
    lines = [(zero - value * scale, value) for value in range(0, top + 1, unit)]
    lines += [(zero + value * scale, value) for value in range(unit, below + 1, unit)]
    width = 100 / len(points)
    columns = format_html_join(
        "", "{}", ((_linked(_column(p, i * width, width, zero, scale, step), p, link),) for i, p in enumerate(points))
    )
    return format_html(
        '<figure class="chart throughput"><div class="chart-body">{axis}'
        '<svg class="plot" width="100%" height="{height}" role="{role}"{summary}>{grid}{columns}'
        '<line class="zero" x1="0" x2="100%" y1="{zero}" y2="{zero}"/>{marks}{times}</svg></div>'
        '<figcaption><span class="key"><span class="swatch up" aria-hidden="true"></span>{up}</span>'
        '<span class="key"><span class="swatch down" aria-hidden="true"></span>{down}</span>'
        '<span class="key"><span class="swatch again" aria-hidden="true"></span>{again}</span>{named}'
        '<span class="quiet">{each}, {zone} <span data-zone="utc">UTC</span></span></figcaption>'
        "{table}</figure>",
        up=_("succeeded (up)"),
        down=_("failed (down)"),
        again=_("failed, runs again (down)"),
        zone=_("times in"),
        axis=_axis(lines),
        height=HEIGHT + LABELS,
        summary=_summary(points, step),
        grid=_grid(lines),
        columns=columns,
        zero=_px(zero),
        marks=marked.lines(marks, points[0].at, points[-1].at + step, TOP, HEIGHT),
        named=marked.caption(marked.within(marks, points[0].at, points[-1].at + step)),
        times=_times(points, step),
        each=_("each bar is %(length)s") % {"length": duration(step)},
        table=_table(points, step, link),
        role="group" if link else "img",  # in a picture there are no links
    )


def failure_chart(points: Sequence[Point], marks: Sequence[Mark] = ()) -> SafeString:
    """Failed attempts as bars upward: those that failed for good, and on top of them those that run again.

    ``points`` are evenly spaced, oldest first; what succeeded is left out. ``marks``: deploys, oldest first.
    """
    step = points[1].at - points[0].at
    most = max(point.failed + point.retried for point in points)
    unit = _unit(max(most, 1))
    top = max(-(-most // unit) * unit, unit)
    scale = (HEIGHT - TOP) / top
    grid = [(HEIGHT - value * scale, value) for value in range(0, top + 1, unit)]
    width = 100 / len(points)
    columns = format_html_join(
        "", "{}", ((_column(p, i * width, width, HEIGHT, -scale, step),) for i, p in enumerate(points))
    )
    end = points[-1].at + step
    failed = [sum(getattr(point, name) for point in points) for name in ("failed", "retried")]
    return format_html(
        '<figure class="chart failed"><div class="chart-body">{axis}'
        '<svg class="plot" width="100%" height="{height}" role="img"{summary}>{grid}{columns}'
        '<line class="zero" x1="0" x2="100%" y1="{zero}" y2="{zero}"/>{marks}{times}</svg></div>'
        '<figcaption><span class="key"><span class="swatch down" aria-hidden="true"></span>{for_good}</span>'
        '<span class="key"><span class="swatch again" aria-hidden="true"></span>{again}</span>{named}'
        '<span class="quiet">{each}, <span data-zone="utc">UTC</span></span></figcaption></figure>',
        axis=_axis(grid),
        height=HEIGHT + LABELS,
        summary=_label(
            lambda start, end: (
                _("Failed attempts from %(start)s to %(end)s UTC: %(counts)s.")
                % {"start": start, "end": end, "counts": _failed(*failed)}
            ),
            points[0].at,
            end,
            step,
        ),
        grid=_grid(grid),
        columns=columns,
        zero=HEIGHT,
        marks=marked.lines(marks, points[0].at, end, TOP, HEIGHT),
        times=_times(points, step),
        for_good=_("failed for good"),
        again=_("failed, runs again"),
        named=marked.caption(marked.within(marks, points[0].at, end)),
        each=_("each bar is %(length)s") % {"length": duration(step)},
    )


def sparkline(values: Sequence[int], label: str) -> SafeString:
    """A row of small bars, oldest first. ``label`` says in words what they count."""
    width, height = SPARK
    each = width / max(len(values), 1)
    most = max([*values, 1])
    bars = format_html_join(
        "",
        '<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>',
        (
            (_px(place * each), _px(height - size), _px(each * (1 - GAP)), _px(size))
            for place, value in enumerate(values)
            if (size := max(value / most * (height - 2), LEAST) if value > 0 else 0)
        ),
    )
    return format_html(
        '<svg class="sparkline" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">'
        '<title>{label}</title><line class="zero" x1="0" x2="{w}" y1="{base}" y2="{base}"/>{bars}</svg>',
        w=width,
        h=height,
        label=label,
        base=height - 0.5,
        bars=bars,
    )


def delay_plot(delays: Sequence[timedelta], label: str) -> SafeString:
    """The waits before each retry as bars with their lengths in words; very unlike ones on a logarithmic scale."""
    if not delays:
        return format_html('<p class="note">{}</p>', _("No retries: the first failure is the last."))
    seconds = [max(delay.total_seconds(), 0.0) for delay in delays[:MAX_DELAYS]]
    most = max(*seconds, 0.001)
    logarithmic = most > 60 * max(min(seconds), most / 1e9)
    low = log10(max(min(value for value in [*seconds, most] if value > 0) / 2, 0.001))
    width = 100 / len(seconds)
    every = max(1, -(-len(seconds) // 8))  # labels that fit beside each other on a phone

    def size(value: float) -> float:
        share = (log10(max(value, 0.001)) - low) / max(log10(most) - low, 0.01) if logarithmic else value / most
        return max(min(share, 1.0), 0.0) * (HEIGHT - 2 * LABELS)

    bars = format_html_join(
        "",
        '<g class="column"><title>{}</title><rect class="hit" x="{}%" y="0" width="{}%" height="{}"/>'
        '<rect class="delay" x="{}%" y="{}" width="{}%" height="{}" rx="2"/>{}</g>',
        (
            (
                _("retry %(number)d: after %(time)s") % {"number": place + 1, "time": duration(value)},
                _px(place * width),
                _px(width),
                HEIGHT,
                _px((place + GAP / 2) * width),
                _px(HEIGHT - LABELS - max(size(value), LEAST)),
                _px(width * (1 - GAP)),
                _px(max(size(value), LEAST)),
                _delay_labels(place, value, width, size(value)) if place % every == 0 else "",
            )
            for place, value in enumerate(seconds)
        ),
    )
    words = f"{label}: {', '.join(duration(value) for value in seconds)}"
    return format_html(
        '<figure class="chart delays"><svg class="plot" width="100%" height="{height}" role="img" aria-label="{words}">'
        '{bars}<line class="zero" x1="0" x2="100%" y1="{base}" y2="{base}"/></svg>'
        '<figcaption class="quiet">{caption}{scale}{cut}</figcaption></figure>',
        caption=_("Wait before each retry"),
        height=HEIGHT,
        words=words,
        bars=bars,
        base=HEIGHT - LABELS,
        scale=_(", on a logarithmic scale") if logarithmic else "",
        cut=_("; the first %(shown)d of %(all)s") % {"shown": MAX_DELAYS, "all": thousands(len(delays))}
        if len(delays) > MAX_DELAYS
        else "",
    )


def compact(value: int) -> str:
    """A number that fits beside an axis: ``950``, ``1.2k``, ``3M``."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return in_figures(f"{value / size:.1f}".removesuffix(".0")) + letter
    return str(value)


def _unit(most: int) -> int:
    """The distance between lines, 1, 2 or 5 times a power of ten, so that at most four lie below ``most``."""
    unit = 1
    while True:
        for factor in (1, 2, 5):
            if most <= 4 * factor * unit:
                return factor * unit
        unit *= 10


def _px(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _axis(lines: Sequence[tuple[float, int]]) -> SafeString:
    labels = format_html_join(
        "",
        '<text class="tick" x="34" y="{}" text-anchor="end">{}</text>',
        ((_px(y + 4), compact(value)) for y, value in lines),
    )
    return format_html('<svg class="axis" width="40" height="{}" aria-hidden="true">{}</svg>', HEIGHT + LABELS, labels)


def _grid(lines: Sequence[tuple[float, int]]) -> SafeString:
    return format_html_join(
        "", '<line class="grid" x1="0" x2="100%" y1="{}" y2="{}"/>', ((_px(y), _px(y)) for y, _ in lines)
    )


def _column(point: Point, x: float, width: float, zero: float, scale: float, step: timedelta) -> SafeString:
    """One bar. A scale below zero: failures are drawn upward, and nothing else is."""
    bars = []
    if point.succeeded and scale > 0:
        size = max(point.succeeded * scale, LEAST)
        bars.append(("up", zero - size, size))
    down = zero
    for kind, value in (("down", point.failed), ("again", point.retried)):
        if value:
            size = max(value * abs(scale), LEAST)
            bars.append((kind, down if scale > 0 else down - size, size))
            down += size if scale > 0 else -size
    drawn = format_html_join(
        "",
        '<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>',
        ((kind, _px(x + width * GAP / 2), _px(y), _px(width * (1 - GAP)), _px(size)) for kind, y, size in bars),
    )
    hit = format_html('<rect class="hit" x="{}%" y="0" width="{}%" height="{}"/>', _px(x), _px(width), HEIGHT)
    said = _counts(point.succeeded, point.failed, point.retried) if scale > 0 else _failed(point.failed, point.retried)
    words = f"{_clock(point.at, step)} UTC: {said}"
    return format_html(
        '<g class="column"><title data-at="{}" data-as="{}" data-beside="utc">{}</title>{}{}</g>',
        point.at.isoformat(),
        _form(step),
        words,
        hit,
        drawn,
    )


def _times(points: Sequence[Point], step: timedelta) -> SafeString:
    days = _is_long(step) and step * len(points) > timedelta(days=2)
    every = max(len(points) // (7 if days else 4), 1)
    places = range(every // 2, len(points), every)
    return format_html_join(
        "",
        '<text class="tick{}" x="{}%" y="{}" text-anchor="middle" data-at="{}" data-as="{}">{}</text>',
        (
            (
                " minor" if days and number % 2 else "",  # left out where there is little room
                _px((place + 0.5) * 100 / len(points)),
                HEIGHT + LABELS - 6,
                points[place].at.isoformat(),
                "day" if days else "time",
                f"{points[place].at.astimezone(UTC):{'%a %d' if days else '%H:%M'}}",
            )
            for number, place in enumerate(places)
        ),
    )


def _linked(column: SafeString, point: Point, link: Callable[[Point], str] | None) -> SafeString:
    if link is None or not (point.succeeded or point.failed or point.retried):
        return column
    return format_html('<a href="{}" tabindex="-1">{}</a>', link(point), column)


def _table(points: Sequence[Point], step: timedelta, link: Callable[[Point], str] | None) -> SafeString:
    rows = format_html_join(
        "",
        '<tr>{}<td class="number">{}</td><td class="number">{}</td><td class="number">{}</td></tr>',
        (
            (
                _row_head(point, step, link),
                thousands(point.succeeded),
                thousands(point.failed),
                thousands(point.retried),
            )
            for point in reversed(points)
            if point.succeeded or point.failed or point.retried
        ),
    )
    if not rows:
        return SafeString("")
    return format_html(
        '<details class="chart-table"><summary>{}</summary><table class="plain"><thead><tr>'
        '<th scope="col">{} (<span data-zone="utc">UTC</span>)</th><th scope="col" class="number">{}</th>'
        '<th scope="col" class="number">{}</th><th scope="col" class="number">{}</th></tr></thead>'
        "<tbody>{}</tbody></table></details>",
        _("As a table"),
        _("From"),
        _("Succeeded"),
        _("Failed"),
        _("Run again"),
        rows,
    )


def _row_head(point: Point, step: timedelta, link: Callable[[Point], str] | None) -> SafeString:
    at, words, form = point.at.isoformat(), _clock(point.at, step), _form(step)
    if link is None:
        return format_html('<th scope="row" data-at="{}" data-as="{}" title="{} UTC">{}</th>', at, form, words, words)
    return format_html(
        '<th scope="row" data-at="{}"><a href="{}" data-at="{}" data-as="{}" title="{} UTC">{}</a></th>',
        at,
        link(point),
        at,
        form,
        words,
        words,
    )


def _summary(points: Sequence[Point], step: timedelta) -> SafeString:
    totals = _counts(*(sum(getattr(point, name) for point in points) for name in ("succeeded", "failed", "retried")))

    def words(first: str, last: str) -> str:
        return _("Attempts that ended from %(first)s to %(last)s UTC: %(totals)s.") % {
            "first": first,
            "last": last,
            "totals": totals,
        }

    return _label(words, points[0].at, points[-1].at + step, step)


def _label(words: Callable[[str, str], str], first: datetime, last: datetime, step: timedelta) -> SafeString:
    """What a drawing is called by who hears it, in UTC, and what ``times.js`` makes the same of in their own zone."""
    return format_html(
        ' aria-label="{}" data-spoken="{}" data-first="{}" data-last="{}" data-as="{}"',
        words(_clock(first, step), _clock(last, step)), words("{0}", "{1}"), first.isoformat(), last.isoformat(),
        _form(step),
    )  # fmt: skip


def _counts(succeeded: int, failed: int, retried: int) -> str:
    again = _(", %(number)s failed and run again") % {"number": thousands(retried)} if retried else ""
    return _("%(succeeded)s succeeded, %(failed)s failed") % {
        "succeeded": thousands(succeeded), "failed": thousands(failed)
    } + again  # fmt: skip


def _failed(failed: int, retried: int) -> str:
    again = _(", %(number)s failed and run again") % {"number": thousands(retried)} if retried else ""
    return _("%(number)s failed for good") % {"number": thousands(failed)} + again


def _is_long(step: timedelta) -> bool:
    """Whether points so far apart span days, so that the hour alone does not tell when."""
    return step > timedelta(minutes=30)


def _form(step: timedelta) -> str:
    """How ``times.js`` writes in the operator's zone what ``_clock`` writes in UTC."""
    return "moment" if _is_long(step) else "time"


def _clock(at: datetime, step: timedelta) -> str:
    return in_short(at) if _is_long(step) else f"{at.astimezone(UTC):%H:%M}"


def _delay_labels(place: int, value: float, width: float, size: float) -> SafeString:
    middle = _px((place + 0.5) * width)
    return format_html(
        '<text class="tick" x="{x}%" y="{low}" text-anchor="middle">{number}</text>'
        '<text class="tick value" x="{x}%" y="{high}" text-anchor="middle">{words}</text>',
        x=middle,
        low=HEIGHT - 6,
        number=place + 1,
        high=_px(HEIGHT - LABELS - max(size, LEAST) - 6),
        words=duration(value),
    )
