"""rq-scheduler's scheduler, as far as the site's code calls it: what it schedules are durable and recurring jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from django_rq.queues import DjangoScheduler
from rq.job import JobStatus
from rq.repeat import Repeat
from rq_scheduler.utils import rationalize_until

from handlers import lifecycle
from handlers.adoption import options
from handlers.adoption.calls import PREFIX, make
from handlers.adoption.enqueueing import MOST_REPEATS, StaysPlain, enqueue, repeat_after, tell_plain
from handlers.adoption.handle import DurableJob, find, made, of_record
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import JobRecord, RecurringJob
from handlers.states import State
from handlers.writing import writing

NAME = "rq-"  # how the names of recurring jobs begin for which the site's code gave no id
_OWN = ("timeout", "job_id", "depends_on", "meta", "queue_name", "on_success", "on_failure", "at_front")


class DurableScheduler(DjangoScheduler):
    """rq-scheduler's for the site's code. ``manage.py scheduler`` promotes and fires what it makes.

    What can be no durable job is rq-scheduler's own, as before, and needs its process.
    """

    def enqueue_at(self, scheduled_time: datetime, func: Any, *args: Any, **kwargs: Any) -> Any:
        """As rq-scheduler has it: a naive time is UTC."""
        given = {name: kwargs[name] for name in _OWN if name in kwargs}
        given |= {"ttl": kwargs.get("job_ttl"), "description": kwargs.get("job_description")}
        rest = {key: value for key, value in kwargs.items() if key not in _OWN and key not in _JOB_OPTIONS}
        found = self._durable(func, args, rest, given, scheduled_time)
        return super().enqueue_at(scheduled_time, func, *args, **kwargs) if found is None else found

    def enqueue_in(self, time_delta: timedelta, func: Any, *args: Any, **kwargs: Any) -> Any:
        """As rq-scheduler has it."""
        return self.enqueue_at(datetime.now(UTC) + time_delta, func, *args, **kwargs)

    def schedule(
        self,
        scheduled_time: datetime,
        func: Any,
        args: Any = None,
        kwargs: Any = None,
        interval: Any = None,
        repeat: Any = None,
        **rest: Any,
    ) -> Any:
        """Once; with ``interval`` again and again; with ``repeat`` so many times in all."""
        given = {**rest, "job_id": rest.get("id")}
        if repeat and interval is None:
            raise ValueError("Can't repeat a job without interval argument")
        try:
            if interval is not None and repeat is None:
                return self._recurring(func, args, kwargs, given, start=scheduled_time, every=int(interval))
            if repeat and int(repeat) > MOST_REPEATS:
                raise StaysPlain(f"it is to be repeated {int(repeat):,} times, more than {MOST_REPEATS:,}")
            with writing(lifecycle.database()):
                found = self._durable(func, args, kwargs, given, scheduled_time, raises=True)
                if repeat and int(repeat) > 1:
                    queue = rest.get("queue_name") or self.queue_name
                    brought = options_of(given, self._timeout(given, queue))
                    call = make(options.named(func), args, kwargs, brought)
                    repeat_after(found.record_id, call, Repeat(int(repeat) - 1, int(interval)), queue, when="ended")
        except StaysPlain as error:
            tell_plain(func, error)
            return super().schedule(
                scheduled_time, func, args=args, kwargs=kwargs, interval=interval, repeat=repeat, **rest
            )
        return found

    def cron(
        self,
        cron_string: str,
        func: Any,
        args: Any = None,
        kwargs: Any = None,
        repeat: Any = None,
        use_local_timezone: bool = False,
        **rest: Any,
    ) -> Any:
        """A recurring job. The same call again changes nothing, where rq-scheduler would have a second one."""
        given = {**rest, "job_id": rest.get("id")}
        zone = timezone.get_default_timezone_name() if use_local_timezone else "UTC"
        try:
            if repeat is not None:
                raise StaysPlain("a cron line that ends after so many times is rq-scheduler's alone")
            return self._recurring(func, args, kwargs, given, cron=cron_string, zone=zone)
        except StaysPlain as error:
            tell_plain(func, error)
            return super().cron(
                cron_string,
                func,
                args=args,
                kwargs=kwargs,
                repeat=repeat,
                use_local_timezone=use_local_timezone,
                **rest,
            )

    def cancel(self, job: Any) -> None:
        """Let it run no more: the job, or its id."""
        if isinstance(job, DurableJob) and (job.record_id is not None or job.recurring):
            job.cancel()
            return
        name = job if isinstance(job, str) else job.id
        if not job_scheduler_removed(name):
            super().cancel(job)

    def change_execution_time(self, job: Any, date_time: datetime) -> None:
        """Of rq-scheduler's own alone. Raises ValueError for a durable one."""
        if isinstance(job, DurableJob) and (job.record_id is not None or job.recurring):
            raise ValueError("a durable job keeps its time: cancel it, and schedule it anew")
        super().change_execution_time(job, date_time)

    def __contains__(self, item: Any) -> bool:
        """Whether it is to run, by itself or its id."""
        name = item if isinstance(item, str) else item.id
        if isinstance(item, DurableJob) and item.recurring:
            name = item.recurring
        if _recurring_rows().filter(name=name).exists():
            return True
        record = find(name)
        return super().__contains__(item) if record is None else record.state == State.SCHEDULED

    def count(self, until: Any = None) -> int:
        """How many are scheduled."""
        return int(super().count(until)) + sum(1 for _ in self._durable_jobs(until))

    def get_jobs(
        self, until: Any = None, with_times: bool = False, offset: int | None = None, length: int | None = None
    ) -> Iterator[Any]:
        """rq-scheduler's own, then the durable and the recurring ones; a slice is of its own."""
        yield from super().get_jobs(until, with_times=with_times, offset=offset, length=length)
        if offset is None:
            for job, at in self._durable_jobs(until):
                yield (job, at) if with_times else job

    def get_jobs_to_queue(self, with_times: bool = False) -> Iterator[Any]:
        """rq-scheduler's own: the others are promoted by ``manage.py scheduler``."""
        yield from super().get_jobs(datetime.now(UTC).timestamp(), with_times=with_times)

    # --- inside

    def _durable_jobs(self, until: Any) -> Iterator[tuple[DurableJob, datetime]]:
        limit = rationalize_until(until)
        before = None if limit == "+inf" else datetime.fromtimestamp(float(limit), UTC)
        rows = JobRecord.objects.using(lifecycle.database()).filter(
            state=State.SCHEDULED, failures=0, job_type__startswith=PREFIX
        )
        recurring = _recurring_rows().filter(next_at__isnull=False)
        if before is not None:
            rows, recurring = rows.filter(run_at__lte=before), recurring.filter(next_at__lte=before)
        for record in rows.order_by("run_at", "pk").iterator():
            assert record.run_at is not None
            yield of_record(record, self.connection), _naive(record.run_at)
        for row in recurring.order_by("next_at", "pk").iterator():
            assert row.next_at is not None
            yield self._handle(row), _naive(row.next_at)

    def _durable(
        self, func: Any, args: Any, kwargs: Any, given: dict[str, Any], at: datetime, *, raises: bool = False
    ) -> Any:
        queue = given.pop("queue_name", None) or self.queue_name
        given = {**given, "timeout": self._timeout(given, queue)}
        try:
            return enqueue(func, args, kwargs, given, queue=queue, connection=self.connection, run_at=_aware(at))
        except StaysPlain as error:
            if raises:
                raise
            tell_plain(func, error)
            return None

    def _timeout(self, given: dict[str, Any], queue: str) -> Any:
        from django_rq.settings import QUEUES

        found = given.get("timeout")
        return QUEUES.get(queue, {}).get("DEFAULT_TIMEOUT") if found is None else found

    def _recurring(
        self,
        func: Any,
        args: Any,
        kwargs: Any,
        given: dict[str, Any],
        *,
        cron: str | None = None,
        zone: str = "UTC",
        start: datetime | None = None,
        every: int | None = None,
    ) -> DurableJob:
        queue = given.get("queue_name") or self.queue_name
        if given.get("depends_on"):
            raise StaysPlain("a recurring job waits for no other")
        brought = options_of(given, self._timeout(given, queue))
        try:
            path = options.named(func)
            name = given["job_id"] or name_of(path, args, kwargs, cron or every, queue)
            job_scheduler.add_or_update_recurring(
                name,
                make(path, args, kwargs, brought),
                cron,
                timezone=zone,
                every=None if every is None else timedelta(seconds=every),
                start=None if start is None else _aware(start),
                queue=queue,
            )
        except InvalidJob as error:
            raise StaysPlain(str(error)) from None
        return made(
            None, path, args or [], kwargs or {}, brought,
            queue=queue, connection=self.connection, name=name, recurring=name, status=JobStatus.SCHEDULED,
        )  # fmt: skip

    def _handle(self, row: RecurringJob) -> DurableJob:
        data = row.data
        return made(
            None, row.job_type.removeprefix(PREFIX), data.get("args") or [], data.get("kwargs") or {},
            data.get("options") or {}, queue=row.queue or "default", connection=self.connection, name=row.name,
            recurring=row.name, status=JobStatus.SCHEDULED,
        )  # fmt: skip


_JOB_OPTIONS = ("job_ttl", "job_result_ttl", "job_description")


def name_of(path: str, args: Any, kwargs: Any, rule: object, queue: str) -> str:
    """The name of a recurring job whose caller chose none: the same call has the same. Raises InvalidJob."""
    try:
        text = json.dumps([path, list(args or ()), dict(kwargs or {}), rule, queue], sort_keys=True)
    except (TypeError, ValueError):
        raise InvalidJob(f"{path}: the arguments are no JSON") from None
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{NAME}{path.rpartition('.')[2][:100]}-{digest}"


def options_of(given: dict[str, Any], timeout: Any) -> dict[str, Any]:
    """What a recurring call brings along. Raises StaysPlain."""
    try:
        return options.stored(**_brought({**given, "job_id": None, "timeout": timeout}))
    except InvalidJob as error:
        raise StaysPlain(str(error)) from None


def job_scheduler_removed(name: str) -> bool:
    """Whether there was a durable or a recurring job of this name, which runs no more."""
    if _recurring_rows().filter(name=name).exists():
        return job_scheduler.remove_recurring(name)
    record = find(name)
    return record is not None and (job_scheduler.delete(record.pk) or True)


def _brought(given: dict[str, Any]) -> dict[str, Any]:
    known = ("timeout", "on_success", "on_failure", "meta", "job_id", "description")
    return {name: given.get(name) for name in known}


def _recurring_rows() -> Any:
    return RecurringJob.objects.using(lifecycle.database()).filter(job_type__startswith=PREFIX, in_code=False)


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _naive(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)  # as rq-scheduler has them
