"""The figures as tables, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.places import Figures

MORE = 1.25  # times as much on a page: its time is compared with nothing


def tables(results: Figures) -> Iterator[str]:
    """The lines, table after table, of the parts that were measured."""
    yield results["machine"]
    if "engine" in results:
        yield from engine(results["engine"])
    for database, curves in results.get("growth", {}).items():
        yield from growth(database, curves)
    for database, sizes in results.get("console", {}).items():
        yield from console(database, sizes)
    if large := results.get("large"):
        yield from growth("PostgreSQL", large["growth"])
        yield from console("PostgreSQL", large["console"])
        yield from figures(
            "PostgreSQL, ten million jobs", large.get("scrape", {}) | large.get("live", {}) | large["retention"]
        )


def engine(databases: Figures) -> Iterator[str]:
    """A row for each figure, a column for each database."""
    yield f"\n{'Engine':56}" + "".join(f"{name:>14}" for name in databases)
    for figure in dict.fromkeys(figure for of_one in databases.values() for figure in of_one):
        yield f"{figure:56}" + "".join(f"{number(of_one.get(figure)):>14}" for of_one in databases.values())


def growth(database: str, curves: Figures) -> Iterator[str]:
    """A row for each figure along each curve, with what the last point is of the first."""
    yield f"\n{database}: how it grows"
    for along, points in curves.items():
        yield f"{'  ' + along:40}" + "".join(f"{point:>12}" for point in points) + f"{'last/first':>12}"
        for figure in next(iter(points.values())):
            values = [point[figure] for point in points.values()]
            yield f"{'    ' + figure:40}" + "".join(f"{number(v):>12}" for v in (*values, values[-1] / values[0]))


def console(database: str, sizes: Figures) -> Iterator[str]:
    """A row for each page, at the smaller and the larger size."""
    (small, before), (large, after) = sizes.items()
    yield f"\n{database}: the console, server time in ms, p50 / p95"
    names = f"{int(small):,} jobs", f"{int(large):,} jobs"
    yield f"{'':32}{names[0]:>18}{names[1]:>18}{'ratio':>8}{'queries':>9}{'KiB':>7}"
    for page, at in after["pages"].items():
        was = before["pages"][page]
        cells = [f"{of['p50, ms']:.1f} / {of['p95, ms']:.1f}" for of in (was, at)]
        ratio = f"{at['p50, ms'] / was['p50, ms']:.2f}" if at["KiB"] < was["KiB"] * MORE else "more"
        yield f"{page:32}{cells[0]:>18}{cells[1]:>18}{ratio:>8}{at['queries']:9}{at['KiB']:7.0f}"
    yield from figures("", after["other"])


def figures(title: str, values: Figures) -> Iterator[str]:
    """A row for each."""
    if title:
        yield f"\n{title}"
    for name, value in values.items():
        yield f"{name:56}{number(value):>14}"


def number(value: float | None) -> str:
    """With as many digits as mean something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1_000 or value == int(value) else f"{value:,.2f}"
