"""``make test``: starts the servers once and runs the whole suite on SQLite, then on PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import chromium, servers

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5  # pytest's exit status when a selection matches nothing
OURS = ("DJANGO_", "JOBSITE_")
NOT_TWICE = "not browser and not once"


def main(arguments: Sequence[str]) -> int:
    """Run pytest, with ``arguments``, once per database; the exit status is 0 only if every test ran and passed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    browser = chromium.find() or chromium.install()
    if browser is None:
        print("error: the browser tests need Chromium: install it (Debian: apt install chromium), or set CHROMIUM.")
        if os.environ.get("CI"):
            return 1
        print("Running the other tests without it.")
    # What the person's shell sets for their own instance must not leak into the tests.
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    for name in ("PORT", "DATABASE_URL", "REDIS_URL"):
        env.pop(name, None)
    env["CHROMIUM"] = browser or ""
    with (
        tempfile.TemporaryDirectory(prefix="jobsite-test-") as folder,
        servers.valkey(Path(folder) / "redis") as redis_url,
    ):
        env["REDIS_URL"] = redis_url
        started = time.monotonic()
        results = {"SQLite": run_pytest("SQLite", "" if browser else "not browser", arguments, env)}
        with servers.postgresql() as url:
            results["PostgreSQL"] = run_pytest("PostgreSQL", NOT_TWICE, arguments, env | {"DATABASE_URL": url})
    took = time.monotonic() - started
    told = ", ".join(f"{name} {'passed' if code in (0, NO_TESTS) else 'FAILED'}" for name, code in results.items())
    print(f"\n{told} in {took:.0f} s", flush=True)
    codes = set(results.values())
    return NO_TESTS if codes == {NO_TESTS} else max(codes - {NO_TESTS})


def run_pytest(database: str, marks: str, arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the suite on one database; pytest's exit status."""
    print(f"\n=== Tests on {database} ===", flush=True)
    command = [sys.executable, "-m", "pytest", *(["-m", marks] if marks else []), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()  # Ctrl-C reached it too, but a SIGTERM to this process alone did not
        process.wait()
        raise


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
