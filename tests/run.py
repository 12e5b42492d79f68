"""``make test``: starts the servers and runs the whole suite on SQLite and on PostgreSQL, all parts at once.

What needs running only once is apart, and so are the tests in a browser and those with real processes, so that the
parts are about as long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests import chromium, pgbouncer, promtool, servers

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5  # pytest's exit status when a selection matches nothing
EARLY = 9  # none of pytest's
OURS = ("DJANGO_", "JOBSITE_")
ONCE = "browser or once"
SHARES = 2  # parts of the tests with real processes, on each database: much of their time is waiting
PROGRAMS: dict[str, Callable[[], str | None]] = {
    "the tests with a connection pooler need PgBouncer: install it (Debian: apt install pgbouncer)": lambda: (
        pgbouncer.find() or pgbouncer.install()
    ),
    "the tests of alert rules need promtool: install it (Debian: apt install prometheus)": lambda: (
        promtool.find() or promtool.install()
    ),
}

Part = tuple[str, str, dict[str, str]]  # the folder, which of its tests, and variables of the environment


def main(arguments: Sequence[str]) -> int:
    """Run pytest, with ``arguments``, once per database; the exit status is 0 only if every test ran and passed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    browser = chromium.find() or chromium.install()
    missing = [what for what, is_there in PROGRAMS.items() if not is_there()]
    if browser is None:
        missing.append("the browser tests need Chromium: install it (Debian: apt install chromium), or set CHROMIUM")
    for what in missing:
        print(f"error: {what}.")
    if missing:
        if os.environ.get("CI"):
            return 1
        print("Running the other tests without it.")
    # What the person's shell sets for their own instance must not leak into the tests.
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    for name in ("PORT", "DATABASE_URL", "REDIS_URL"):
        env.pop(name, None)
    # Else each of the thousand processes that tests start would compile the project anew.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["CHROMIUM"] = browser or ""
    with contextlib.ExitStack() as stack:
        made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobsite-test-")))
        parts = dict(_parts(stack, with_browser=bool(browser)))
        running: dict[str, subprocess.Popen[bytes]] = {}
        started = time.monotonic()
        print(f"\n=== Tests on SQLite; meanwhile {', '.join(list(parts)[1:])} ===", flush=True)
        for name, (folder, marks, variables) in parts.items():
            # A server of its own, because tests empty it; and a report of coverage that is no other part's data.
            own = {
                "REDIS_URL": stack.enter_context(servers.valkey(made / name)),
                "TESTS_ENDED": str(made / f"{name}.ended"),
            }
            if running:
                own["COVERAGE_FILE"] = str(made / f"{name}.coverage")
            log = stack.enter_context((made / f"{name}.log").open("w")) if running else None
            running[name] = stack.enter_context(pytest(folder, marks, arguments, env | own | variables, log))
        results = {name: process.wait() for name, process in running.items()}
        # Code under test may end its process, with status 0 and half of the tests: that is no success.
        results |= {name: EARLY for name, code in results.items() if not code and not (made / f"{name}.ended").exists()}
        for name in list(parts)[1:]:
            print(f"\n=== Tests, {name} ===\n{(made / f'{name}.log').read_text(errors='replace')}", flush=True)
    took = time.monotonic() - started
    words = {0: "passed", NO_TESTS: "passed", EARLY: "ENDED BEFORE ITS LAST TEST"}
    told = ", ".join(f"{name} {words.get(code, 'FAILED')}" for name, code in results.items())
    print(f"\n{told} in {took:.0f} s", flush=True)
    codes = set(results.values())
    return NO_TESTS if codes == {NO_TESTS} else max(abs(code) for code in codes - {NO_TESTS})  # below zero: a signal


def _parts(stack: contextlib.ExitStack, *, with_browser: bool) -> Iterator[tuple[str, Part]]:
    """The parts by their names, each with a database server of its own where it needs one."""
    twice = f"not ({ONCE})"
    yield from _on_both("", ("tests", f"{twice} and not faults", {}), stack)
    for number in range(1, SHARES + 1):
        share = {"TESTS_SHARE": f"{number}/{SHARES}"}
        yield from _on_both(f"-faults-{number}", ("tests/faults", twice, share), stack)
    yield "once", ("tests", "once and not browser", {})
    if with_browser:
        yield "browser", ("tests/browser", "browser", {})


def _on_both(name: str, part: Part, stack: contextlib.ExitStack) -> Iterator[tuple[str, Part]]:
    folder, marks, variables = part
    yield f"SQLite{name}", part
    url = stack.enter_context(servers.postgresql())
    yield f"PostgreSQL{name}", (folder, marks, variables | {"DATABASE_URL": url})


@contextlib.contextmanager
def pytest(
    folder: str, marks: str, arguments: Sequence[str], env: Mapping[str, str], output: IO[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The suite, running on one database. Its process has ended when the context has."""
    command = [sys.executable, "-m", "pytest", "-o", f"testpaths={folder}", "-m", marks, *arguments]
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
