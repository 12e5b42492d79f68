"""What stands between processes and PostgreSQL and can fall silent: it takes all that is sent and passes nothing on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.conftest import database_url


class Relay:
    """A TCP port of this host that leads to a server's unix socket."""

    def __init__(self, server: Mapping[str, Any], port: int) -> None:
        self._path = f"{server['HOST']}/.s.PGSQL.{server['PORT'] or 5432}"
        self._listener, self.port = socket.create_server(("127.0.0.1", port)), port
        self.url = database_url(dict(server) | {"HOST": "127.0.0.1", "PORT": port})
        self._gates = [_open_gate()]  # the first is that of connections to come, the others those of open ones
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self.held = 0  # pieces that came from clients in silence
        self.kept_waiting = 0  # clients that connected in silence
        self._start(self._accept)

    def silence(self, *, of_open: bool = True, of_new: bool = True) -> None:
        """Pass nothing on from now on, of connections that are open, and of those to come."""
        self.held = self.kept_waiting = 0
        for gate in self._gates[0 if of_new else 1 : None if of_open else 1]:
            gate.clear()

    def hang_up(self) -> None:
        """End the connections that are open."""
        for each in self._sockets[1:]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def speak(self) -> None:
        """Pass on what was held back, and what comes."""
        for gate in self._gates:
            gate.set()

    def close(self) -> None:
        """Hang up."""
        self._is_closed = True
        self.speak()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._sockets.append(client)
            self.kept_waiting += not self._gates[0].is_set()
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            self._gates[0].wait()
            if self._is_closed:
                return
            self._sockets.append(server)
            server.connect(self._path)
            self._gates.append(gate := _open_gate())
            answers = self._start(self._pass_on, server, client, gate)
            with contextlib.suppress(OSError):
                self._pass_on(client, server, gate, asks=True)
            answers.join()

    def _pass_on(self, source: socket.socket, target: socket.socket, gate: threading.Event, asks: bool = False) -> None:
        while piece := source.recv(65536):
            self.held += asks and not gate.is_set()
            gate.wait()
            target.sendall(piece)
        gate.wait()  # in silence nobody hears that the other one has hung up
        target.shutdown(socket.SHUT_WR)

    def _start(self, act: Callable[..., None], *args: Any) -> threading.Thread:
        def run() -> None:
            with contextlib.suppress(OSError):  # somebody has hung up
                act(*args)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@contextlib.contextmanager
def running(server: Mapping[str, Any], port: int) -> Iterator[Relay]:
    """A relay on ``port`` to ``server``, an entry of DATABASES on a unix socket."""
    relay = Relay(server, port)
    try:
        yield relay
    finally:
        relay.close()
