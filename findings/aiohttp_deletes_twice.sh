#!/usr/bin/env bash
# Deleted, and told that it was never there: aiohttp 3.14.5 sends what is idempotent twice
#
# When a server hangs up without an answer, aiohttp's client sends a GET, HEAD, OPTIONS, PUT, DELETE or TRACE once more
# by itself, and says so to nobody. That is meant for a kept connection that the server has closed meanwhile, but it is
# done whether the request was received or not, and on a new connection too. A server that did it and then died, as one
# does that is restarted or out of memory, is asked again and answers as it must to a second request: a DELETE of what
# was there is 404, a PUT that may only create (If-None-Match: *) is 412, as if another had been first. A request that
# kills its worker is sent to the next one. POST and PATCH raise ServerDisconnectedError. There is no public setting.
#
# Seen, of a server that carries out the first request and hangs up:
#     DELETE of a thing that is there: 404 Not Found, received 2 times
#     PUT of a thing that is not there, If-None-Match: *: 412 Precondition Failed, received 2 times
#     GET: 200 OK, received 2 times
#     POST: ServerDisconnectedError, received 1 times
#
# Here the demo's gateway is called by POST with a key of the job's: jobsite/demo/payments.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5
"$work/venv/bin/python" -W ignore - <<'PY'
import asyncio

import aiohttp


class Server:
    """Keeps things, and dies after the first request that it has carried out."""

    def __init__(self, *things):
        self.things = set(things)
        self.received = 0

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].split()
        self.received += 1
        status = self.carry_out(method.decode(), path.decode(), b"if-none-match: *" in head.lower())
        if self.received > 1:
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    def carry_out(self, method, path, may_only_create):
        if method == "DELETE":
            if path not in self.things:
                return "404 Not Found"
            self.things.remove(path)
        elif method == "PUT":
            if may_only_create and path in self.things:
                return "412 Precondition Failed"
            self.things.add(path)
        return "200 OK"


async def asked(name, method, server, **options):
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, aiohttp.ClientSession() as session:
        try:
            async with session.request(method, f"http://127.0.0.1:{port}/thing", **options) as response:
                answer = f"{response.status} {response.reason}"
        except aiohttp.ClientError as error:
            answer = type(error).__name__
    print(f"{name}: {answer}, received {server.received} times")
    return answer[:3], server.received


async def main():
    create = {"headers": {"If-None-Match": "*"}}
    return [
        await asked("DELETE of a thing that is there", "DELETE", Server("/thing")),
        await asked("PUT of a thing that is not there, If-None-Match: *", "PUT", Server(), **create),
        await asked("GET", "GET", Server("/thing")),
        await asked("POST", "POST", Server()),
    ]


found = asyncio.run(main())
assert found == [("404", 2), ("412", 2), ("200", 2), ("Ser", 1)], "it behaves differently now"
PY
