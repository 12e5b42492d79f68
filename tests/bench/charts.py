"""Charts as SVG files: lines over a few labelled points, bars beside names. Readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import floor, log10

from tests.bench.places import Figures

PANEL, HIGH, LEFT, TOP, BOTTOM = 300, 220, 56, 58, 44  # a panel's width and the chart's height, with room for words
ROW = 20  # of a bar
COLOURS = {"SQLite": "a", "PostgreSQL": "b"}
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-size: 15px; font-weight: 600 }
.quiet { fill: #666 } .end { text-anchor: end } .middle { text-anchor: middle } .paper { fill: #fff }
.grid { stroke: #ddd } .a { fill: #1b6ca8; stroke: #1b6ca8 } .b { fill: #b4530a; stroke: #b4530a }
path.a, path.b { fill: none; stroke-width: 2 } text.a, text.b { stroke: none } rect { stroke: none }
path.b { stroke-dasharray: 6 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .quiet { fill: #aaa } .paper { fill: #16181c } .grid { stroke: #3a3d42 }
  .a { fill: #63b3ed; stroke: #63b3ed } .b { fill: #f6a25b; stroke: #f6a25b }
}
"""


def drawn(results: Figures) -> Iterator[tuple[str, str]]:
    """Name and SVG of each chart of the parts that were measured."""
    growth = results.get("growth", {})
    for along in dict.fromkeys(along for curves in growth.values() for along in curves):
        lines = {database: curves[along] for database, curves in growth.items()}
        yield f"growth-{along.replace(' ', '-')}", panels(along, lines)
    for database, sizes in results.get("console", {}).items():
        yield f"console-{database.lower()}", pages(database, sizes)
    if large := results.get("large"):
        yield "growth-records-large", panels("records", {"PostgreSQL": large["growth"]["records"]})
        yield "console-postgresql-large", pages("PostgreSQL", large["console"])


def panels(along: str, lines: Mapping[str, Figures]) -> str:
    """A panel for each figure, a line for each of ``lines`` (by database: figures by point), from zero up."""
    first = next(iter(lines.values()))
    names = list(next(iter(first.values())))
    parts = [text(16, 24, f"As {along} grow", "title")]
    for place, database in enumerate(lines):
        x = 16 + place * 110
        parts += [
            f'<circle class="{COLOURS[database]}" cx="{x + 4}" cy="40" r="4"/>',
            text(x + 14, 44, database, "quiet"),
        ]
    for place, name in enumerate(names):
        values = {database: [point[name] for point in points.values()] for database, points in lines.items()}
        parts += panel(place * PANEL, name, list(first), values)
    return svg(max(len(names) * PANEL, 360), TOP + HIGH + BOTTOM, f"As {along} grow: {', '.join(names)}", parts)


def panel(left: float, name: str, points: Sequence[str], values: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Axes, grid and lines of one figure."""
    unit = step(max(max(row) for row in values.values()))
    most = -(-max(max(row) for row in values.values()) // unit) * unit
    zero, x0, width = TOP + 24 + HIGH - 24, left + LEFT, PANEL - LEFT - 40
    yield text(left + 16, TOP + 12, name)
    for count in range(round(most / unit) + 1):
        y = zero - count * unit / most * (HIGH - 40)
        yield f'<line class="grid" x1="{x0:.0f}" x2="{x0 + width + 20:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield text(x0 - 6, y + 4, short(count * unit), "quiet end")
    xs = [x0 + 16 + place * (width - 16) / max(len(points) - 1, 1) for place in range(len(points))]
    for x, point in zip(xs, points, strict=True):
        yield text(x, zero + 18, point, "quiet middle")
    for database, row in values.items():
        shade = COLOURS[database]
        ys = [zero - value / most * (HIGH - 40) for value in row]
        corners = " L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
        yield f'<path class="{shade}" d="M{corners}"/>'
        for place, (x, y, value) in enumerate(zip(xs, ys, row, strict=True)):
            yield f'<circle class="{shade}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
            above = y > zero - 16 or value == max(line[place] for line in values.values())
            yield text(x, y + (-8 if above else 18), short(value), f"{shade} middle")


def pages(database: str, sizes: Figures) -> str:
    """A pair of bars for each page: its p50 at the smaller and the larger size."""
    (small, before), (large, after) = sizes.items()
    names = list(after["pages"])
    rows = [(before["pages"][name]["p50, ms"], after["pages"][name]["p50, ms"]) for name in names]
    scale = 420 / max(max(row) for row in rows)
    title = f"The console's pages on {database}: server time, ms (median)"
    parts = [text(16, 24, title, "title")]
    for place, (shade, size) in enumerate((("a", small), ("b", large))):
        parts.append(f'<rect class="{shade}" x="{16 + place * 140}" y="35" width="10" height="10"/>')
        parts.append(text(32 + place * 140, 44, f"{int(size):,} jobs", "quiet"))
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        y = TOP + place * ROW
        parts.append(text(206, y + 13, name, "end"))
        for half, (shade, value) in enumerate(zip("ab", row, strict=True)):
            parts.append(
                f'<rect class="{shade}" x="214" y="{y + 2 + half * 7}" width="{value * scale:.1f}" height="6"/>'
            )
        parts.append(text(220 + max(row) * scale, y + 13, f"{short(row[0])} / {short(row[1])}", "quiet"))
    return svg(740, TOP + len(names) * ROW + 16, title, parts)


def svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    """A whole file."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(label)}">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, classes: str = "") -> str:
    """Words whose line begins, or as the classes say is centred or ends, at ``x``."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}">{escape(words)}</text>'


def step(most: float) -> float:
    """The distance of grid lines, 1, 2 or 5 times a power of ten, so that two to five lie below ``most``."""
    power = 10.0 ** floor(log10(most or 1))
    return next(power * factor for factor in (0.2, 0.5, 1, 2) if most <= 5 * power * factor)


def short(value: float) -> str:
    """A number that fits: ``12.3k``, ``950``, ``1.2``."""
    if value >= 1_000:
        return f"{value / 1_000:.3g}k"
    return f"{value:.0f}" if value >= 20 or value == int(value) else f"{value:.1f}"
