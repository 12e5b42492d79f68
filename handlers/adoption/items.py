"""A job of RQ's own as the durable one that it becomes; what cannot be one says why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from rq.repeat import Repeat

from handlers import lifecycle
from handlers.adoption.calls import checked
from handlers.adoption.enqueueing import MOST_REPEATS
from handlers.adoption.found import FoundJob, Unreadable
from handlers.adoption.options import ENDLESS, RQ_TIMEOUT
from handlers.adoption.standing import Place
from handlers.deadlines import LONGEST_WAIT
from handlers.exceptions import InvalidJob
from handlers.models import RecurringJob
from handlers.models.sql import database_now
from handlers.recurrence import definition


@dataclass(frozen=True)
class Item:
    """What is written, and what it is known by."""

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
        """Whether it becomes a recurring job."""
        return bool(self.cron) or self.every is not None


def read(
    place: Place,
    job: FoundJob,
    score: float | None,
    known: Collection[str],
    *,
    awaited: bool,
    trust_pickle: bool,
) -> Item:
    """``job``, which stands at ``place``, with the time ``score`` if there is one; ``known``: the queues of the site.

    ``awaited``: whether others wait for it. Raises Unreadable for what a durable job cannot do as RQ does it.
    """
    _check_plain(job, awaited=awaited)
    queue = place.queue or job.text("origin")
    if queue not in known:
        raise Unreadable(f"its queue, {queue[:64]}, is none of JOBS['QUEUES']")
    call, meta = job.call(trust_pickle=trust_pickle), job.meta(trust_pickle=trust_pickle)
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
        item = Item(
            job.id, origin(place, job), durable, encoded, queue,
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


def origin(place: Place, job: FoundJob) -> str:
    """What a job is known by once it was written: an id may come again, at another time."""
    stamp = job.text("enqueued_at") if place.is_list else job.text("created_at")
    return f"from:{place.key}:{job.id}:{stamp}"[:500]


def _check_recurring(item: Item) -> None:
    """Raise InvalidJob, or Unreadable, unless ``_recur`` will do: one that it refuses would stop all the others."""
    name = definition.check_name(item.rq_id)
    alias = lifecycle.database()
    columns = definition.define(name, item.call, item.cron or None, definition.Options(**times(item)))
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


def times(item: Item) -> dict[str, Any]:
    """When it recurs, and where."""
    every = None if item.every is None else timedelta(seconds=item.every)
    start = item.run_at if item.every is not None else None
    return {"timezone": item.zone, "every": every, "start": start, "queue": item.queue}
