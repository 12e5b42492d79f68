"""``make bench`` and ``make bench-large``: measure, print tables, draw charts; figures and charts stay in var/bench.

Shared machines vary by a factor of two: compare figures of one run, not of two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from contextlib import ExitStack

from tests.bench import charts, report
from tests.bench.measure import end_when_asked
from tests.bench.parts import PARTS
from tests.bench.places import DATABASES, Figures, Places
from tests.bench.sites import LARGE
from tests.processes import ROOT

KEPT = ROOT / "var" / "bench"
DOCS = ROOT / "docs" / "performance"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    usual = [part for part in PARTS if part != "large"]
    parser.add_argument("--only", default=",".join(usual), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--database", default=",".join(DATABASES), help="SQLite, PostgreSQL or both")
    parser.add_argument("--docs", action="store_true", help=f"draw the charts into {DOCS.relative_to(ROOT)} too")
    parser.add_argument("--draw", action="store_true", help="measure nothing: tables and charts of the last run")
    asked = parser.parse_args()
    parts = chosen(parser, asked.only, list(PARTS))
    databases = chosen(parser, asked.database, list(DATABASES))
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = KEPT / ("results-large.json" if "large" in parts else "results.json")
    if not asked.draw:
        kept.write_text(json.dumps(measure(parts, databases), indent=1) + "\n")
    results = json.loads(kept.read_text())
    print(*report.tables(results), sep="\n")
    for folder in (KEPT, DOCS) if asked.docs else (KEPT,):
        folder.mkdir(parents=True, exist_ok=True)
        for name, svg in charts.drawn(results):
            (folder / f"{name}.svg").write_text(svg)


def chosen(parser: argparse.ArgumentParser, words: str, known: list[str]) -> list[str]:
    """Those of ``known`` that the comma-separated ``words`` name, in any case."""
    wanted = words.lower().split(",")
    if unknown := set(wanted) - {name.lower() for name in known}:
        parser.error(f"{', '.join(sorted(unknown))}: known are {', '.join(known)}")
    return [name for name in known if name.lower() in wanted]


def measure(parts: list[str], databases: list[str]) -> Figures:
    """The figures of ``parts``, with the machine they are of."""
    began = time.monotonic()
    results: Figures = {}
    with ExitStack() as stack:
        places = Places(stack)
        if "large" in parts:  # made once, and kept
            places.get("PostgreSQL", LARGE, folder=KEPT / f"postgresql-{LARGE}")
        for part in parts:
            results[part] = PARTS[part](places, databases)
        versions = ", ".join(places.versions())
    minutes = (time.monotonic() - began) / 60
    return {"machine": f"{machine()}; {versions}; {minutes:.1f} minutes", **results}


def machine() -> str:
    """What the figures are of."""
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"


if __name__ == "__main__":
    end_when_asked()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
