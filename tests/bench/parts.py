"""What is measured where: the engine's figures, how its costs grow, the console at size, and ten million jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from tests.bench.curves import CURVES, RECORDS, Curve, Load, Waiting
from tests.bench.places import Figures, Places, in_turns
from tests.bench.sites import LARGE, MIDDLE, SMALL

ENGINE: tuple[tuple[str, Figures], ...] = (
    ("load.load", {"single": 1_000, "many": 25_000, "paced": 100, "delayed": 60}),
    ("mixed.mixed", {"short": 4_000, "long": 60, "seconds": 0.5}),
    ("waiting.waiting", {"count": 20_000, "slots": 200}),
    ("waiting.waiting", {"count": 40_000, "slots": 1_000}),
    ("waiting.waiting", {"count": 12_000, "slots": 200, "threads": True}),
    ("waiting.beside", {"slow": 150, "paced": 100}),
    ("waiting.held", {"slots": 1_000}),
    ("waiting.grown", {"count": 100_000, "slots": 1_000}),
    ("waiting.killed", {"slots": 200}),
    ("waiting.killed", {"slots": 200, "supervisor": True}),
    ("atomic.rows", {"count": 20_000}),
    ("progress.progress", {}),
    ("unique.unique", {"count": 30_000}),
    ("tasks.tasks", {"single": 1_000, "many": 25_000}),
    ("limits.limits", {"count": 100_000}),
    ("workflows.fan", {"count": 100_000}),
    ("workflows.streamed", {"count": 100_000}),
    ("sagas.events", {"sagas": 10_000, "each": 3}),
    ("sagas.events", {"sagas": 10_000, "each": 1, "tells": True}),
    ("sagas.hot", {"count": 1_000}),
    ("recurring.fired", {"count": 2_000}),
    ("recurring.started", {"minute": 1_000, "others": 9_000}),
    ("api.enqueue", {}),
    ("adopting.adopt", {"queued": 100_000, "scheduled": 100_000}),
    ("adopting.adopt", {"queued": 100_000, "scheduled": 100_000, "killed": True}),
    ("engine.promotion", {"count": 60_000}),
    ("engine.killed", {}),
    ("engine.flushed", {"count": 100_000}),
    ("scrapes.drained", {"count": 20_000}),
    ("engine.idle", {"seconds": 8}),
    ("frozen.calls", {"times": 60}),
)


def engine(places: Places, databases: Sequence[str]) -> Figures:
    """By database; each measurement has a database of its own."""
    results: Figures = {}
    for database in databases:
        figures = results[database] = {}
        for function, options in ENGINE:
            with places.get(database).copy() as there:
                figures |= there.measure(function, **options)
    return results


def growth(places: Places, databases: Sequence[str]) -> Figures:
    """By database, curve and point."""
    return {database: curves(places, database, (*CURVES, RECORDS)) for database in databases}


def curves(places: Places, database: str, wanted: Sequence[Curve]) -> Figures:
    """By curve and point; a load that stands on several curves is measured once."""
    loads = dict.fromkeys(load for curve in wanted for load in curve.points.values())
    seen: dict[Load | Waiting, Figures] = {}
    for load in loads:
        there = places.get(database, load.made_up)
        with nullcontext(there) if load.made_up else there.copy() as used:
            seen[load] = used.measure(load.function, **load.options())
    return {
        curve.along: {point: {name: seen[load][name] for name in curve.shown} for point, load in curve.points.items()}
        for curve in wanted
    }


def console(places: Places, databases: Sequence[str]) -> Figures:
    """By database and size: the pages and the export; at the larger size a bulk operation too."""
    results: Figures = {}
    for database in databases:
        figures = results[database] = compared(places, database, MIDDLE)
        figures[str(MIDDLE)]["other"] |= places.get(database, MIDDLE).measure("bulk.retry", count=100_000)
        figures[str(MIDDLE)]["other"] |= places.get(database, MIDDLE).measure("scrapes.scrape")
        figures[str(MIDDLE)]["other"] |= places.get(database, MIDDLE).measure("live.overviews", size=MIDDLE)
        with places.get(database, MIDDLE).copy() as there:
            figures[str(MIDDLE)]["other"] |= there.measure("crowded.exporting")
    return results


def large(places: Places, databases: Sequence[str]) -> Figures:
    """At ten million jobs on PostgreSQL, beside 100,000: the curve along records, the pages, and retention."""
    if "PostgreSQL" not in databases:
        return {}
    records = Curve("records", {"10k": RECORDS.points["10k"], "10M": Load(LARGE)}, RECORDS.shown)
    results = {"growth": curves(places, "PostgreSQL", [records])}
    results["console"] = compared(places, "PostgreSQL", LARGE)
    results["scrape"] = places.get("PostgreSQL", LARGE).measure("scrapes.scrape")
    results["live"] = places.get("PostgreSQL", LARGE).measure("live.overviews", size=LARGE)
    results["retention"] = places.get("PostgreSQL", LARGE).measure("retention.retention", old=1_000_000, seconds=60)
    return results


def compared(places: Places, database: str, size: int) -> Figures:
    """By size: the pages and the export at SMALL and at ``size``; each page in turns, a few requests here and there."""
    there = {of: places.get(database, of) for of in (SMALL, size)}
    measured = in_turns("pages.pages", [(where, {"size": of}) for of, where in there.items()])
    return {
        str(of): {"pages": figures, "other": where.measure("export.export", count=50_000)}
        for (of, where), figures in zip(there.items(), measured, strict=True)
    }


PARTS: dict[str, Callable[[Places, Sequence[str]], Figures]] = {
    "engine": engine, "growth": growth, "console": console, "large": large,
}  # fmt: skip
