"""Taking several of our messages off RQ's queues in one turn, and leaving everybody else's where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rq.job import Job

from handlers.rq_transport.availability import spare_caller, transport_errors
from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.lua import SAVE, script
from handlers.rq_transport.messages import parse_rq_job_id, parse_rq_job_ids, queue_key, rq_job_id, rq_now
from handlers.rq_transport.own_connection import own_connection
from handlers.transport import Message

TAKEN = "jobs:taken:"  # before a worker's name
TAKEN_SECONDS = 24 * 3600  # more than any run takes that a message may wait for
AHEAD = 1_000  # how far past foreign jobs to look for ours
# What is on its way to us when we stop waiting is lost until recovery finds it: so be more patient than callers are.
PATIENCE_SECONDS = 3.0

# What was taken goes back to a full server too: it had room for that a moment ago, and another program's job would be
# lost for good.
_ALLOW_FULL = "#!lua flags=allow-oom\n"

# KEYS: where to note what is taken, then queues in the order of preference. ARGV: how many at most of each, then ids
# that were taken in another way. Takes from the first queue that has any of ours; answers its number and the ids, then
# whether some queue has foreign jobs at its head. The RQ jobs of what was taken go: only RQ's own workers read them.
_POP = script(
    _ALLOW_FULL,
    """
local foreign = 0
for at = #KEYS, #ARGV do redis.call('UNLINK', '@JOB@' .. ARGV[at]) end
local pattern = '^[1-9]%d*%-' .. string.rep('[0-9a-f]', 16) .. '$'
local function is_ours(id) return #id <= 36 and string.match(id, pattern) end
for k = 2, #KEYS do
  local most = tonumber(ARGV[k - 1])
  local head = redis.call('LRANGE', KEYS[k], 0, most - 1)
  local ours = {}
  for _, id in ipairs(head) do
    if is_ours(id) then ours[#ours + 1] = id end
  end
  if #ours < #head then
    foreign = 1
    -- Others' jobs stand among ours: look further, and take ours out one by one.
    ours = {}
    for _, id in ipairs(redis.call('LRANGE', KEYS[k], 0, most + @AHEAD@)) do
      if #ours < most and is_ours(id) then ours[#ours + 1] = id end
    end
    for _, id in ipairs(ours) do redis.call('LREM', KEYS[k], 1, id) end
  elseif #ours > 0 then
    redis.call('LTRIM', KEYS[k], #ours, -1)
  end
  if #ours > 0 then
    local jobs = {}
    for at, id in ipairs(ours) do jobs[at] = '@JOB@' .. id end
    redis.call('UNLINK', unpack(jobs))
    redis.call('SET', KEYS[1], table.concat(ours, '\\n'), 'EX', @SECONDS@)
    return {k - 1, ours, foreign}
  end
end
return {0, {}, foreign}
""".replace("@AHEAD@", str(AHEAD)).replace("@SECONDS@", str(TAKEN_SECONDS)),
)

# KEYS: a queue's list. ARGV: its name, now as RQ writes it, then ids, the last one first. Puts them at its head.
_PUT_BACK = script(
    _ALLOW_FULL,
    SAVE,
    """
for at = 3, #ARGV do save(ARGV[at], ARGV[1], 'queued', ARGV[2]) end
redis.call('LPUSH', KEYS[1], unpack(ARGV, 3))
""",
)

# KEYS: a queue's list. ARGV: another program's id. Puts it at its head; its RQ job is there.
_GIVE_BACK = script(_ALLOW_FULL, "redis.call('LPUSH', KEYS[1], ARGV[1])")


class Intake:
    """One worker's way to the queues, over the own connection of its main thread.

    What it took last is noted in Redis, so that it is not lost with the process, which may die of a run beside.
    """

    def __init__(self, worker: str) -> None:
        self._taken = TAKEN + worker
        self._foreign = False
        self._waited_for: list[str] = []  # taken by waiting, which leaves their RQ jobs behind

    def pop(self, queues: Mapping[str, int]) -> list[Message]:
        """Messages of the first of ``queues`` that has any, up to its number; none when all are empty. Never waits."""
        if not queues:
            return []
        names, most = list(queues), queues.values()
        keys = [self._taken, *map(queue_key, names)]
        number, ids, foreign = _POP(own_connection(), keys, [*most, *self._waited_for], within=PATIENCE_SECONDS)
        self._waited_for = []
        self._foreign = bool(foreign)
        return [Message(job_id, token, names[number - 1]) for job_id, token in parse_rq_job_ids(ids)]

    def wait(self, queues: Sequence[str], seconds: float) -> list[Message] | None:
        """Wait for a message and take it, one since nobody knows of which queue it will be: the rest is popped.

        None: no use waiting here, foreign jobs stand at the head.
        """
        if self._foreign or not queues:
            return None
        keys = [queue_key(name) for name in queues]
        redis = own_connection()
        found: Any = redis.execute_command("BLPOP", *keys, seconds, within=seconds + PATIENCE_SECONDS)
        if not found:
            return []
        key, entry = found
        text = entry.decode(errors="replace")
        ours = parse_rq_job_id(text)
        if ours is None:
            self._foreign = True
            _GIVE_BACK(redis, [key], [entry])
            return []
        self._waited_for.append(text)
        return [Message(ours[0], ours[1], queues[keys.index(key.decode())])]

    def forget(self) -> None:
        """Take away what taking left behind, if no pop will."""
        own_connection().unlink(self._taken, *map(Job.key_for, self._waited_for))
        self._waited_for = []

    def put_back(self, messages: Sequence[Message]) -> None:
        """Return messages to the heads of their queues, as if they had not been taken."""
        for name in {message.queue for message in messages}:
            ids = [rq_job_id(message) for message in messages if message.queue == name]
            self._waited_for = [waited for waited in self._waited_for if waited not in ids]
            _PUT_BACK(own_connection(), [queue_key(name)], [name, rq_now(), *reversed(ids)])


def taken_last(worker: str) -> list[tuple[int, str]]:
    """Job id and token of what ``worker`` took last, a batch; what came while it waited is not among it.

    Raises TransportUnavailable.
    """
    spare_caller()
    with transport_errors():
        found: Any = redis_connection().get(TAKEN + worker)
    return parse_rq_job_ids((found or b"").splitlines())
