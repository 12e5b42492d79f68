"""RQ's own jobs become durable ones: what is queued and scheduled moves into the database, once, and none is lost.

Each step can be the last one. What is moved is first taken from where RQ's workers find it, in one step of Redis, to a
place of our own beside it; then it is written to the database with its origin, which is unique; then it leaves Redis.
Whoever begins finishes first what stands in our place: by its origin it is known whether it was written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django_rq.connection_utils import get_connection
from redis import Redis
from redis.exceptions import RedisError
from rq.queue import Queue
from rq.repeat import Repeat
from rq_scheduler import Scheduler

from handlers import lifecycle, queues
from handlers.adoption.calls import checked
from handlers.adoption.enqueueing import AT_FRONT, MOST_REPEATS, repeat_after
from handlers.adoption.found import FoundJob, Unreadable
from handlers.adoption.options import ENDLESS, RQ_TIMEOUT
from handlers.deadlines import LONGEST_WAIT
from handlers.exceptions import InvalidJob, TransportUnavailable
from handlers.gateway import job_scheduler
from handlers.lifecycle import NewJob
from handlers.models import RecurringJob, RQOrigin
from handlers.models.sql import database_now, insert
from handlers.publishing import publish_on_commit
from handlers.recurrence import definition
from handlers.registry import registry
from handlers.rq_transport.connections import whereabouts
from handlers.rq_transport.lua import script
from handlers.rq_transport.messages import parse_rq_job_id
from handlers.rq_transport.names import BESIDE, queue_key

HELD = "jobs:adopting:"  # before a place's name: what was taken there, and is not yet gone
ACTOR = "adopt_rq"
CHUNK = 1_000
COLUMNS = {"origin": "text", "rq_id": "text", "job_id": "id", "in_redis": "bool"}
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
local wanted, found = {}, {}
for i = 3, #ARGV do wanted[ARGV[i]] = true end
local first = math.max(0, tonumber(ARGV[1]) - tonumber(ARGV[2]))
for at, id in ipairs(redis.call('LRANGE', KEYS[1], first, tonumber(ARGV[1]) + tonumber(ARGV[2]))) do
  if wanted[id] then
    redis.call('LSET', KEYS[1], first + at - 1, '@GONE@')
    if wanted[id] ~= 1 then
      redis.call('RPUSH', KEYS[2], id)
      found[#found + 1] = id
      wanted[id] = 1
    end
  end
end
redis.call('LREM', KEYS[1], 0, '@GONE@')
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


@dataclass
class Tally:
    """What was found in one place, and what became of it."""

    place: str
    moved: int = 0  # or would be
    resumed: int = 0  # of these: taken by a run before, that did not come to its end
    left: Counter[str] = field(default_factory=Counter)  # why


@dataclass(frozen=True)
class _Item:
    rq_id: str
    origin: str
    call: Any
    encoded: bytes
    queue: str
    run_at: datetime | None = None
    ttl: int | None = None
    at_front: bool = False
    repeat: Repeat | None = None
    when: str = "success"
    cron: str = ""
    zone: str = "UTC"
    every: int | None = None

    @property
    def recurs(self) -> bool:
        return bool(self.cron) or self.every is not None


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


@contextmanager
def _telling() -> Iterator[None]:
    """Raises TransportUnavailable for Redis' errors: what has not moved is where it was."""
    try:
        yield
    except RedisError as error:
        raise TransportUnavailable(f"Redis: {error}: what has not moved is where it was; run this again") from None


class Mover:
    """One run. ``tell`` is told how many jobs were looked at, now and then."""

    def __init__(
        self,
        *,
        trust_pickle: bool = False,
        only: Sequence[str] | None = None,
        tell: Callable[[str, int], None] = lambda place, count: None,
    ) -> None:
        self._trust, self._only, self._tell = trust_pickle, only, tell

    @_telling()
    def look(self, place: Place) -> Tally:
        """What would move. Nothing is changed. Raises TransportUnavailable."""
        tally = Tally(place.name)
        for chunk in self._chunks(place, place.held):
            tally.resumed += len(chunk)
            tally.moved += len(chunk)
        for chunk in self._chunks(place, place.key):
            tally.moved += len(self._items(place, chunk, tally.left))
            self._tell(place.name, tally.moved)
        return tally

    @_telling()
    def move(self, place: Place) -> Tally:
        """Move what can be moved. Raises the database's errors and TransportUnavailable; to begin again is to go on."""
        tally = Tally(place.name)
        while held := next(self._chunks(place, place.held), None):
            held = self._without_written(place, held)
            items = self._items(place, held, Counter())  # what is given back is met again below
            tally.resumed += self._write(place, items)
            moved = {item.rq_id for item in items}
            if stay := list(dict.fromkeys(rq_id for rq_id, _ in held if rq_id not in moved)):
                _GIVE_BACK(place.connection, [place.held, place.key], stay)
        # What others take meanwhile moves the rest forward, past where this looks: so look again until nothing is left.
        before = -1
        while before < tally.moved:
            before = tally.moved
            self._pass(place, tally)
        tally.moved += tally.resumed
        rows = RQOrigin.objects.using(lifecycle.database()).filter(in_redis=True)
        rows.filter(origin__startswith=f"from:{place.key}:").update(in_redis=False)
        return tally

    # --- inside

    def _pass(self, place: Place, tally: Tally) -> None:
        """Once from the first to the last."""
        tally.left, offset = Counter(), 0
        while chunk := self._chunk(place, place.key, offset):
            items = self._items(place, chunk, tally.left)
            taken = self._take(place, [item.rq_id for item in items], offset)
            mine = [item for item in items if item.rq_id in taken]
            try:
                tally.moved += self._write(place, mine)
            except BaseException:
                self._give_back(place, mine)
                raise
            offset += sum(rq_id not in taken for rq_id, _ in chunk)
            self._tell(place.name, tally.moved)

    def _take(self, place: Place, ids: list[str], offset: int) -> set[str]:
        if not ids:
            return set()
        if place.is_list:
            found: Any = _TAKE_LISTED(place.connection, [place.key, place.held], [offset, CHUNK, *ids])
        else:
            found = _TAKE_SCORED(place.connection, [place.key, place.held], ids)
        return {each.decode() for each in found}

    def _give_back(self, place: Place, items: list[_Item]) -> None:
        """Put back what was taken and not written. What cannot be put back now is met by the next run."""
        known = _known([item.origin for item in items])
        if ids := [item.rq_id for item in items if item.origin not in known]:
            _GIVE_BACK(place.connection, [place.held, place.key], ids)

    def _write(self, place: Place, items: list[_Item]) -> int:
        """Write those that are not written yet, and let all of them leave Redis; how many are written now."""
        if not items:
            return 0
        try:
            written = _write(items)
        except IntegrityError:  # another run has just written some of them
            written = _write(items)
        self._drop(place, [(item.rq_id, item.recurs) for item in items])
        return written

    def _drop(self, place: Place, written: list[tuple[str, bool]]) -> None:
        """Let these leave Redis: the id of each, and whether it recurs."""
        for recurs in (False, True):
            if ids := [rq_id for rq_id, each in written if each == recurs]:
                keys = [place.held, Scheduler.scheduled_jobs_key]
                _DROP(place.connection, keys, ["recurs" if recurs else "", *ids])

    def _without_written(self, place: Place, held: list[tuple[str, float | None]]) -> list[tuple[str, float | None]]:
        """Those that an earlier run has not written; the others leave Redis.

        Whether this run could read them is no matter: given back, they would run twice. It may have no --trust-pickle.
        """
        origins = {_origin(place, job): job.id for job, *_ in self._found(place, held)}
        rows = RQOrigin.objects.using(lifecycle.database()).filter(origin__in=list(origins))
        written = {origins[origin]: not job_id for origin, job_id in rows.values_list("origin", "job_id")}
        self._drop(place, list(written.items()))
        return [(rq_id, score) for rq_id, score in held if rq_id not in written]

    def _chunks(self, place: Place, key: str) -> Iterator[list[tuple[str, float | None]]]:
        offset = 0
        while chunk := self._chunk(place, key, offset):
            yield chunk
            offset += len(chunk)

    def _chunk(self, place: Place, key: str, offset: int) -> list[tuple[str, float | None]]:
        last = offset + CHUNK - 1
        if place.is_list:
            listed: Any = place.connection.lrange(key, offset, last)
            return [(entry.decode(errors="replace"), None) for entry in listed]
        scored: Any = place.connection.zrange(key, offset, last, withscores=True)
        return [(entry.decode(errors="replace"), float(score)) for entry, score in scored]

    def _found(
        self, place: Place, chunk: list[tuple[str, float | None]]
    ) -> Iterator[tuple[FoundJob, float | None, bool]]:
        """The jobs of a chunk, each with its score, and whether others wait for it."""
        if place.is_list and place.key == queue_key(place.queue):  # ours stand there, too
            chunk = [entry for entry in chunk if parse_rq_job_id(entry[0]) is None]
        answers: Any = _READ(place.connection, [], [len(FIELDS), *FIELDS, *(rq_id for rq_id, _ in chunk)])
        for (rq_id, score), (values, awaited) in zip(chunk, answers, strict=True):
            fields = {name: value for name, value in zip(FIELDS, values, strict=True) if value}
            yield FoundJob(rq_id, fields), score, bool(awaited)

    def _items(self, place: Place, chunk: list[tuple[str, float | None]], left: Counter[str]) -> list[_Item]:
        items: dict[str, _Item] = {}
        known = queues.known_queues()
        for job, score, awaited in self._found(place, chunk):
            if job.id in items:
                continue  # named twice, it is one job
            if self._only and job.text("origin") not in self._only:
                continue
            try:
                items[job.id] = self._item(place, job, score, known, awaited=awaited)
            except Unreadable as error:
                left[str(error)] += 1
        return list(items.values())

    def _item(
        self, place: Place, job: FoundJob, score: float | None, known: Collection[str], *, awaited: bool
    ) -> _Item:
        _check_plain(job, awaited=awaited)
        queue = place.queue or job.text("origin")
        if queue not in known:
            raise Unreadable(f"its queue, {queue[:64]}, is none of JOBS['QUEUES']")
        call, meta = job.call(trust_pickle=self._trust), job.meta(trust_pickle=self._trust)
        try:
            # An occurrence of a recurring job is one job.
            rule = _rule(job, {} if place.is_list or place.queue else meta)
            run_at = None if score is None else datetime.fromtimestamp(score, UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            raise Unreadable("its time, or how it comes again, is none that there is") from None
        for name in ("interval", "repeat", "cron_string", "use_local_timezone"):
            if place.queue == "" or place.is_list:
                meta.pop(name, None)
        ttl = job.number("ttl") if place.is_list else None
        if ttl is not None and ttl > LONGEST_WAIT.total_seconds():
            raise Unreadable(f"its ttl is longer than {LONGEST_WAIT.days:,} days")
        try:
            durable, encoded = checked(call.path, call.args, call.kwargs, _options(job, meta))
            item = _Item(
                job.id, _origin(place, job), durable, encoded, queue,
                run_at=run_at, ttl=ttl, at_front=job.text("enqueue_at_front") == "1", **rule,
            )  # fmt: skip
            if item.recurs:
                _check_recurring(item)
        except InvalidJob as error:
            raise Unreadable(_why(error)) from None
        return item


def _check_plain(job: FoundJob, *, awaited: bool) -> None:
    """Raise Unreadable for what a durable job cannot do as RQ does it."""
    if not job.is_there:
        raise Unreadable("it is gone, only its id is left")
    for name, why in (
        ("dependency_ids", "it waits for others"), ("group_id", "it is of a group"),
        ("webhooks", "it has webhooks"), ("rate_limit_key", "it has a rate limit"),
        ("stopped_callback_name", "it has an on_stopped callback"),
    ):  # fmt: skip
        if job.text(name) not in ("", "[]"):
            raise Unreadable(why)
    if awaited:
        raise Unreadable("others wait for it")


def _origin(place: Place, job: FoundJob) -> str:
    """What a job is known by once it was written: an id may come again, at another time."""
    stamp = job.text("enqueued_at") if place.is_list else job.text("created_at")
    return f"from:{place.key}:{job.id}:{stamp}"[:500]


def _check_recurring(item: _Item) -> None:
    """Raise InvalidJob, or Unreadable, unless ``_recur`` will do: one that it refuses would stop all the others."""
    name = definition.check_name(item.rq_id)
    alias = lifecycle.database()
    columns = definition.define(name, item.call, item.cron or None, definition.Options(**_times(item)))
    definition.check_times(columns, database_now(connections[alias]))
    there = RecurringJob.objects.using(alias).filter(name=name).exclude(job_type=columns["job_type"], in_code=False)
    if there.exists():
        raise Unreadable("another recurring job has its name")


def _rule(job: FoundJob, meta: dict[str, Any]) -> dict[str, Any]:
    """How it comes again."""
    if (left := job.number("repeats_left")) and left > 0:
        return {"repeat": _repeat(left, job.listed("repeat_intervals") or [0])}
    every: Any
    times: Any
    cron, every, times = meta.get("cron_string"), meta.get("interval"), meta.get("repeat")
    if cron:
        if times is not None:
            raise Unreadable("its cron line ends after so many times")
        from django.utils import timezone

        return {"cron": cron, "zone": timezone.get_default_timezone_name() if meta.get("use_local_timezone") else "UTC"}
    if every and times is None:
        return {"every": int(every)}
    if every and int(times) > 1:
        return {"repeat": _repeat(int(times) - 1, int(every)), "when": "ended"}
    return {}


def _repeat(times: int, interval: Any) -> Repeat:
    """RQ's. Raises Unreadable for what ``repeat_after`` would refuse, TypeError or ValueError where RQ does."""
    if times > MOST_REPEATS:
        raise Unreadable(f"it is to be repeated more than {MOST_REPEATS:,} times")
    found = Repeat(times, interval)
    if max(found.intervals) > LONGEST_WAIT.total_seconds():
        raise Unreadable(f"it is to be repeated after more than {LONGEST_WAIT.days:,} days")
    return found


def _options(job: FoundJob, meta: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"id": job.id}
    if (left := job.number("retries_left")) and left > 0:
        found["retry"] = {"max": left, "intervals": job.listed("retry_intervals")}
    seconds = job.number("timeout")
    if seconds is not None and seconds != RQ_TIMEOUT.total_seconds():
        found["timeout_seconds"] = seconds if seconds > 0 else ENDLESS.total_seconds()
    for name, field_name in (("on_success", "success_callback_name"), ("on_failure", "failure_callback_name")):
        if path := job.text(field_name):
            found[name] = [path, None]
    if meta:
        found["meta"] = meta
    return found


def _why(error: InvalidJob) -> str:
    """The error in one of few words, to be counted by."""
    text = str(error)
    if "cannot be imported" in text:
        return f"its function cannot be imported here: {text.split()[1]}"
    return "its arguments are no JSON" if "JSON" in text or "stored" in text else text[:200]


def _known(origins: list[str]) -> set[str]:
    rows = RQOrigin.objects.using(lifecycle.database()).filter(origin__in=origins)
    return set(rows.values_list("origin", flat=True))


def _write(items: list[_Item]) -> int:
    alias = lifecycle.database()
    with transaction.atomic(using=alias):
        known = _known([item.origin for item in items])
        new = [item for item in items if item.origin not in known]
        once, again = [item for item in new if not item.recurs], [item for item in new if item.recurs]
        messages = lifecycle.create([_new(item) for item in once], actor=ACTOR, using=alias)
        origins = [(item.origin, item.rq_id, msg.job_id, True) for item, msg in zip(once, messages, strict=True)]
        for item in again:
            _recur(item)
            origins.append((item.origin, item.rq_id, 0, True))
        insert(connections[alias], RQOrigin, COLUMNS, origins)
        for item, message in zip(once, messages, strict=True):
            if item.repeat is not None:
                repeat_after(message.job_id, item.call, item.repeat, item.queue, when=item.when)
        publish_on_commit(messages, using=alias)
    return len(new)


def _new(item: _Item) -> NewJob:
    expires = timedelta(seconds=item.ttl) if item.ttl and item.ttl > 0 else None
    return NewJob(
        registry.for_object(item.call).name, item.encoded, item.queue, item.run_at,
        expires_in=expires, priority=AT_FRONT if item.at_front else 0,
    )  # fmt: skip


def _recur(item: _Item) -> None:
    job_scheduler.add_or_update_recurring(
        item.rq_id,
        item.call,
        item.cron or None,
        by=ACTOR,
        reason="moved from rq-scheduler",
        **_times(item),
    )


def _times(item: _Item) -> dict[str, Any]:
    """When it recurs, and where."""
    every = None if item.every is None else timedelta(seconds=item.every)
    start = item.run_at if item.every is not None else None
    return {"timezone": item.zone, "every": every, "start": start, "queue": item.queue}


def as_json(tallies: Sequence[Tally]) -> str:
    """One object a line."""
    return "\n".join(
        json.dumps({"place": each.place, "moved": each.moved, "resumed": each.resumed, "left": dict(each.left)})
        for each in tallies
    )
