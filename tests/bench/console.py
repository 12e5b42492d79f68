"""``make bench-console`` and ``make bench-large``: the console's pages at size, on both databases, with a table.

``large``: ten million jobs on PostgreSQL and a million on SQLite, against 100,000 on each. They are made once, under
the data folder (var/bench), and kept. Otherwise a million and 100,000, made anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests import servers
from tests.processes import ROOT

SMALL = 100_000


def main() -> None:
    """Measure, and print one table for each database."""
    large = "large" in sys.argv[1:]
    sizes = {"SQLite": 1_000_000, "PostgreSQL": 10_000_000 if large else 1_000_000}
    with ExitStack() as stack:
        kept = ROOT / "var" / "bench"
        folder = kept if large else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobsite-bench-")))
        for database, size in sizes.items():
            tables = {
                count: measure(database, count, folder / f"{database.lower()}-{count}") for count in (SMALL, size)
            }
            show(database, tables[SMALL], tables[size], size)


def measure(database: str, size: int, folder: Path) -> dict[str, Any]:
    """The figures of ``size`` jobs on ``database``, whose data lies in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        url = ""
        if database == "PostgreSQL":
            url = stack.enter_context(servers.postgresql(durable=True, folder=folder / "pg"))
        redis = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobsite-bench-")))
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "JOBSITE_APPS": "tests.bench.seeded",
            "JOBSITE_DATA": str(folder),
            "DATABASE_URL": url,
            "REDIS_URL": stack.enter_context(servers.valkey(redis / "redis")),
        }
        command = [sys.executable, "-m", "tests.bench.pages", str(size), *(["bulk"] if size > SMALL else [])]
        print(f"{database}, {size:,} jobs", file=sys.stderr)
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True)
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures


def show(database: str, small: dict[str, Any], large: dict[str, Any], size: int) -> None:
    """Print a table."""
    print(f"\n{database}: server time in ms, p50 / p95")
    print(f"{'':32}{f'{SMALL:,}':>16}{f'{size:,}':>18}{'ratio':>8}{'queries':>9}{'KiB':>7}")
    for page, at in large["pages"].items():
        before = small["pages"][page]
        if "status" in at:
            print(f"{page:32} answers {at['status']}")
            continue
        cells = f"{before['p50']:7.1f} /{before['p95']:7.1f}", f"{at['p50']:7.1f} /{at['p95']:7.1f}"
        ratio = at["p50"] / before["p50"]
        print(f"{page:32}{cells[0]:>16}{cells[1]:>18}{ratio:8.2f}{at['queries']:9}{at['kib']:7.0f}")
    overview = large["pages"]["Overview"]
    if "cpu" in overview:
        print(f"An open, live Overview: {overview['cpu'] / 5_000:.2%} of one core (one request in 5 s)")
    for name in ("export", "bulk"):
        if name in large:
            print(f"{name}: " + ", ".join(f"{key} {value:,.1f}" for key, value in large[name].items()))


if __name__ == "__main__":
    main()
