"""The supervisor of ``manage.py run``: starts again, stops in order, leaves nothing behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from handlers.one_machine import supervisor as module
from handlers.one_machine.supervisor import Service, StartFailed, Supervisor
from tests import processes

pytestmark = pytest.mark.once
STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, os.environ, said.append)
    yield supervisor
    supervisor.stop_requests = 2
    supervisor.stop()


def service(code: str, name: str = "it", stop_seconds: float = 10.0) -> Service:
    return Service(name, [sys.executable, "-S", "-c", code], stop_seconds)


def wait_for(condition: Callable[[], bool]) -> None:
    processes.wait_for("what was to come", condition)


def test_supervisor_gives_up_when_a_child_ends_at_the_start(supervisor: Supervisor) -> None:
    supervisor.start(service("import sys; sys.exit(3)"))
    with pytest.raises(StartFailed, match=r"^it ended with exit status 3 at the start; its message is above\.$"):
        supervisor.wait_until(lambda: False, 30, "nothing")


def test_supervisor_gives_up_when_nothing_answers_in_time(supervisor: Supervisor) -> None:
    supervisor.start(service("import time; time.sleep(600)"))
    with pytest.raises(StartFailed, match=r"^no answer within 0 seconds"):
        supervisor.wait_until(lambda: False, 0, "no answer")


def test_supervisor_waits_longer_each_time_a_child_dies(supervisor: Supervisor, said: list[str]) -> None:
    dying = service("raise SystemExit(1)")
    for deaths in range(1, 8):
        supervisor.start(dying)
        wait_for(lambda: not dying.is_alive)
        supervisor._look_after(dying)
        assert dying.deaths == deaths
    assert [line.split(" in ")[1] for line in said] == ["1 s.", "2 s.", "4 s.", "8 s.", "16 s.", "30 s.", "30 s."]


def test_supervisor_forgets_old_deaths_of_a_child_that_lived_long(supervisor: Supervisor) -> None:
    dying = service("raise SystemExit(1)")
    supervisor.start(dying)
    dying.deaths = 9
    dying.started_at -= module.STEADY_SECONDS + 1
    wait_for(lambda: not dying.is_alive)
    supervisor._look_after(dying)
    assert dying.deaths == 1


def test_supervisor_restarts_what_is_named_and_forgets_that_it_died(supervisor: Supervisor) -> None:
    named, other = (service("import time; time.sleep(600)", name) for name in ("named", "other"))
    dead = service("raise SystemExit(1)", "dead")
    for each in (named, other, dead):
        supervisor.start(each)
    wait_for(lambda: not dead.is_alive)
    supervisor._look_after(dead)
    assert dead.deaths == 1
    before = named.process, other.process
    supervisor.restart("named", "dead")
    assert before[0] is not None
    assert before[0].poll() is not None
    assert (named.is_alive, dead.process is not None, dead.deaths) == (True, True, 0)
    assert other.process is before[1]
    assert other.is_alive


def test_supervisor_stops_what_others_need_last_and_the_others_at_once(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    code = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n"
        "    open({trace!r}, 'a').write({name!r})\n"
        "    while len(open({trace!r}).read()) < 2: time.sleep(0.01)\n"  # until another was told, too
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path({up!r}).touch(); time.sleep(600)"
    )
    for name in "abc":
        up = tmp_path / f"up-{name}"
        it = service(code.format(trace=str(trace), name=name, up=str(up)), name)
        it.is_needed = name == "a"
        supervisor.start(it)
        wait_for(up.exists)
    supervisor.stop_requests = 1
    supervisor.stop()
    assert (sorted(trace.read_text()[:2]), trace.read_text()[2:]) == (["b", "c"], "a")
    assert said == []


def test_supervisor_kills_what_does_not_stop_and_what_a_child_left_behind(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    mark = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, pathlib\n"
        f"p = subprocess.Popen([sys.executable, '-S', '-c', {STUBBORN!r}], stdout=subprocess.PIPE, process_group=0)\n"
        f"p.stdout.readline(); pathlib.Path({str(mark)!r}).write_text(str(p.pid) + '\\n')\n{STUBBORN}"
    )
    supervisor.start(service(code, stop_seconds=0.1))
    wait_for(lambda: mark.exists() and mark.read_text().endswith("\n"))
    grandchild = psutil.Process(int(mark.read_text()))
    supervisor.stop_requests = 1
    supervisor.stop()
    assert said == ["it did not stop within 0 s; killing it."]
    wait_for(lambda: not processes.lives(grandchild))
