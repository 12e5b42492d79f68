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
from tests.servers import free_port

_PACKAGE = "pgbouncer"
PORT = "6432"


def find() -> str | None:
    """The path of a PgBouncer on this machine, or None. Debian keeps it where only root's PATH leads."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def install() -> str | None:
    """Install PgBouncer with apt where this user may; its path, or None where that does not work."""
    return find() if apt.install(_PACKAGE, "the tests with a connection pooler") else None


@contextlib.contextmanager
def running(
    program: str, server: Mapping[str, Any], *, pool: int, clients: int = 200, tls: tuple[Path, Path] | None = None
) -> Iterator[dict[str, Any]]:
    """PgBouncer in transaction mode over ``pool`` connections to ``server`` (an entry of DATABASES, on a unix socket).

    ``clients``: how many may be connected to it.

    Yields the entry that leads through it. ``tls``: key and certificate; it listens at ``localhost`` too then, for
    nobody who does not speak TLS.
    """
    owner = pwd.getpwuid(
        Path(server["HOST"]).stat().st_uid
    )  # PostgreSQL's folder, and its socket in it, may be private
    port = str(free_port()) if tls else PORT
    with tempfile.TemporaryDirectory(prefix="jobsite-pgbouncer-") as made:
        folder = Path(made)
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={server['HOST']} port={server['PORT'] or 5432} user={server['USER']}\n"
            "[pgbouncer]\n"
            f"listen_addr = {'127.0.0.1' if tls else ''}\nlisten_port = {port}\nunix_socket_dir = {folder}\n"
            "auth_type = any\n"
            f"{_tls(tls, folder)}pool_mode = transaction\ndefault_pool_size = {pool}\nmax_client_conn = {clients}\n"
        )
        command = [program, "--quiet"]
        if os.geteuid() == 0:  # it refuses to run as root
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            (folder / "pgbouncer.ini").chmod(0o644)
            command += ["--user", owner.pw_name]
            for path in folder.glob("*.pem"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        process = subprocess.Popen([*command, str(folder / "pgbouncer.ini")], start_new_session=True)
        try:
            address = str(folder / f".s.PGSQL.{port}")
            wait_for("PgBouncer listens", lambda: _answers(address) or process.poll() is not None)
            assert process.poll() is None, "PgBouncer did not start"
            yield dict(server) | {"HOST": "localhost" if tls else str(folder), "PORT": port}
        finally:
            process.terminate()
            process.wait(10)


def _tls(files: tuple[Path, Path] | None, folder: Path) -> str:
    """Its settings for TLS, by copies in its own folder, which it may read whoever it runs as."""
    if files is None:
        return ""
    key, certificate = (
        shutil.copy(path, folder / f"{name}.pem") for path, name in zip(files, ("key", "cert"), strict=True)
    )
    return f"client_tls_sslmode = require\nclient_tls_key_file = {key}\nclient_tls_cert_file = {certificate}\n"


def _answers(address: str) -> bool:
    """Whether a client may connect: the socket is there a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(address) == 0
