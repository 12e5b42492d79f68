"""``make bench``: the engine's own figures on both databases, with real servers; a table at the end.

Shared machines vary by a factor of two: compare figures of one run, not of two.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import servers
from tests.processes import ROOT


def main() -> None:
    """Measure on SQLite and on PostgreSQL and print the table."""
    tables = {}
    with servers.postgresql(durable=True) as url:
        for name, database in (("SQLite", ""), ("PostgreSQL", url)):
            with (
                tempfile.TemporaryDirectory(prefix="jobsite-bench-") as folder,
                servers.valkey(Path(folder) / "redis") as redis_url,
            ):
                env = os.environ | {
                    "DJANGO_SETTINGS_MODULE": "jobsite.settings",
                    "JOBSITE_APPS": "tests.app",
                    "JOBSITE_DATA": folder,
                    "DATABASE_URL": database,
                    "REDIS_URL": redis_url,
                    "TMPDIR": folder,
                }
                done = subprocess.run(
                    [sys.executable, "-m", "tests.bench.work"], cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True
                )
                tables[name] = json.loads(done.stdout)
    names = list(tables)
    print(f"{'':44}" + "".join(f"{name:>14}" for name in names))
    for figure in tables[names[0]]:
        print(f"{figure:44}" + "".join(f"{tables[name][figure]:>14,.2f}" for name in names))


if __name__ == "__main__":
    main()
