"""``make test``: starts the servers and runs the whole suite on SQLite and on PostgreSQL, all parts at once.

What needs running only once is a part of its own, for it takes as long as what runs on both databases: so three parts
of about the same length share the machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests import chromium, pgbouncer, servers

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5  # pytest's exit status when a selection matches nothing
OURS = ("DJANGO_", "JOBSITE_")
ONCE = "browser or once"


def main(arguments: Sequence[str]) -> int:
    """Run pytest, with ``arguments``, once per database; the exit status is 0 only if every test ran and passed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    browser = chromium.find() or chromium.install()
    if browser is None:
        print("error: the browser tests need Chromium: install it (Debian: apt install chromium), or set CHROMIUM.")
        if os.environ.get("CI"):
            return 1
        print("Running the other tests without it.")
    if (pgbouncer.find() or pgbouncer.install()) is None:
        print("error: the tests with a connection pooler need PgBouncer: install it (Debian: apt install pgbouncer).")
        if os.environ.get("CI"):
            return 1
        print("Running the other tests without it.")
    # What the person's shell sets for their own instance must not leak into the tests.
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    for name in ("PORT", "DATABASE_URL", "REDIS_URL"):
        env.pop(name, None)
    env["CHROMIUM"] = browser or ""
    once, twice = ONCE if browser else "once", f"not ({ONCE})"
    with (
        tempfile.TemporaryDirectory(prefix="jobsite-test-") as made,
        servers.valkey(Path(made) / "sqlite") as one,  # one each: tests empty it
        servers.valkey(Path(made) / "once") as another,
        servers.valkey(Path(made) / "postgresql") as third,
        servers.postgresql() as database,
    ):
        started = time.monotonic()
        aside = {name: Path(made) / f"{name}.log" for name in ("once", "postgresql")}
        # Reports of coverage of their own: none must take another's data for its own.
        envs = {name: env | {"COVERAGE_FILE": str(Path(made) / f"{name}.coverage")} for name in aside}
        with (
            aside["once"].open("w") as log_once,
            aside["postgresql"].open("w") as log_postgresql,
            pytest(twice, arguments, env | {"REDIS_URL": one}) as sqlite,
            pytest(once, arguments, envs["once"] | {"REDIS_URL": another}, log_once) as single,
            pytest(
                twice,
                arguments,
                envs["postgresql"] | {"REDIS_URL": third, "DATABASE_URL": database},
                log_postgresql,
            ) as postgresql,
        ):
            print("\n=== Tests on SQLite; meanwhile on PostgreSQL, and those that run once ===", flush=True)
            results = {"SQLite": sqlite.wait(), "Once": single.wait(), "PostgreSQL": postgresql.wait()}
        for title, name in (("that run once", "once"), ("on PostgreSQL", "postgresql")):
            print(f"\n=== Tests {title} ===\n{aside[name].read_text(errors='replace')}", flush=True)
    took = time.monotonic() - started
    told = ", ".join(f"{name} {'passed' if code in (0, NO_TESTS) else 'FAILED'}" for name, code in results.items())
    print(f"\n{told} in {took:.0f} s", flush=True)
    codes = set(results.values())
    return NO_TESTS if codes == {NO_TESTS} else max(abs(code) for code in codes - {NO_TESTS})  # below zero: a signal


@contextlib.contextmanager
def pytest(
    marks: str, arguments: Sequence[str], env: Mapping[str, str], output: IO[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The suite, running on one database. Its process has ended when the context has."""
    command = [sys.executable, "-m", "pytest", "-m", marks, *arguments]
    aside: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, cwd=ROOT, env=env, **(aside if output else {}))
    try:
        yield process
    finally:
        process.terminate()  # Ctrl-C reached it too, but a SIGTERM to this process alone did not
        process.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
