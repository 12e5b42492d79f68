"""Servers that speak TLS only, with certificates of an authority that is made for the test."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import trustme
from redis import Redis
from redis.exceptions import RedisError

from tests import apt
from tests.processes import wait_for
from tests.servers import free_port

# The Valkey of the wheel has no TLS; Debian's Redis has. Its server is the same program as its checker of snapshots.
_PACKAGES = ("redis-tools", "libjemalloc2", "liblzf1")


class Certificate(NamedTuple):
    """Files of a server for ``localhost``, and of whom its clients have to trust."""

    key: Path
    certificate: Path
    authority: Path


def make_certificate(folder: Path) -> Certificate:
    """Made anew, in ``folder``."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    made = Certificate(folder / "key.pem", folder / "certificate.pem", folder / "authority.pem")
    issued.private_key_pem.write_to_path(str(made.key))
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(str(made.authority))
    return made


@contextlib.contextmanager
def redis(folder: Path, certificate: Certificate) -> Iterator[str | None]:
    """Debian's Redis, without a port for whoever does not speak TLS; yields its URL, None where it cannot be had."""
    if not apt.unpack(_PACKAGES, folder):
        yield None
        return
    port, server = free_port(), folder / "redis-server"
    server.symlink_to(folder / "usr/bin/redis-check-rdb")
    libraries = sorted({str(path.parent) for path in folder.glob("usr/lib/**/*.so*")})
    options = {
        "port": "0", "tls-port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": "",
        "tls-key-file": str(certificate.key), "tls-cert-file": str(certificate.certificate),
        "tls-ca-cert-file": str(certificate.authority), "tls-auth-clients": "no",
    }  # fmt: skip
    named = [word for name, value in options.items() for word in (f"--{name}", value)]
    env = os.environ | {"LD_LIBRARY_PATH": ":".join(libraries)}
    process = subprocess.Popen([str(server), *named], env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    url = f"rediss://localhost:{port}/0?ssl_ca_certs={certificate.authority}"
    try:
        wait_for("the Redis server answers", lambda: process.poll() is not None or _answers(url))
        assert process.poll() is None, "the Redis server did not start"
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(RedisError), Redis.from_url(url) as client:
        return bool(client.ping())
    return False
