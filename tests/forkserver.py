"""Starts ``manage.py`` processes by a fork where Django is set up already, which saves each of them a second.

They are what ``python manage.py`` would have made: with an environment, a session and an output of their own, and
without a thread or a connection. What settings read of the environment they read in the server, so there is one server
for each environment; the most recent ones stay. Only JOBS are set in the process itself, as tests may at any time. The
servers are forked, too, by one process that has imported what needs no settings: a third of what each would have to do.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import thresholds

ROOT = Path(__file__).parent.parent
KEPT = 12  # servers
# A process's own: nothing reads them while Django is set up, or what is read of them is set anew.
JOBS = ("TEST_BATCH", "TEST_JOBS", "TEST_THREADS")
OWN = ("PYTEST_CURRENT_TEST", "TEST_NOTES", thresholds.ASKED, "TMPDIR", *JOBS)
MOST_BYTES = 1 << 17
# Of other packages, and large; importing them asks for no settings.
EARLY = (
    "django.contrib.admin", "django.core.management", "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base", "django.test", "psutil", "pydantic", "redis.asyncio", "redis.sentinel", "rq",
    "rq_scheduler",
)  # fmt: skip

_servers: OrderedDict[str, _Server] = OrderedDict()
_makers: dict[str, _Maker] = {}


class Forked:
    """A process that the server of its environment forked; as ``subprocess.Popen`` to whoever waits for its end."""

    def __init__(self, env: Mapping[str, str], output: int, arguments: Sequence[str]) -> None:
        self.returncode: int | None = None
        self._told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = json.dumps([dict(env), list(arguments)]).encode()
            socket.send_fds(_server(env).requests, [request], [theirs.fileno(), output])
        pid = self._told.recv(64)
        if not pid:
            raise RuntimeError("Django was not set up with this environment; the test's error output says why")
        self.pid = int(pid)

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. subprocess.TimeoutExpired after ``timeout`` seconds."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = int(self._told.recv(64))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            self._told.close()
        return self.returncode

    def terminate(self) -> None:
        """SIGTERM, unless it has ended."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class _Maker:
    """The process that forks the servers. What Python itself reads of the environment it has read already."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.forkserver", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0
            )

    def end(self) -> None:
        """Make no more; the servers end when nobody can ask them."""
        self.requests.close()
        self._process.wait()


class _Server:
    """The process in which Django is set up with ``env``. When its requests are closed it starts no more, and ends."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(_maker(env).requests, [json.dumps(dict(env)).encode()], [theirs.fileno()])


def _maker(env: Mapping[str, str]) -> _Maker:
    key = json.dumps({name: value for name, value in env.items() if name.startswith("PYTHON")}, sort_keys=True)
    if key not in _makers:
        _makers[key] = _Maker(env)
    return _makers[key]


def _server(env: Mapping[str, str]) -> _Server:
    shared = {name: value for name, value in env.items() if name not in OWN}
    key = json.dumps(shared, sort_keys=True)
    if key not in _servers:
        _servers[key] = _Server(shared)
    _servers.move_to_end(key)
    while len(_servers) > KEPT:
        _servers.popitem(last=False)[1].requests.close()
    return _servers[key]


@atexit.register
def _end_all() -> None:
    while _servers:
        _servers.popitem()[1].requests.close()
    while _makers:
        _makers.popitem()[1].end()


def _serve(requests: socket.socket) -> tuple[bytes, list[int]] | None:
    """Fork at each request. Returns in what was forked, with the request; and None at the end of all requests."""
    while True:
        asked, fds, _, _ = socket.recv_fds(requests, MOST_BYTES, 2)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not asked:
            _see_them_end()
            return None
        if not os.fork():
            requests.close()
            return asked, fds
        for fd in fds:
            os.close(fd)


def _see_them_end() -> None:
    """Else what they used would count for nobody. Their tests have ended them; one that lives on is not waited for."""
    signal.alarm(10)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _begin(asked: bytes, answers: int, output: int) -> list[str]:
    """The process that was asked for is a child of this one, which tells how it ends."""
    if pid := os.fork():
        os.write(answers, str(pid).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it
            os.write(answers, str(code).encode())
        os._exit(0)
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(answers)
    os.close(output)
    env, arguments = json.loads(asked)
    _take(env)
    if any(name in env for name in JOBS):
        _set_jobs()
    if thresholds.ASKED in env:
        thresholds.put_off(of="handlers.rq_transport.")
        thresholds.put_off(of="handlers.atomically.")
    return [str(argument) for argument in arguments]


def _set_jobs() -> None:
    from django.conf import settings
    from django.core.signals import setting_changed

    from tests.settings import jobs_of

    settings.JOBS = jobs_of(os.environ)
    setting_changed.send(sender=None, setting="JOBS", value=settings.JOBS, enter=True)


def _take(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # as TMPDIR says now


def _load() -> None:
    """What each process would load by itself, but for what it is for."""
    import django
    from django.core.checks import run_checks

    django.setup()
    from django_rq.management.commands import rqworker  # noqa: F401

    from handlers.management.commands import scheduler, worker  # noqa: F401
    from handlers.rq_transport import batch, serving  # noqa: F401

    run_checks()
    gc.freeze()
    assert threading.active_count() == 1, "threads are not forked"


def _main(fd: int) -> list[str] | None:
    """Make servers. Returns in a process that one of them forked, with its arguments; and None at the end of all."""
    from django.core.exceptions import ImproperlyConfigured

    for module in EARLY:
        with contextlib.suppress(ImportError, ImproperlyConfigured):  # where there is no driver for PostgreSQL
            importlib.import_module(module)
    gc.freeze()
    with socket.socket(fileno=fd) as requests:
        made = _serve(requests)
    if made is None:
        return None
    asked, (fd,) = made
    _take(json.loads(asked))
    _load()
    with socket.socket(fileno=fd) as requests:
        forked = _serve(requests)
    if forked is None:
        os._exit(0)
    return _begin(forked[0], *forked[1])


if __name__ == "__main__":
    import manage

    told = _main(int(sys.argv[1]))
    if told is not None:
        sys.argv = ["manage.py", *told]
        manage.main()
