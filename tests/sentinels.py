"""A real Sentinel that watches a real master and its replica, on free ports of this machine."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from handlers.rq_transport import embedded
from tests.processes import wait_for
from tests.servers import free_port

NAME = "jobs"
DOWN_AFTER_MILLISECONDS = 400


class Watched:
    """The servers, and which of them is the master."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._running = folder, contextlib.ExitStack()
        self.first, self.second, self.sentinel = (free_port() for _ in range(3))
        self._first: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How JOBS names them."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel}/{NAME}/0"

    def start(self) -> None:
        """Start all three, and wait until the Sentinel knows both others."""
        self._first = self._server(self.first)
        self._server(self.second, "--replicaof", "127.0.0.1", str(self.first))
        # First, because a Sentinel that knows no replica yet looks for one each ten seconds.
        wait_for("the replica is up to date", self._has_replica)
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {self.sentinel}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {self.first} 1\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MILLISECONDS}\n"
            f"sentinel failover-timeout {NAME} 2000\n"
        )
        self._run(str(embedded.find_binary()), str(config), "--sentinel")
        wait_for("Sentinel knows the replica", self._is_ready)

    def freeze_master(self) -> None:
        """Let the first master answer nothing more."""
        assert self._first is not None
        self._first.send_signal(signal.SIGSTOP)

    def thaw_master(self) -> None:
        """Let it go on."""
        assert self._first is not None
        self._first.send_signal(signal.SIGCONT)

    def master_port(self) -> int:
        """Who the Sentinel says is the master."""
        with Redis(port=self.sentinel) as client:
            return int(client.sentinel_get_master_addr_by_name(NAME)[1])

    def demote_first(self) -> None:
        """Make the first master the replica of the second and close its clients, as Sentinel does ten seconds later."""
        with Redis(port=self.first) as client:
            client.replicaof("127.0.0.1", self.second)
            client.client_kill_filter(_type="normal")
            client.client_kill_filter(_type="pubsub")

    def end(self) -> None:
        """Leave nothing behind."""
        self._running.close()

    def _has_replica(self) -> bool:
        with contextlib.suppress(RedisError, KeyError), Redis(port=self.second) as second:
            return bool(second.info("replication")["master_link_status"] == "up")
        return False

    def _is_ready(self) -> bool:
        with contextlib.suppress(RedisError), Redis(port=self.sentinel) as sentinel:
            return bool(sentinel.sentinel_slaves(NAME))
        return False

    def _server(self, port: int, *options: str) -> subprocess.Popen[bytes]:
        folder = self._folder / str(port)
        folder.mkdir()
        named = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
        return self._run(str(embedded.find_binary()), *named, "--repl-diskless-sync-delay", "0")

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        self._running.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # a stopped one too
    process.wait()


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Master, replica and Sentinel, running."""
    servers = Watched(folder)
    try:
        servers.start()
        yield servers
    finally:
        servers.end()
