"""Taking several of our messages off RQ's queues in one turn, and leaving everybody else's where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis
from rq.job import Job

from handlers.rq_transport.lua import LuaScript
from handlers.rq_transport.messages import parse_rq_job_id, queue_key, rq_job_id
from handlers.transport import Message

AHEAD = 1_000  # how far past foreign jobs to look for ours
POPPED_TTL_SECONDS = 86_400  # the message of a worker that dies is of no more use; let it not stay for ever

# KEYS: queues in the order of preference. ARGV: how many at most. Takes from the first queue that has any of ours;
# answers its number and the ids, then whether some queue has foreign jobs at its head.
_POP = LuaScript(
    """
local most, foreign = tonumber(ARGV[1]), 0
local pattern = '^[1-9]%d*%-' .. string.rep('[0-9a-f]', 16) .. '$'
for k = 1, #KEYS do
  local head = redis.call('LRANGE', KEYS[k], 0, most - 1)
  local ours = {}
  for _, id in ipairs(head) do
    if string.match(id, pattern) then ours[#ours + 1] = id end
  end
  if #ours < #head then
    foreign = 1
    -- Others' jobs stand among ours: look further, and take ours out one by one.
    ours = {}
    for _, id in ipairs(redis.call('LRANGE', KEYS[k], 0, most + @AHEAD@)) do
      if #ours < most and string.match(id, pattern) then ours[#ours + 1] = id end
    end
    for _, id in ipairs(ours) do redis.call('LREM', KEYS[k], 1, id) end
  elseif #ours > 0 then
    redis.call('LTRIM', KEYS[k], #ours, -1)
  end
  if #ours > 0 then
    for _, id in ipairs(ours) do redis.call('EXPIRE', '@JOB@' .. id, @TTL@) end
    return {k, ours, foreign}
  end
end
return {0, {}, foreign}
""".replace("@JOB@", Job.key_for(""))
    .replace("@TTL@", str(POPPED_TTL_SECONDS))
    .replace("@AHEAD@", str(AHEAD))
)


class Intake:
    """One worker's way to the queues."""

    def __init__(self, connection: Redis, queues: Sequence[str]) -> None:
        self._connection = connection
        self._queues = list(queues)
        self._foreign = False

    def pop(self, queues: Sequence[str], most: int) -> list[Message]:
        """Up to ``most`` messages from the first of ``queues`` that has any; none when all are empty. Never waits."""
        if not queues:
            return []
        number, ids, foreign = _POP(self._connection, [queue_key(name) for name in queues], [most])
        self._foreign = bool(foreign)
        return _messages(queues[number - 1], ids) if number else []

    def wait(self, queues: Sequence[str], most: int, seconds: float) -> list[Message] | None:
        """Wait for messages and take up to ``most``. None: no use waiting here, foreign jobs stand at the head."""
        if self._foreign or not queues:
            return None
        keys = [queue_key(name) for name in queues]
        found: Any = self._connection.blmpop(seconds, len(keys), *keys, direction="LEFT", count=most)
        if not found:
            return []
        key, ids = found
        name = queues[keys.index(key.decode())]
        foreign = [entry for entry in ids if parse_rq_job_id(entry.decode(errors="replace")) is None]
        if foreign:
            self._foreign = True
            self._connection.lpush(key, *reversed(foreign))
        return _messages(name, [entry for entry in ids if entry not in foreign])

    def put_back(self, messages: Sequence[Message]) -> None:
        """Return messages to the heads of their queues, as if they had not been taken."""
        for name in {message.queue for message in messages}:
            ids = [rq_job_id(message) for message in messages if message.queue == name]
            self._connection.lpush(queue_key(name), *reversed(ids))

    def forget(self, messages: Sequence[Message]) -> None:
        """Drop the RQ jobs of messages that were dealt with."""
        if messages:
            self._connection.unlink(*(Job.key_for(rq_job_id(message)) for message in messages))


def _messages(queue: str, ids: Sequence[bytes]) -> list[Message]:
    parsed = [parse_rq_job_id(entry.decode(errors="replace")) for entry in ids]
    return [Message(found[0], found[1], queue) for found in parsed if found]
