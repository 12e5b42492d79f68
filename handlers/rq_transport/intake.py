"""Taking several of our messages off RQ's queues in one turn, and leaving everybody else's where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rq.job import Job

from handlers.rq_transport.availability import spare_caller, transport_errors
from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.lua import SAVE, script
from handlers.rq_transport.messages import parse_rq_job_id, parse_rq_job_ids, rq_job_id
from handlers.rq_transport.names import queue_key, rq_name
from handlers.rq_transport.own_connection import own_connection
from handlers.rq_transport.ranks import AHEAD, IS_OURS, PLACES, TAKE_RANKED, keys_of, place
from handlers.transport import Message

TAKEN = "jobs:taken:"  # before a worker's name
TAKEN_SECONDS = 24 * 3600  # more than any run takes that a message may wait for
# What is on its way to us when we stop waiting is lost until recovery finds it: so be more patient than callers are.
PATIENCE_SECONDS = 3.0

# What was taken goes back to a full server too: it had room for that a moment ago, and another program's job would be
# lost for good.
_ALLOW_FULL = "#!lua flags=allow-oom\n"

# `take` takes up to `most` off a list that has no set beside it, and says whether others' jobs stand at its head.
_TAKE = """
local function take(list, most)
  local head = redis.call('LRANGE', list, 0, most - 1)
  local ours = {}
  for _, id in ipairs(head) do
    if is_ours(id) then ours[#ours + 1] = id end
  end
  if #ours == #head then
    if #ours > 0 then redis.call('LTRIM', list, #ours, -1) end
    return ours, false
  end
  -- Others' jobs stand among ours: look further, and take ours out one by one.
  ours = {}
  for _, id in ipairs(redis.call('LRANGE', list, 0, most + @AHEAD@)) do
    if #ours < most and is_ours(id) then ours[#ours + 1] = id end
  end
  for _, id in ipairs(ours) do redis.call('LREM', list, 1, id) end
  return ours, true
end
""".replace("@AHEAD@", str(AHEAD))

# KEYS: where to note what is taken, then queues in the order of preference. ARGV: how many at most of each, then an id
# that goes back to the first queue before, or nothing, then ids that were taken in another way. Takes from the first
# queue that has any of ours; answers its number (-1: call again, it is not known yet) and the ids, then whether some
# queue has foreign jobs at its head, then of jobs taken by rank since when they wait, and their priority. The RQ jobs
# of what was taken go: only RQ's own workers read them.
_POP = script(
    _ALLOW_FULL,
    IS_OURS,
    PLACES,
    TAKE_RANKED,
    _TAKE,
    """
local foreign = 0
for at = #KEYS + 1, #ARGV do redis.call('UNLINK', '@JOB@' .. ARGV[at]) end
if ARGV[#KEYS] ~= '' then redis.call('LPUSH', KEYS[2], ARGV[#KEYS]) end
for k = 2, #KEYS do
  local most, ours, facts, others, again = tonumber(ARGV[k - 1])
  if redis.call('EXISTS', keys_of(KEYS[k])) == 0 then
    ours, others = take(KEYS[k], most)
  else
    ours, facts, others, again = take_ranked(KEYS[k], most)
    if again then return {-1, {}, 0, {}} end
  end
  if others then foreign = 1 end
  if #ours > 0 then
    local jobs = {}
    for at, id in ipairs(ours) do jobs[at] = '@JOB@' .. id end
    redis.call('UNLINK', unpack(jobs))
    redis.call('SET', KEYS[1], table.concat(ours, '\\n'), 'EX', @SECONDS@)
    return {k - 1, ours, foreign, facts or {}}
  end
end
return {0, {}, foreign, {}}
""".replace("@SECONDS@", str(TAKEN_SECONDS)),
)

# KEYS: a queue's list. ARGV: its name, then ids with their places, the last one first. Puts them at its head.
_PUT_BACK = script(
    _ALLOW_FULL,
    SAVE,
    PLACES,
    """
for at = 2, #ARGV, 4 do
  local id, since = ARGV[at], ARGV[at + 1]
  save(id, ARGV[1], 'queued', since)
  stand(keys_of(KEYS[1]), id, since, ARGV[at + 2], ARGV[at + 3])
  redis.call('LPUSH', KEYS[1], id)
end
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
        return self._pop(queues) if queues else []

    def wait(self, queues: Sequence[str], seconds: float) -> list[Message] | None:
        """Wait for a message and take it, one since nobody knows of which queue it will be: the rest is popped.

        None: no use waiting here, foreign jobs stand at the head.
        """
        if self._foreign or not queues:
            return None
        keys = [queue_key(name) for name in queues]
        redis = own_connection()
        ranked = ("EXISTS", *(key for name in queues for key in keys_of(name)))
        answers: Any = redis.execute_command("BLPOP", *keys, seconds, within=seconds + PATIENCE_SECONDS, then=ranked)
        found, any_ranked = answers
        if not found:
            return []
        key, entry = found
        text, name = entry.decode(errors="replace"), queues[keys.index(key.decode())]
        ours = parse_rq_job_id(text)
        if ours is None:
            self._foreign = True
            _GIVE_BACK(redis, [key], [entry])
            return []
        if any_ranked:  # another one may come before it
            return self._pop({name: 1}, instead_of=text)
        self._waited_for.append(text)
        return [Message(ours[0], ours[1], name)]

    def _pop(self, queues: Mapping[str, int], *, instead_of: str = "") -> list[Message]:
        names, most = list(queues), queues.values()
        keys = [self._taken, *map(queue_key, names)]
        number = -1
        while number < 0:
            args: list[str | int] = [*most, instead_of, *self._waited_for]
            number, ids, foreign, facts = _POP(own_connection(), keys, args, within=PATIENCE_SECONDS)
            self._waited_for, instead_of = [], ""
        self._foreign = bool(foreign)
        if not facts:
            return [Message(job_id, token, names[number - 1]) for job_id, token in parse_rq_job_ids(ids)]
        return [
            Message(*ours, names[number - 1], None, int(priority or 0), datetime.fromisoformat(since.decode()))
            for entry, since, priority in zip(ids, facts[::2], facts[1::2], strict=True)
            if (ours := parse_rq_job_id(entry.decode()))
        ]

    def forget(self) -> None:
        """Take away what taking left behind, if no pop will."""
        own_connection().unlink(self._taken, *map(Job.key_for, self._waited_for))
        self._waited_for = []

    def put_back(self, messages: Sequence[Message]) -> None:
        """Return messages to the heads of their queues, as if they had not been taken."""
        now = datetime.now(UTC)
        for name in {message.queue for message in messages}:
            back = {rq_job_id(message): place(message, now) for message in messages if message.queue == name}
            self._waited_for = [waited for waited in self._waited_for if waited not in back]
            args = [text for job, where in reversed(back.items()) for text in (job, *where)]
            _PUT_BACK(own_connection(), [queue_key(name)], [rq_name(name), *args])


def taken_last(worker: str) -> list[tuple[int, str]]:
    """Job id and token of what ``worker`` took last, a batch; what came while it waited is not among it.

    Raises TransportUnavailable.
    """
    spare_caller()
    with transport_errors():
        found: Any = redis_connection().get(TAKEN + worker)
    return parse_rq_job_ids((found or b"").splitlines())
