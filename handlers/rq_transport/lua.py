"""The Lua scripts that make a change in Redis one step, and the few lines that run them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError
from rq.job import Job

from handlers.rq_transport.ranks import AHEAD, IS_OURS, PLACES

RUN_JOB = "handlers.entry.run"  # the one function that a message of ours names
FAILURE_TTL_SECONDS = 86_400  # how long RQ keeps a message that a stock worker could not even start

Argument = str | bytes | int | float


class LuaScript:
    """A script that Redis keeps by its digest. It is sent again whenever Redis has forgotten it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = sha1(source.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], args: Sequence[Argument]) -> tuple[Any, ...]:
        """The command that runs it, where Redis knows it already."""
        return ("EVALSHA", self._digest, len(keys), *keys, *args)

    def __call__(self, connection: Redis, keys: Sequence[str], args: Sequence[Argument], **options: Any) -> Any:
        """Run it once, in one round trip. Raises what redis-py raises. ``options``: of ``execute_command``."""
        try:
            return connection.execute_command(*self.call(keys, args), **options)
        except NoScriptError:  # a restarted or flushed server
            return connection.execute_command("EVAL", self._source, len(keys), *keys, *args, **options)


# A message as RQ stores a job. Fields that RQ would leave empty are left out, and the call is not compressed: RQ reads
# both, and the hash stays small: no value is over 64 bytes, from which on Redis takes three times the memory for it.
# No timeout (-1), because an attempt's limit is the engine's, and no result is kept.
SAVE = """
local function save(id, queue, status, now)
  local key = '@JOB@' .. id
  local at = status == 'queued' and 'enqueued_at' or 'created_at'
  if redis.call('HEXISTS', key, 'data') == 1 then
    redis.call('HSET', key, 'origin', queue, 'status', status, at, now)
    return
  end
  local job, token = string.match(id, '^(%d+)-(%w+)$')
  redis.call('HSET', key, 'created_at', now, at, now, 'origin', queue, 'status', status, 'description', 'Job ' .. job,
    'data', '["@RUN_JOB@",null,[' .. job .. ',"' .. token .. '"],{}]',
    'timeout', '-1', 'result_ttl', '0', 'failure_ttl', '@FAILURE_TTL@')
end
"""
_NOW = "local clock = redis.call('TIME')\nlocal now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000\n"


def script(*parts: str) -> LuaScript:
    """The script that ``parts`` make, with RQ's names in place of their marks."""
    source = "".join(parts)
    for mark, value in (
        ("@JOB@", Job.key_for("")),
        ("@RUN_JOB@", RUN_JOB),
        ("@FAILURE_TTL@", str(FAILURE_TTL_SECONDS)),
        ("@AHEAD@", str(AHEAD)),
    ):
        source = source.replace(mark, value)
    return LuaScript(source)


# KEYS: RQ's set of queues, the delayed set, then one list per queue. ARGV: now as RQ writes it, the command that puts
# ids on a list, then for each list its queue's name, how many ids follow, and the ids; then, of those with a place
# other than the list's end now, the list's number, the id and the place; behind another program's jobs each has one.
# Being delayed ends here: one step, so no message is in both places.
PUBLISH = script(
    SAVE,
    IS_OURS,
    PLACES,
    """
local at = 3
for k = 3, #KEYS do
  local queue, count = ARGV[at], tonumber(ARGV[at + 1])
  local first, last = redis.call('LINDEX', KEYS[k], 0), redis.call('LINDEX', KEYS[k], -1)
  local ranks, _, shared = keys_of(KEYS[k])
  local ids = {}
  for i = 1, count do
    ids[i] = ARGV[at + 1 + i]
    save(ids[i], queue, 'queued', ARGV[1])
  end
  redis.call('SADD', KEYS[1], KEYS[k])
  redis.call('ZREM', KEYS[2], unpack(ids))
  redis.call(ARGV[2], KEYS[k], unpack(ids))
  if not last then
    redis.call('DEL', shared)
  elseif not is_ours(first) or not is_ours(last) then
    redis.call('SET', shared, '1')
  end
  if last and ARGV[2] == 'RPUSH' and redis.call('EXISTS', shared) == 1 then
    local now = seconds(ARGV[1])
    for i = 1, count do redis.call('ZADD', ranks, string.format('%.6f', now + i / 1000000), ids[i]) end
  end
  at = at + 2 + count
end
for i = at, #ARGV, 5 do
  local ranks = keys_of(KEYS[2 + tonumber(ARGV[i])])
  stand(ranks, unpack(ARGV, i + 1, i + 4))
end
""",
)

# KEYS: the delayed set, the channel that wakes schedulers. ARGV: now as RQ writes it, then id, queue, due time of each.
# What comes before everything still ahead wakes them. What is overdue, such as another program's jobs, is not ahead.
PUBLISH_DELAYED = script(
    SAVE,
    _NOW,
    """
local ahead = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.6f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
local earliest
for i = 2, #ARGV, 3 do
  save(ARGV[i], ARGV[i + 1], 'scheduled', ARGV[1])
  redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
  if not earliest or tonumber(ARGV[i + 2]) < tonumber(earliest) then earliest = ARGV[i + 2] end
end
if earliest and (not ahead or tonumber(earliest) < tonumber(ahead)) then redis.call('PUBLISH', KEYS[2], earliest) end
""",
)

# KEYS: the delayed set. ARGV: ids. A hash goes only with a member that is still here: a pushed message keeps its own.
FORGET_DELAYED = script(
    """
local gone = 0
for _, id in ipairs(ARGV) do
  if redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('UNLINK', '@JOB@' .. id)
    gone = gone + 1
  end
end
return gone
"""
)

# KEYS: the delayed set. ARGV: overdue by how many seconds, offset, count. The ids that are, the most overdue first.
OVERDUE = script(
    _NOW,
    """
local before = string.format('%.6f', now - tonumber(ARGV[1]))
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', ARGV[2], ARGV[3])
""",
)

# ARGV: ids. Those whose RQ job is there.
KEPT = script(
    """
local found = {}
for _, id in ipairs(ARGV) do
  if redis.call('EXISTS', '@JOB@' .. id) == 1 then found[#found + 1] = id end
end
return found
"""
)

# KEYS: a queue's list. ARGV: first and last index, then ids. How many entries stand there; which of the ids do, or in
# the set beside the list; whether there is one; whether others' jobs stand in front of all that is not found. Where
# there is a set only those count whose RQ jobs are there, as for who takes them; and none in the set alone while the
# list is empty, where RQ's own workers would not find it.
SEARCH = script(
    IS_OURS,
    PLACES,
    """
local wanted = {}
for i = 3, #ARGV do wanted[ARGV[i]] = true end
local entries = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
local found = {}
local ranks, passed = keys_of(KEYS[1])
local ranked = redis.call('EXISTS', ranks, passed)
local function is_there(id) return ranked == 0 or redis.call('EXISTS', '@JOB@' .. id) == 1 end
for _, entry in ipairs(entries) do
  if wanted[entry] and is_there(entry) then
    found[#found + 1] = entry
    wanted[entry] = nil
  end
end
if ranked > 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  for id in pairs(wanted) do
    if redis.call('ZSCORE', ranks, id) and is_there(id) then found[#found + 1] = id end
  end
end
local front, behind = redis.call('LINDEX', KEYS[1], 0), redis.call('LINDEX', KEYS[1], @AHEAD@)
return {#entries, found, ranked, front and behind and not is_ours(front) and not is_ours(behind) and 1 or 0}
""",
)
