"""``make test``: starts the servers and runs the whole suite on SQLite and on PostgreSQL, some parts side by side.

What needs running only once is apart, and so are the tests in a browser and those with real processes, which wait for
much. As many parts run at once as there are processors, and three more of those that wait; each kind has its longest
first, and short ones at the end, so that all processors are busy until then. More of them at once would make each so
slow that what it waits for comes too late, and would not be done earlier.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests import chromium, parts, pgbouncer, promtool, template
from tests.parts import EARLY, Part

NO_TESTS = 5  # pytest's exit status when a selection matches nothing
OURS = ("DJANGO_", "JOBSITE_")
ONCE = "browser or once"
SLOWEST = 15  # of all tests, told at the end
PROGRAMS: dict[str, Callable[[], str | None]] = {
    "the tests with a connection pooler need PgBouncer: install it (Debian: apt install pgbouncer)": lambda: (
        pgbouncer.find() or pgbouncer.install()
    ),
    "the tests of alert rules need promtool: install it (Debian: apt install prometheus)": lambda: (
        promtool.find() or promtool.install()
    ),
}


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
    chosen = list(_parts(with_browser=bool(browser)))
    first, *others = chosen
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jobsite-test-") as made:
        print(
            f"\n=== Tests, {first.name}; meanwhile, or then, {', '.join(part.name for part in others)} ===", flush=True
        )
        env[template.NAMED] = str(Path(made) / "template")
        template.make(Path(made) / "template", env)
        outcomes = parts.run(chosen, arguments, env, Path(made))
        for part in others:
            said = parts.log_of(part, Path(made)).read_text(errors="replace")
            print(f"\n=== Tests, {part.name} ===\n{said}", flush=True)
    took = time.monotonic() - started
    print("", *parts.costs(outcomes, SLOWEST), sep="\n")
    words = {0: "passed", NO_TESTS: "passed", EARLY: "ENDED BEFORE ITS LAST TEST"}
    told = ", ".join(f"{part.name} {words.get(outcome.code, 'FAILED')}" for part, outcome in outcomes.items())
    print(f"\n{told} in {took:.0f} s", flush=True)
    codes = {outcome.code for outcome in outcomes.values()}
    return NO_TESTS if codes == {NO_TESTS} else max(abs(code) for code in codes - {NO_TESTS})  # below zero: a signal


def _parts(*, with_browser: bool) -> Iterator[Part]:
    """The longest first. Each costs its own database and its collection: no more of them than keep a machine busy."""
    yield from _shares(2, "PostgreSQL", "tests", f"not ({ONCE} or faults)", on_postgresql=True)
    yield Part("once", "tests", "once and not (browser or faults)")
    yield Part("SQLite", "tests", f"not ({ONCE} or faults)")
    if with_browser:
        yield Part("browser", "tests/browser", "browser", waits=True)
    yield from _shares(3, "SQLite-faults", "tests/faults", "not browser", waits=True)  # with those that run once
    yield from _shares(3, "PostgreSQL-faults", "tests/faults", f"not ({ONCE})", on_postgresql=True, waits=True)


def _shares(number: int, name: str, folder: str, marks: str, **options: bool) -> Iterator[Part]:
    for share in range(1, number + 1):
        yield Part(f"{name}-{share}", folder, marks, f"{share}/{number}", **options)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
