"""Jobs as RQ messages: what stands on RQ's queues and in rq-scheduler's set of delayed jobs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from rq.job import Job
from rq.queue import Queue

from handlers.conf import QUEUE_NAME
from handlers.exceptions import InvalidJob, TransportUnavailable
from handlers.rq_transport.availability import spare_caller, transport_errors, trouble
from handlers.rq_transport.connections import redis_connection
from handlers.rq_transport.lua import KEPT, PUBLISH, PUBLISH_DELAYED, SEARCH, LuaScript
from handlers.rq_transport.names import queue_key, rq_name
from handlers.rq_transport.own_connection import OwnRedis, own_connection
from handlers.rq_transport.ranks import keys_of, place, rq_time
from handlers.transport import LastWords, Message, ServerState

QUEUES_KEY: str = Queue.redis_queues_keys
# Not rq-scheduler's own key: its process would take our jobs from there, and end of the first that it cannot unpickle.
DELAYED_KEY = "jobs:delayed"
LAST_WORDS = "jobs:last-words:"  # before a worker's name
LAST_WORDS_SECONDS = 24 * 3600
WAKE_CHANNEL = f"{DELAYED_KEY}:wake"  # says that a delayed job now comes first; the message is its due time

CHUNK = 1_000  # messages per script: a few milliseconds of Redis, which does nothing else meanwhile
HEAD_SLACK = 200  # messages at a queue's head beside those asked about: other jobs', duplicates, withdrawn ones
STEP = 20_000  # entries of a long queue looked through in one step: some milliseconds of Redis

T = TypeVar("T")

_RQ_JOB_ID = re.compile(r"([1-9][0-9]{0,18})-([0-9a-f]{16})")
_RQ_JOB_ID_LINES = re.compile(f"^{_RQ_JOB_ID.pattern}$", re.MULTILINE)
_TOKEN = re.compile(r"[0-9a-f]{16}")


def rq_job_id(message: Message) -> str:
    """The RQ job's id: ``{job id}-{token}``."""
    return f"{message.job_id}-{message.token}"


def parse_rq_job_id(text: str) -> tuple[int, str] | None:
    """Job id and token of an RQ job's id, or None when it is not one of ours."""
    match = _RQ_JOB_ID.fullmatch(text)
    return (int(match[1]), match[2]) if match and int(match[1]) < 2**63 else None


def parse_rq_job_ids(entries: Sequence[bytes]) -> list[tuple[int, str]]:
    """Job id and token of ``entries`` that are known to be ours, at a fraction of the price of one by one.

    One whose number no job can have is left out.
    """
    found = _RQ_JOB_ID_LINES.findall(b"\n".join(entries).decode(errors="replace"))
    return [(number, token) for digits, token in found if (number := int(digits)) < 2**63]


def _words(running: list[int] | int, started: list[int]) -> LastWords:
    # In the middle of a deploy a supervisor of the release before may have left the one job that ran, or 0.
    ran = running if isinstance(running, list) else {running} - {0}
    return LastWords(frozenset(ran), frozenset(started))


class RQTransport:
    """The transport over RQ. Each delivery is a real RQ job, so RQ's own workers and tools understand it."""

    def publish(self, messages: Sequence[Message], *, wait: bool = True, front: bool = False) -> None:
        """Put the messages at the end of their queues, or at the ``front``, in the order given: a round trip per
        thousand.

        Those with a priority have a place by their rank, too. A delayed message stops being delayed in the same step.
        Raises TransportUnavailable, without ``wait`` perhaps with a later call, and InvalidJob (before anything was
        sent) for a message that cannot be one of ours.
        """
        for message in messages:
            _check(message)
        now = datetime.now(UTC)
        chunks = list(enumerate(_chunks(messages)))
        for number, chunk in reversed(chunks) if front else chunks:
            queues: dict[str, list[str]] = {}
            for message in reversed(chunk) if front else chunk:
                queues.setdefault(message.queue, []).append(rq_job_id(message))
            args: list[str | int] = [rq_time(now), "LPUSH" if front else "RPUSH"]
            for name, ids in queues.items():
                args += [rq_name(name), len(ids), *ids]
            for index, message in enumerate(chunk, number * CHUNK):
                if message.priority or message.enqueued_at:
                    at = [*queues].index(message.queue) + 1
                    args += [at, rq_job_id(message), *place(message, now, index)]
            _send(PUBLISH, [QUEUES_KEY, DELAYED_KEY, *map(queue_key, queues)], args, wait)

    def publish_delayed(self, messages: Sequence[Message], *, wait: bool = True) -> None:
        """Announce jobs that are due at their ``run_at``, and wake the schedulers if one of them comes first.

        Raises TransportUnavailable, and InvalidJob (before anything was sent) for a message without aware ``run_at``.
        """
        entries = [(rq_job_id(message), rq_name(message.queue), _due(message)) for message in messages]
        written_at = rq_now()
        for chunk in _chunks(entries):
            args: list[str | float] = [written_at]
            for entry in chunk:
                args += entry
            _send(PUBLISH_DELAYED, [DELAYED_KEY, WAKE_CHANNEL], args, wait)

    def withdraw(self, messages: Sequence[Message]) -> None:
        """Take back deliveries, queued or delayed, that can no longer change anything. Raises TransportUnavailable.

        A queued id stays on its list, because taking it out means reading the list. Without its hash RQ's workers pass
        over it, and ours are refused the claim.
        """
        spare_caller()
        for chunk in _chunks(messages):
            ids = [rq_job_id(message) for message in chunk]
            with transport_errors(), redis_connection().pipeline(transaction=False) as pipe:
                pipe.zrem(DELAYED_KEY, *ids)
                for queue in {message.queue for message in chunk}:
                    pipe.zrem(keys_of(queue)[0], *ids)
                pipe.unlink(*map(Job.key_for, ids))
                pipe.execute()

    def trouble(self) -> str:
        """Why Redis takes no messages now, or seconds ago; empty when it does."""
        return trouble()

    def measure(self, queues: Sequence[str]) -> ServerState:
        """How Redis is, and how many messages stand on ``queues``. Raises TransportUnavailable."""
        if why := trouble():  # which takes half a second at most, and knows of a full one, too
            raise TransportUnavailable(why)
        began = time.perf_counter()
        with transport_errors(), redis_connection().pipeline(transaction=False) as pipe:
            pipe.info("memory")
            for queue in queues:
                pipe.llen(queue_key(queue))
            memory, *lengths = pipe.execute()
        seconds = time.perf_counter() - began
        held, limit = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
        return ServerState(seconds, held, limit, dict(zip(queues, map(int, lengths), strict=True)))

    def leave_last_words(self, worker: str, words: LastWords) -> None:
        """Keep what only a supervisor knows, and cannot tell the database, until recovery asks. A day at most.

        Raises TransportUnavailable.
        """
        spare_caller()
        told = json.dumps([sorted(words.running), sorted(words.started)])
        with transport_errors():
            redis_connection().set(LAST_WORDS + worker, told, ex=LAST_WORDS_SECONDS)

    def last_words(self, workers: Sequence[str]) -> Mapping[str, LastWords]:
        """What was left of those of ``workers`` of which something was. Raises TransportUnavailable."""
        spare_caller(reads=True)
        with transport_errors():
            found: Any = redis_connection().mget([LAST_WORDS + worker for worker in workers]) if workers else []
        told = {worker: json.loads(text) for worker, text in zip(workers, found, strict=True) if text is not None}
        return {worker: _words(*each) for worker, each in told.items()}

    def missing(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        """Those of ``messages``, usually the queue's oldest, that it does not hold. Raises TransportUnavailable.

        Its head answers for an ordinary queue. Of what is not there, messages without their RQ jobs are lost, as all
        are after a flush, unless one of them is on the list: then Redis evicts jobs. (Beside a set of ranks they are
        lost on the list, too: who takes drops them.) What stands far behind other programs' jobs is as good as lost.
        What is left is looked for in the rest, in steps from its end, where messages that were published again stand.
        """
        key, redis = queue_key(queue), redis_connection()
        asked = {rq_job_id(message): message for message in messages}
        unseen, seen = list(asked), set[str]()
        # An index that counts from the end stays right while workers take from the front; a push only repeats a few.
        first, last = 0, len(messages) + HEAD_SLACK - 1
        while unseen:
            with transport_errors():
                count, found, ranked, hidden = SEARCH(redis, [key], [first, last, *unseen])
                seen.update(entry.decode() for entry in found)
                if count < last - first + 1:
                    break
                unseen = [name for name in unseen if name not in seen]
                if hidden:  # behind others' jobs, where nobody looks: published again they have a place by rank
                    break
                if first == 0 and unseen:
                    kept = {entry.decode() for entry in KEPT(redis, [], unseen)}
                    gone = [name for name in unseen if name not in kept]
                    if ranked or all(redis.lpos(key, name) is None for name in {*gone[:1], *gone[-1:]}):
                        unseen = list(kept)
            first, last = (-STEP, -1) if first >= 0 else (first - STEP, first - 1)
        return [message for name, message in asked.items() if name not in seen]


def _send(script: LuaScript, keys: Sequence[str], args: Sequence[str | int | float], wait: bool) -> None:
    spare_caller()
    with transport_errors():
        client = own_connection()
        if wait or not isinstance(client, OwnRedis):
            script(client, keys, args)
        else:
            client.post(script.call(keys, args), lambda own: script(own, keys, args))


def rq_now() -> str:
    """Now, as RQ writes times."""
    return rq_time(datetime.now(UTC))


def _check(message: Message) -> None:
    # What a row holds was checked when it was written. This fence keeps a damaged one out of keys and scripts.
    if message.job_id < 1 or not _TOKEN.fullmatch(message.token):
        raise InvalidJob(f"job {message.job_id!r} with token {message.token!r} cannot be a message", field="token")
    if not QUEUE_NAME.fullmatch(message.queue):
        raise InvalidJob(f"queue: {message.queue!r} is not a queue's name ({QUEUE_NAME.pattern})", field="queue")


def _due(message: Message) -> float:
    _check(message)
    run_at: datetime | None = message.run_at
    if run_at is None or run_at.tzinfo is None:
        raise InvalidJob(f"run_at: a delayed job needs an aware datetime, not {run_at!r}", field="run_at")
    return run_at.timestamp()


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
