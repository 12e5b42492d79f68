"""What killed workers leave in Redis for good: their names, and the RQ jobs of messages that they took."""

from __future__ import annotations

from typing import Any

from redis import Redis
from rq.job import Job
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY
from rq_scheduler import Scheduler

from handlers import lifecycle
from handlers.models import JobRecord
from handlers.queues import served
from handlers.rq_transport.availability import transport_errors
from handlers.rq_transport.connections import KEY_PREFIX
from handlers.rq_transport.lua import script
from handlers.rq_transport.messages import parse_rq_job_id
from handlers.rq_transport.names import rq_name
from handlers.states import ACTIVE

CHUNK = 500  # keys, or names of one set, looked at in one step: a millisecond of Redis

# KEYS: a set of workers. ARGV: members of it. Takes out those without a hash, which has an end of its own. One step,
# for a worker writes its hash and its names together.
_FORGET_DEAD = script(
    """
for _, worker in ipairs(ARGV) do
  if redis.call('EXISTS', worker) == 0 then redis.call('SREM', KEYS[1], worker) end
end
"""
)

# ARGV: ids. For each, which queue its RQ job is of, or nothing if that is not there or ends by itself.
_ENDLESS = script(
    """
local found = {}
for at, id in ipairs(ARGV) do
  local key = '@JOB@' .. id
  found[at] = redis.call('PTTL', key) == -1 and (redis.call('HGET', key, 'origin') or '') or false
end
return found
"""
)


class Leftovers:
    """One scheduler's passes through Redis, a chunk at a time."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._cursor = 0
        self._old_cursor: int | None = 0  # in the set where earlier releases kept delayed jobs; None: it is done

    def clear(self) -> bool:
        """Look at one chunk of the keys; whether the pass goes on. Raises TransportUnavailable, the database's errors.

        Whoever else uses this Redis keeps what is theirs.
        """
        if self._old_cursor is not None:
            self._leave_old_set(self._old_cursor)
            return True
        with transport_errors():
            found: Any = self._redis.scan(self._cursor, match=f"{KEY_PREFIX}:*", count=CHUNK)
            self._cursor, keys = found
            names = [key.decode(errors="replace") for key in keys]
            for name in names:
                if name == REDIS_WORKER_KEYS or name.startswith(WORKERS_BY_QUEUE_KEY % ""):
                    self._forget_dead(name)
            self._drop_jobs([name.removeprefix(Job.key_for("")) for name in names])
        return self._cursor != 0

    def _leave_old_set(self, cursor: int) -> None:
        """Take what is ours out of rq-scheduler's own set: its process would end of it. The database has it all."""
        with transport_errors():
            found: Any = self._redis.zscan(Scheduler.scheduled_jobs_key, cursor, count=CHUNK)
            if ours := [name for name, _ in found[1] if parse_rq_job_id(name.decode(errors="replace"))]:
                self._redis.zrem(Scheduler.scheduled_jobs_key, *ours)
        self._old_cursor = found[0] or None

    def _forget_dead(self, workers: str) -> None:
        cursor = None
        while cursor != 0:
            cursor, names = self._redis.sscan(workers, cursor or 0, count=CHUNK)
            if names:
                _FORGET_DEAD(self._redis, [workers], names)

    def _drop_jobs(self, ids: list[str]) -> None:
        """Drop the RQ jobs of messages that are no more good for anything, though a list may still name them.

        A job's row says so: it has moved on to another token, has ended, or is gone. A token never comes back.
        """
        ours = {text: parsed for text in ids if (parsed := parse_rq_job_id(text))}
        if not ours:
            return
        queues = {*map(rq_name, served(None).queues), ""}
        origins = zip(ours.items(), _ENDLESS(self._redis, [], list(ours)), strict=True)
        # Another installation, with queues of its own, may name its messages as we do.
        endless = {
            text: parsed for (text, parsed), origin in origins if origin is not None and origin.decode() in queues
        }
        rows = JobRecord.objects.using(lifecycle.database()).filter(state__in=ACTIVE)
        good = set(rows.filter(pk__in={job_id for job_id, _ in endless.values()}).values_list("pk", "token"))
        if stale := [text for text, parsed in endless.items() if parsed not in good]:
            self._redis.unlink(*map(Job.key_for, stale))
