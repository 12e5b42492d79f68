"""django-rq's queue, whose jobs are durable ones."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django_rq.queues import DjangoRQ
from rq.job import Job
from rq.queue import Queue
from rq.utils import now

from handlers import lifecycle
from handlers.adoption.enqueueing import StaysPlain, enqueue, tell_plain
from handlers.adoption.handle import DurableJob, find, of_record
from handlers.writing import writing

_CALL = inspect.signature(Queue.enqueue_call)
_PARSED = (
    "timeout", "description", "ttl", "depends_on", "job_id", "at_front", "meta", "retry", "repeat", "on_success",
    "on_failure", "on_stopped", "rate_limit", "webhooks", "pipeline", "unique",
)  # fmt: skip


class DurableQueue(DjangoRQ):
    """RQ's queue for the site's code: what is enqueued on it is recorded in the database, in the caller's transaction.

    What can be no durable job stays RQ's own, as before, on RQ's queue of this name; the log says once why.
    """

    job_class = DurableJob

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("job_class") in (None, Job):  # no other one was asked for
            kwargs["job_class"] = DurableJob
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]

    def enqueue_call(self, *args: Any, **kwargs: Any) -> Any:
        """As RQ has it; the handle of the durable job, in a transaction too."""
        given = _CALL.bind(self, *args, **kwargs).arguments
        found = self._durable(given["func"], given.get("args"), given.get("kwargs"), given)
        return super().enqueue_call(*args, **kwargs) if found is None else found  # type: ignore[no-untyped-call]

    def enqueue_at(self, datetime: datetime, f: Any, *args: Any, **kwargs: Any) -> Any:
        """As RQ has it: a naive time is one of the process's zone."""
        parsed = Queue.parse_args(f, *args, **kwargs)
        given = {name: getattr(parsed, name) for name in _PARSED}
        found = self._durable(f, parsed.args, parsed.kwargs, given, datetime.astimezone())
        return super().enqueue_at(datetime, f, *args, **kwargs) if found is None else found

    def enqueue_in(self, time_delta: timedelta, func: Any, *args: Any, **kwargs: Any) -> Any:
        """As RQ has it."""
        return self.enqueue_at(now() + time_delta, func, *args, **kwargs)

    def enqueue_many(self, job_datas: Iterable[Any], pipeline: Any = None, group_id: str | None = None) -> list[Any]:
        """All in one transaction, in their order. A group's are RQ's own, and a pipeline's."""
        if pipeline is not None or group_id is not None or not self._is_async:
            return super().enqueue_many(job_datas, pipeline, group_id)
        with writing(lifecycle.database()):
            return [
                self.enqueue_call(**{name: value for name, value in data._asdict().items() if value is not None})
                for data in job_datas
            ]

    def fetch_job(self, job_id: str) -> Job | None:
        """The job of this id, durable or RQ's own."""
        found = super().fetch_job(job_id)  # by our class, and of this queue
        if found is None and (record := find(job_id)) is not None:
            return of_record(record, self.connection, name=job_id)
        return found

    def _durable(self, func: Any, args: Any, kwargs: Any, given: Any, run_at: datetime | None = None) -> Any:
        if not self._is_async:
            return None
        options = dict(given)
        if options.get("timeout") is None:
            options["timeout"] = self._default_timeout
        try:
            return enqueue(func, args, kwargs, options, queue=self.name, connection=self.connection, run_at=run_at)
        except StaysPlain as error:
            tell_plain(func, error)
            return None
