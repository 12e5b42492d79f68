"""The backend: calls of tasks become durable jobs, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.utils import timezone

from handlers.exceptions import InvalidJob
from handlers.job_types import check_queue
from handlers.registry import registry
from handlers.retries import RetryPolicy
from handlers.several import for_each, rename, tell_which
from handlers.tasks import arguments, discovery, options
from handlers.tasks.durable_task import task_class
from handlers.tasks.families import Family, family_of, native, owner_of
from handlers.tasks.task_types import TaskCall, TaskType, brought_along, declare
from handlers.writing import writing


class DurableBackend(native().backend):  # type: ignore[misc] # Django's or the package's, as is there
    """``TASKS = {"default": {"BACKEND": "handlers.tasks.DurableBackend"}}``, for ``django.tasks`` and ``django-tasks``.

    ``QUEUES``: where tasks may go; ``[]``: anywhere. ``OPTIONS``, for tasks that say nothing themselves:
    ``max_attempts`` (1), ``backoff``, ``retry`` and ``timeout`` (``JOBS["TIMEOUT_SECONDS"]``), as ``@task`` takes them.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True
    supports_metadata = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._valid: dict[str, Any] = {}  # tasks as the code declares them, by path: they do not change
        self._results: dict[type, tuple[Family, Any]] = {}  # by a task's class: whose it is, and the class of results
        registry.find_with(discovery.find)
        registry.add_queues(name for name in self.queues if _is_queue(name))
        if not self.queues:
            registry.takes_any_queue = True

    @cached_property
    def family(self) -> Family:
        """Whose backend this is."""
        return owner_of(self)

    @property
    def task_class(self) -> Any:
        """What ``@task`` makes."""
        return task_class(self.family)

    # --- tasks

    def validate_task(self, task: Any) -> None:
        """Raise the family's InvalidTask unless this backend can run ``task``; its job type is known from then on."""
        of = family_of(task) or self.family
        if isinstance(task.priority, bool) or not isinstance(task.priority, int):
            raise of.invalid(f"priority must be a whole number between -100 and 100, not {repr(task.priority)[:60]}")
        if task.run_after is not None and not isinstance(task.run_after, datetime):
            raise of.invalid(f"run_after must be an aware datetime, not {repr(task.run_after)[:60]}")
        of.backend.validate_task(self, task)
        try:
            job_type = declare(task, self._policy, self._timeout)
            if task is not job_type.task:
                check_queue(task.queue_name)
                brought_along(task, job_type, self._policy, self._timeout, {})
                if (rule := options.unique(getattr(task, "unique", None))) is not None:
                    job_type.check_unique(rule)
            self._metadata(task)
        except InvalidJob as error:
            raise of.invalid(str(error)) from error

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Enqueue one call, in the caller's transaction; its result, which is ready to be run.

        Raises the family's InvalidTask; InvalidJob, a TypeError as well, for arguments that cannot be stored.
        """
        job_type = self._type_of(task)
        return self._start(task, job_type, self._call(task, job_type, args, kwargs))

    def enqueue_many(self, task: Any, calls: Iterable[Iterable[Any] | Mapping[str, Any]]) -> list[Any]:
        """Enqueue a call with each of these, a tuple of arguments or a dict of named ones; all, or none.

        What is raised says which one it is about, counted from 0: its ``field`` is such as ``calls.17.args.0``.
        """
        job_type = self._type_of(task)
        for_each("calls", calls, "tuples of arguments")
        made = []
        for place, call in enumerate(calls):
            for_each(f"calls.{place}", call, "its arguments, or a dict of named ones")
            args, kwargs = ((), call) if isinstance(call, Mapping) else ([*call], {})
            made.append(self._call(task, job_type, args, kwargs))
        from handlers import lifecycle
        from handlers.gateway import job_scheduler

        if task.run_after is not None:
            with writing(lifecycle.database()):
                return self._start_each(task, job_type, made)
        try:
            ids = job_scheduler.enqueue_many(made, **self._how(task, job_type))
        except InvalidJob as error:
            rename(error, "jobs", "calls")
            raise
        return [self._started(task, call, job_id) for call, job_id in zip(made, ids, strict=True)]

    def get_result(self, result_id: str) -> Any:
        """The result of this id, as it is on record. Raises the family's TaskResultDoesNotExist."""
        from handlers.tasks.results import read

        found = read(result_id)
        if found is None:
            raise self.family.does_not_exist(result_id)
        return found

    # --- inside

    def _type_of(self, task: Any) -> TaskType:
        path = task.module_path
        if self._valid.get(path) is not task or not registry.has(path):
            self.validate_task(task)
        job_type = registry.find(path)
        assert isinstance(job_type, TaskType)
        if job_type.task is task:
            self._valid[path] = task
        return job_type

    def _call(self, task: Any, job_type: TaskType, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        call: Any = job_type.payload_class
        if task is job_type.task and not getattr(task, "metadata", None):
            return call(args, kwargs)
        brought = brought_along(task, job_type, self._policy, self._timeout, self._metadata(task))
        return call(args, kwargs, brought)

    def _how(self, task: Any, job_type: TaskType) -> dict[str, Any]:
        """What the scheduler is told beside the call."""
        if task is job_type.task:
            return {}
        how: dict[str, Any] = {"priority": task.priority}
        if task.queue_name != job_type.queue:
            if not self.queues:
                registry.add_queues([task.queue_name])
            how["queue"] = task.queue_name
        if hasattr(task, "unique") and (own := options.unique(task.unique)) != job_type.unique:
            how["unique"] = own or False
        return how

    def _start(self, task: Any, job_type: TaskType, call: TaskCall) -> Any:
        from handlers.gateway import job_scheduler

        how = self._how(task, job_type)
        if task.run_after is None:
            job_id = job_scheduler.enqueue(call, **how)
        else:
            job_id = job_scheduler.schedule(call, task.run_after, **how)
        return self._started(task, call, job_id)

    def _start_each(self, task: Any, job_type: TaskType, calls: Iterable[TaskCall]) -> list[Any]:
        started = []
        for place, call in enumerate(calls):
            try:
                started.append(self._start(task, job_type, call))
            except InvalidJob as error:
                tell_which(error, "calls", place)
                raise
        return started

    def _results_of(self, task: Any) -> tuple[Family, Any]:
        found = self._results.get(type(task))
        if found is None:
            from handlers.tasks.results import result_class

            of = family_of(task) or self.family
            found = self._results[type(task)] = of, result_class(of)
        return found

    def _started(self, task: Any, call: TaskCall, job_id: Any) -> Any:
        if not job_id.is_new:
            return self.get_result(job_id)  # of the one that is there
        of, result_class = self._results_of(task)
        result = result_class(
            task=task,
            id=str(int(job_id)),
            status=of.status.READY,
            enqueued_at=job_id.created_at or timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=call.args,
            kwargs=call.kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
            metadata=call.options.get("metadata", {}),
        )
        # Robust: the job is on record, and perhaps published; a receiver's error must not say otherwise.
        of.signals.task_enqueued.send_robust(type(self), task_result=result)
        return result

    def _metadata(self, task: Any) -> dict[str, Any]:
        own = getattr(task, "metadata", None)
        if not own:
            return {}
        if not isinstance(own, dict):
            raise InvalidJob("metadata must be a dict.", field="metadata")
        if not all(isinstance(key, str) for key in own):
            raise InvalidJob("metadata keys must be strings.", field="metadata")
        try:
            clean: dict[str, Any] = arguments.metadata(own, type_name=task.module_path)
        except InvalidJob as error:
            raise InvalidJob(f"metadata must be JSON-serializable: {error}", field="metadata") from error
        return clean

    # --- settings

    @cached_property
    def _policy(self) -> RetryPolicy:
        """That of tasks that say nothing. What is wrong with OPTIONS ``check`` says."""
        try:
            found = self.options
            return options.policy(found.get("retry"), found.get("max_attempts"), found.get("backoff"), options.ONCE)
        except InvalidJob:
            return options.ONCE

    @cached_property
    def _timeout(self) -> Any:
        try:
            return options.timeout(self.options.get("timeout"))
        except InvalidJob:
            return None

    def check(self, **_: Any) -> Iterable[CheckMessage]:
        """What would fail later: said now, with how to mend it."""
        return [*self._check_place(), *self._check_queues(), *self._check_options(), *self._check_modules()]

    def _check_place(self) -> Iterable[CheckMessage]:
        if not apps.is_installed("handlers"):
            text = f"TASKS[{self.alias!r}] keeps its tasks as jobs, and 'handlers' is not installed."
            hint = "Add 'django_rq' and 'handlers' to INSTALLED_APPS, then manage.py migrate."
            yield Error(text, hint=hint, id="jobs.E030")

    def _check_queues(self) -> Iterable[CheckMessage]:
        for name in sorted(map(str, self.queues)):
            try:
                check_queue(name)
            except InvalidJob as error:
                text = f"TASKS[{self.alias!r}]['QUEUES']: {error}."
                yield Error(text, hint="Queues here have names such as 'mail' or 'high-priority'.", id="jobs.E031")

    def _check_options(self) -> Iterable[CheckMessage]:
        where = f"TASKS[{self.alias!r}]['OPTIONS']"
        hint = f"Known are {', '.join(options.OPTIONS)}, as @task takes them."
        if not isinstance(self.options, Mapping):
            yield Error(f"{where} must be a dict.", hint=hint, id="jobs.E032")
            return
        if unknown := sorted(map(str, set(self.options) - set(options.OPTIONS))):
            yield Error(f"{where}: unknown key {', '.join(unknown)}.", hint=hint, id="jobs.E032")
        found = self.options
        for check in (
            lambda: options.policy(found.get("retry"), found.get("max_attempts"), found.get("backoff"), options.ONCE),
            lambda: options.timeout(found.get("timeout")),
        ):
            try:
                check()
            except InvalidJob as error:
                yield Error(f"{where}: {error}.", hint=hint, id="jobs.E032")

    def _check_modules(self) -> Iterable[CheckMessage]:
        for module, error in discovery.failures().items():
            text = f"{module} cannot be imported, so nobody knows its tasks: {error}."
            hint = "Install what it needs; or leave it, if nobody here uses its tasks."
            yield CheckWarning(text, hint=hint, id="jobs.W030")


def as_job(task: Any, *args: Any, **kwargs: Any) -> TaskCall:
    """A call of ``task``, as the job that it becomes: for ``recurring``, workflows, and whatever else takes a job.

    Raises InvalidJob where its backend is not a ``DurableBackend``.
    """
    backend = task.get_backend() if family_of(task) else None
    if not isinstance(backend, DurableBackend):
        raise InvalidJob("task: must be a task whose backend is a handlers.tasks.DurableBackend", field="task")
    backend.validate_task(task)
    job_type = registry.find(task.module_path)
    assert isinstance(job_type, TaskType)
    call: TaskCall = backend._call(task, job_type, args, kwargs)
    return call


def _is_queue(name: Any) -> bool:
    try:
        check_queue(name)
    except InvalidJob:
        return False
    return True
