"""Where jobs of RQ's own stand, and how they are taken from there: each step is one of Redis', and can be the last.

What is taken goes to a place of our own beside the one where RQ's workers find it, and stands there until it is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django_rq.connection_utils import get_connection
from redis import Redis
from rq.queue import Queue
from rq_scheduler import Scheduler

from handlers.adoption.found import FoundJob
from handlers.exceptions import InvalidJob
from handlers.rq_transport.connections import whereabouts
from handlers.rq_transport.lua import script
from handlers.rq_transport.messages import parse_rq_job_id
from handlers.rq_transport.names import BESIDE, queue_key

HELD = "jobs:adopting:"  # before a place's name: what was taken there, and is not yet gone
CHUNK = 1_000
Entry = tuple[str, float | None]  # an id, and its time where the place has such
FIELDS = (
    "data", "meta", "origin", "created_at", "enqueued_at", "timeout", "ttl", "retries_left", "retry_intervals",
    "repeats_left", "repeat_intervals", "success_callback_name", "failure_callback_name", "stopped_callback_name",
    "dependency_ids", "group_id", "webhooks", "rate_limit_key", "enqueue_at_front",
)  # fmt: skip

# KEYS: none. ARGV: how many fields, their names, then ids. Of each id the fields, and whether others wait for it.
_READ = script(
    """
local fields, found = {}, {}
local count = tonumber(ARGV[1])
for i = 1, count do fields[i] = ARGV[i + 1] end
for i = count + 2, #ARGV do
  local key = '@JOB@' .. ARGV[i]
  found[#found + 1] = {redis.call('HMGET', key, unpack(fields)), redis.call('EXISTS', key .. ':dependents')}
end
return found
"""
)

# KEYS: a list, where to put what is taken. ARGV: about where on the list, how many entries, then ids: takes those.
_TAKE_LISTED = script(
    """
local wanted, found, marked = {}, {}, 0
for i = 3, #ARGV do wanted[ARGV[i]] = true end
local first = math.max(0, tonumber(ARGV[1]) - tonumber(ARGV[2]))
for at, id in ipairs(redis.call('LRANGE', KEYS[1], first, tonumber(ARGV[1]) + tonumber(ARGV[2]))) do
  if wanted[id] then
    redis.call('LSET', KEYS[1], first + at - 1, '@GONE@')
    marked = marked + 1
    if wanted[id] ~= 1 then
      redis.call('RPUSH', KEYS[2], id)
      found[#found + 1] = id
      wanted[id] = 1
    end
  end
end
if marked > 0 then redis.call('LREM', KEYS[1], marked, '@GONE@') end
return found
""".replace("@GONE@", "jobs:moved-from-here")
)

# KEYS: a sorted set, where to put what is taken. ARGV: ids.
_TAKE_SCORED = script(
    """
local found = {}
for _, id in ipairs(ARGV) do
  local score = redis.call('ZSCORE', KEYS[1], id)
  if score then
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], score, id)
    found[#found + 1] = id
  end
end
return found
"""
)

# KEYS: where what was taken stands, rq-scheduler's set. ARGV: what else may name the job, then ids. One that recurs is
# named there, or an occurrence of it on a queue: its hash stays for a day.
_DROP = script(
    """
for i = 2, #ARGV do
  if redis.call('TYPE', KEYS[1])['ok'] == 'zset' then
    redis.call('ZREM', KEYS[1], ARGV[i])
  else
    redis.call('LREM', KEYS[1], 1, ARGV[i])
  end
  local key = '@JOB@' .. ARGV[i]
  if ARGV[1] == 'recurs' then
    redis.call('EXPIRE', key, 86400)
  elseif not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    redis.call('UNLINK', key)
  end
end
"""
)

# KEYS: where what was taken stands, its list. ARGV: ids, the first one first. Puts them back, unless
# another run has.
_GIVE_BACK = script(
    """
if redis.call('TYPE', KEYS[1])['ok'] == 'zset' then
  for _, id in ipairs(ARGV) do
    local score = redis.call('ZSCORE', KEYS[1], id)
    if score then
      redis.call('ZADD', KEYS[2], score, id)
      redis.call('ZREM', KEYS[1], id)
    end
  end
else
  for i = #ARGV, 1, -1 do
    if redis.call('LREM', KEYS[1], 1, ARGV[i]) > 0 then
      redis.call('LPUSH', KEYS[2], ARGV[i])
    end
  end
end
"""
)


@dataclass(frozen=True)
class Place:
    """Where jobs of RQ's stand."""

    name: str
    key: str
    queue: str  # empty: each job names its own
    connection: Redis
    is_list: bool = False

    @property
    def held(self) -> str:
        """Where what was taken here stands."""
        return HELD + self.name

    def chunk(self, key: str, offset: int) -> list[Entry]:
        """The next entries of ``key``, which is this place's or where what was taken stands."""
        last = offset + CHUNK - 1
        if self.is_list:
            listed: Any = self.connection.lrange(key, offset, last)
            return [(entry.decode(errors="replace"), None) for entry in listed]
        scored: Any = self.connection.zrange(key, offset, last, withscores=True)
        return [(entry.decode(errors="replace"), float(score)) for entry, score in scored]

    def chunks(self, key: str) -> Iterator[list[Entry]]:
        """All of ``key``, which does not change meanwhile."""
        offset = 0
        while chunk := self.chunk(key, offset):
            yield chunk
            offset += len(chunk)

    def found(self, chunk: Sequence[Entry]) -> Iterator[tuple[FoundJob, float | None, bool]]:
        """The jobs of a chunk, each with its time, and whether others wait for it."""
        if self.is_list and self.key == queue_key(self.queue):  # ours stand there, too
            chunk = [entry for entry in chunk if parse_rq_job_id(entry[0]) is None]
        answers: Any = _READ(self.connection, [], [len(FIELDS), *FIELDS, *(rq_id for rq_id, _ in chunk)])
        for (rq_id, score), (values, awaited) in zip(chunk, answers, strict=True):
            fields = {name: value for name, value in zip(FIELDS, values, strict=True) if value}
            yield FoundJob(rq_id, fields), score, bool(awaited)

    def take(self, ids: Sequence[str], offset: int) -> set[str]:
        """Take those that are still there, of ``ids``, which stood at about ``offset``; which they are."""
        if not ids:
            return set()
        if self.is_list:
            found: Any = _TAKE_LISTED(self.connection, [self.key, self.held], [offset, CHUNK, *ids])
        else:
            found = _TAKE_SCORED(self.connection, [self.key, self.held], ids)
        return {each.decode() for each in found}

    def drop(self, ids: Sequence[str], *, recurring: bool) -> None:
        """Let these, which were taken, leave Redis."""
        if ids:
            _DROP(self.connection, [self.held, Scheduler.scheduled_jobs_key], ["recurs" if recurring else "", *ids])

    def give_back(self, ids: Sequence[str]) -> None:
        """Put these, which were taken, where they were."""
        if ids:
            _GIVE_BACK(self.connection, [self.held, self.key], ids)


def places(named: Sequence[str] | None = None) -> list[Place]:
    """Where the site's RQ jobs are, of all its queues, or those ``named``. Raises InvalidJob for an unknown one."""
    declared = {
        name: config
        for name, config in (getattr(settings, "RQ_QUEUES", None) or {}).items()
        if not name.startswith(BESIDE)
    }
    if unknown := sorted(set(named or ()) - set(declared)):
        raise InvalidJob(f"queues: {', '.join(unknown)} is not in RQ_QUEUES", field="queues")
    found: list[Place] = []
    servers: dict[Any, Redis] = {}
    for name, config in declared.items():
        connection = get_connection(name)
        servers.setdefault(whereabouts(config), connection)
        if named and name not in named:
            continue
        found.append(Place(f"queue {name}", Queue.redis_queue_namespace_prefix + name, name, connection, is_list=True))
        found.append(Place(f"scheduled {name}", f"rq:scheduled:{name}", name, connection))
    for number, connection in enumerate(servers.values(), 1):
        title = "rq-scheduler" if number == 1 else f"rq-scheduler {number}"
        found.append(Place(title, Scheduler.scheduled_jobs_key, "", connection))
    return found
