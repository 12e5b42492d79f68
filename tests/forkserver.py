"""Starts ``manage.py`` processes by a fork where Django is set up already, which saves each of them a second.

They are what ``python manage.py`` would have made: with an environment, a session and an output of their own, and
without a thread or a connection. What settings read of the environment they read in the server, so there is one server
for each environment; the most recent ones stay.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
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

ROOT = Path(__file__).parent.parent
KEPT = 12  # servers: each costs two seconds to make, and some 60 MB
OWN = ("PYTEST_CURRENT_TEST", "TEST_NOTES", "TMPDIR")  # a process's own: nothing reads them while Django is set up
MOST_BYTES = 1 << 17

_servers: OrderedDict[str, _Server] = OrderedDict()


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


class _Server:
    """The process in which Django is set up with ``env``."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.forkserver", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0
            )

    def end(self) -> None:
        """Start no more; what it started lives on."""
        self.requests.close()
        self._process.kill()
        self._process.wait()


def _server(env: Mapping[str, str]) -> _Server:
    shared = {name: value for name, value in env.items() if name not in OWN}
    key = json.dumps(shared, sort_keys=True)
    if key not in _servers:
        _servers[key] = _Server(shared)
    _servers.move_to_end(key)
    while len(_servers) > KEPT:
        _servers.popitem(last=False)[1].end()
    return _servers[key]


@atexit.register
def _end_all() -> None:
    while _servers:
        _servers.popitem()[1].end()


def _serve(requests: socket.socket) -> list[str] | None:
    """Fork at each request. Returns in what was forked, with its arguments; and None at the end of all requests."""
    while True:
        asked, fds, _, _ = socket.recv_fds(requests, MOST_BYTES, 2)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not asked:
            return None
        if not os.fork():
            return _begin(requests, asked, *fds)
        for fd in fds:
            os.close(fd)


def _begin(requests: socket.socket, asked: bytes, answers: int, output: int) -> list[str]:
    """The process that was asked for is a child of this one, which tells how it ends."""
    requests.close()
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
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # as TMPDIR says now
    return [str(argument) for argument in arguments]


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


if __name__ == "__main__":
    import manage

    _load()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        arguments = _serve(connection)
    if arguments is not None:
        sys.argv = ["manage.py", *arguments]
        manage.main()
