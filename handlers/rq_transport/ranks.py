"""Jobs with a priority: on their queue's list as all others, and by their ranks in a set beside it.

A worker of ours compares the set's first with the list's head, whose rank is when it was enqueued, and takes what comes
first. What it takes from the set stays on the list, where looking for it would mean reading the list; its RQ job is
gone, and by that it is known, and dropped, when it is met. The head that has a place in the set leaves the list for it.
The list is never empty while the set is not: so a worker that waits for the list waits for both, and one of RQ's own
finds everything there, in the order in which it came.

A job that comes to stand behind another program's has a place in the set, too, whatever its priority: what stands in
front of it may be any number, and stays.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rq.queue import Queue

from handlers.conf import jobs_settings
from handlers.priorities import rank
from handlers.rq_transport.names import rq_name
from handlers.transport import Message

RANKS = "jobs:ranks:"  # before a queue's name: its set
PASSED = "jobs:passed:"  # the same: the last entry of the list that may be of a job that was taken from the set
SHARED = "jobs:shared:"  # the same: there since another program's job was met at the list's end, until it is empty
STEPS = 1_000  # entries that are dropped in one step: a few milliseconds of Redis
AHEAD = 1_000  # how far past foreign jobs to look for ours

Place = tuple[str, str, str]  # since when, as RQ writes times; priority and rank, empty without


def keys_of(queue: str) -> tuple[str, str]:
    """What is there while jobs with a priority wait on the queue, or were taken out of turn."""
    name = rq_name(queue)
    return RANKS + name, PASSED + name


def place(message: Message, now: datetime, index: int = 0) -> Place:
    """The message's place, published now; of messages that are enqueued at one time, each has an ``index``."""
    # By microseconds, so that they keep their order; a batch takes longer to publish than that adds up to.
    since = (message.enqueued_at or now) + timedelta(microseconds=index)
    if not message.priority:
        return rq_time(since), "", ""
    seconds = jobs_settings().priority_seconds
    return rq_time(since), str(message.priority), f"{rank(since, message.priority, seconds=seconds):.6f}"


def rq_time(at: datetime) -> str:
    """A time in UTC as RQ writes it."""
    return at.isoformat(timespec="microseconds")[:-6] + "Z"  # in place of +00:00


# `keys_of` as above, and the key of what says that the list is shared. `stand` gives a job its place, beside the one
# that it has on the list.
PLACES = (
    """
local function keys_of(list)
  local queue = string.sub(list, #'@LIST@' + 1)
  return '@RANKS@' .. queue, '@PASSED@' .. queue, '@SHARED@' .. queue
end
local function seconds(text)
  local year, month, day, hour, minute, second = string.match(text, '^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$')
  if not year then return 0 end
  if tonumber(month) < 3 then year, month = year - 1, month + 12 end
  local days = 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * month - 457) / 5) + day - 719469
  return ((days * 24 + hour) * 60 + minute) * 60 + second
end
local function stand(ranks, id, since, priority, rank)
  redis.call('HSET', '@JOB@' .. id, 'enqueued_at', since)
  if rank == '' then return end
  redis.call('HSET', '@JOB@' .. id, 'priority', priority)
  redis.call('ZADD', ranks, rank, id)
  -- Where only RQ's own workers run, nobody else takes out what they took off the list.
  for _, first in ipairs(redis.call('ZRANGE', ranks, 0, 1)) do
    if redis.call('HGET', '@JOB@' .. first, 'status') ~= 'queued' then redis.call('ZREM', ranks, first) end
  end
end
""".replace("@LIST@", Queue.redis_queue_namespace_prefix)
    .replace("@RANKS@", RANKS)
    .replace("@PASSED@", PASSED)
    .replace("@SHARED@", SHARED)
)

IS_OURS = """
local pattern = '^[1-9]%d*%-' .. string.rep('[0-9a-f]', 16) .. '$'
local function is_ours(id) return #id <= 36 and string.match(id, pattern) end
"""

# `take_ranked` takes up to `most` off the list and its set. It answers the ids, since when each waits and its priority,
# whether others' jobs stand at the head, and whether it stopped before it knew whether there is any.
TAKE_RANKED = """
local function take_ranked(list, most)
  local ranks, passed = keys_of(list)
  local last, left, ahead = redis.call('GET', passed), @STEPS@, 0
  local ours, facts, out_of_turn = {}, {}, false
  local first, rank, since, priority
  local function take(id, since, priority)
    redis.call('UNLINK', '@JOB@' .. id)
    ours[#ours + 1] = id
    facts[#facts + 1], facts[#facts + 2] = since, priority or ''
  end
  local function leave(id)
    if ahead == 0 then redis.call('LPOP', list) else redis.call('LREM', list, 1, id) end
    if id == last then redis.call('DEL', passed) end
  end
  local function find_first()
    repeat
      first, rank = unpack(redis.call('ZRANGE', ranks, 0, 0, 'WITHSCORES'))
      if not first then return end
      local status
      status, since, priority = unpack(redis.call('HMGET', '@JOB@' .. first, 'status', 'enqueued_at', 'priority'))
      if status == 'queued' and since then return end
      redis.call('ZREM', ranks, first) -- one of RQ's own workers took it off the list, or it was withdrawn
      first, left = nil, left - 1
    until left == 0
  end

  find_first()
  while #ours < most and left > 0 do
    local id = ahead <= @AHEAD@ and redis.call('LINDEX', list, ahead)
    if id and not is_ours(id) then
      ahead = ahead + 1
    else
      local at = id and not redis.call('ZSCORE', ranks, id) and redis.call('HGET', '@JOB@' .. id, 'enqueued_at')
      if id and not at then
        leave(id)
        left = left - 1
      elseif first and not (at and seconds(at) <= tonumber(rank)) then
        redis.call('ZREM', ranks, first)
        take(first, since, priority)
        out_of_turn = true
        find_first()
      elseif id then
        leave(id)
        take(id, at)
      else
        break
      end
    end
  end

  local tail = redis.call('LINDEX', list, -1)
  -- Nobody meets what stands behind others' jobs and is taken already: it leaves the list by its end.
  while ahead > 0 and left > 0 and tail and is_ours(tail) and redis.call('EXISTS', '@JOB@' .. tail) == 0 do
    redis.call('RPOP', list)
    out_of_turn, left = true, left - 1
    tail = redis.call('LINDEX', list, -1)
  end
  if not tail then
    redis.call('DEL', passed)
    local waits = redis.call('ZRANGE', ranks, 0, 0)[1]
    if waits then redis.call('RPUSH', list, waits) end
  elseif out_of_turn then
    redis.call('SET', passed, tail)
  end
  return ours, facts, ahead > 0, #ours == 0 and left == 0
end
""".replace("@STEPS@", str(STEPS)).replace("@AHEAD@", str(AHEAD))
