"""A small mail server on loopback, which says what a test wants to hear."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Server:
    """What came, and what is said instead of "250 OK"."""

    port: int = 0
    answers: dict[str, str] = field(default_factory=dict)  # by the command, such as RCPT, or DATA. for its end
    mails: list[tuple[list[str], bytes]] = field(default_factory=list)  # to whom, and what


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server: Server = self.server.told  # type: ignore[attr-defined]
        self._say(server.answers.get("", "220 here"))
        recipients: list[str] = []
        while line := self.rfile.readline():
            command, _, rest = line.decode().strip().partition(" ")
            command = command.upper()
            answer = server.answers.get(command, "354 go on" if command == "DATA" else "250 OK")
            if command == "RCPT" and answer.startswith("250"):
                recipients.append(rest.partition("<")[2].partition(">")[0])
            self._say(answer)
            if command == "QUIT":
                return
            if command == "DATA" and answer.startswith("354"):
                body = b"".join(iter(self.rfile.readline, b".\r\n"))
                if (answer := server.answers.get("DATA.", "250 OK")).startswith("250"):
                    server.mails.append((recipients, body))
                recipients = []
                self._say(answer)

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server of its own."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        told = server.told = Server(port=server.server_address[1])  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
