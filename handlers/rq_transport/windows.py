"""How often something happened lately, counted in Redis for all processes of a site."""

from __future__ import annotations

from typing import NamedTuple

from handlers.rq_transport.availability import spare_caller, transport_errors
from handlers.rq_transport.connections import KEY_PREFIX, redis_connection
from handlers.rq_transport.lua import script

# KEYS: the window. ARGV: its length in milliseconds, and how many more. Answers how many there were in it by now, and
# how long it still is.
_COUNT = script("""
local count = redis.call('INCRBY', KEYS[1], ARGV[2])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = tonumber(ARGV[1])
  redis.call('PEXPIRE', KEYS[1], left)
end
return {count, left}
""")


class Window(NamedTuple):
    """How often something happened in a span of time so far, and how long that still is."""

    number: int
    left_seconds: float


def count_in(name: str, seconds: float, more: int = 1) -> Window:
    """Count ``more`` in the window ``name``, which begins with its first and is ``seconds`` long.

    Raises TransportUnavailable, at once in an outage that is known.
    """
    spare_caller()
    with transport_errors():
        count, left = _COUNT(redis_connection(), [f"{KEY_PREFIX}:jobs:window:{name}"], [int(seconds * 1_000), more])
    return Window(int(count), int(left) / 1_000)
