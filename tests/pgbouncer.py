"""The system's PgBouncer: the pooler that stands between clients and PostgreSQL in tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests import apt
from tests.processes import wait_for

_PACKAGE = "pgbouncer"
PORT = "6432"


def find() -> str | None:
    """The path of a PgBouncer on this machine, or None. Debian keeps it where only root's PATH leads."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def install() -> str | None:
    """Install PgBouncer with apt where this user may; its path, or None where that does not work."""
    return find() if apt.install(_PACKAGE, "the tests with a connection pooler") else None


@contextlib.contextmanager
def running(program: str, server: Mapping[str, Any], *, pool: int) -> Iterator[dict[str, Any]]:
    """PgBouncer in transaction mode over ``pool`` connections to ``server`` (an entry of DATABASES, on a unix socket).

    Yields the entry that leads through it.
    """
    owner = pwd.getpwuid(
        Path(server["HOST"]).stat().st_uid
    )  # PostgreSQL's folder, and its socket in it, may be private
    with tempfile.TemporaryDirectory(prefix="jobsite-pgbouncer-") as made:
        folder = Path(made)
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={server['HOST']} port={server['PORT'] or 5432} user={server['USER']}\n"
            "[pgbouncer]\n"
            f"listen_addr =\nlisten_port = {PORT}\nunix_socket_dir = {folder}\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {pool}\nmax_client_conn = 200\n"
        )
        command = [program, "--quiet"]
        if os.geteuid() == 0:  # it refuses to run as root
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            (folder / "pgbouncer.ini").chmod(0o644)
            command += ["--user", owner.pw_name]
        process = subprocess.Popen([*command, str(folder / "pgbouncer.ini")], start_new_session=True)
        try:
            address = str(folder / f".s.PGSQL.{PORT}")
            wait_for("PgBouncer listens", lambda: _answers(address) or process.poll() is not None)
            assert process.poll() is None, "PgBouncer did not start"
            yield dict(server) | {"HOST": str(folder), "PORT": PORT}
        finally:
            process.terminate()
            process.wait(10)


def _answers(address: str) -> bool:
    """Whether a client may connect: the socket is there a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(address) == 0
