"""Which handler runs which type: declared with decorators in each app's ``jobs.py``, read by everyone else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, TypeVar

from django.apps import apps
from django.utils.module_loading import autodiscover_modules

from handlers import payloads
from handlers.exceptions import InvalidJob, NoHandler
from handlers.job_types import JobHandler, JobType, check_queue
from handlers.limited import Limit
from handlers.payloads import Command, Job
from handlers.retries import RetryPolicy
from handlers.tagging import Tags
from handlers.unique import Unique

__all__ = [
    "JobHandler",
    "JobType",
    "Registry",
    "autodiscover",
    "check_queue",
    "declare_type",
    "default_name",
    "handles",
    "handles_command",
    "registry",
]

H = TypeVar("H", bound=Callable[..., Any])
T = TypeVar("T")


class Registry:
    """The declared types by name, by alias and by class."""

    def __init__(self) -> None:
        self._types: dict[str, JobType] = {}
        self._names: dict[str, str] = {}  # every name and alias -> the name
        self._classes: dict[type, str] = {}
        self._packages: frozenset[str] | None = None  # once asked for, as are the next
        self._limits: dict[str, Limit] | None = None
        self._release = ""
        self._kept: dict[str, Any] = {}  # what others have made of all types, until one is added
        self._finders: list[Callable[[str], None]] = []
        self._sought: set[str] = set()  # names for which they were asked in vain
        self._more_queues: set[str] = set()
        self.takes_any_queue = False  # whether callers may name queues that the code does not
        self.recurring: dict[str, tuple[Job | Command, str | None, Any]] = {}  # what ``recurring`` declares, by name

    def register(self, job_type: JobType) -> None:
        """Add ``job_type``. The same class imported anew replaces the old one, as the autoreloader needs.

        Raises InvalidJob when its name or an alias is taken, or its class has a handler already.
        """
        for other in self._types.values():
            if _where(other.payload_class) == _where(job_type.payload_class):
                if other.name == job_type.name and _where(other.handler) == _where(job_type.handler):
                    continue
                raise InvalidJob(
                    f"{job_type.payload_class.__qualname__} has a handler already, {'.'.join(_where(other.handler))}:"
                    " a type has one handler; remove one of the two",
                )
            taken = {other.name, *other.aliases} & {job_type.name, *job_type.aliases}
            if taken:
                role = "name" if job_type.name in taken else "aliases"
                raise InvalidJob(
                    f"{'.'.join(_where(job_type.payload_class))}: the name {min(taken)!r} belongs to"
                    f" {'.'.join(_where(other.payload_class))}: choose another with name= or aliases=",
                    field=role,
                )
            _check_shared(other, job_type)
        if (old := self._types.get(job_type.name)) is not None:
            self._forget(old)
        self._forget_views()
        self._types[job_type.name] = job_type
        self._names |= dict.fromkeys((job_type.name, *job_type.aliases), job_type.name)
        self._classes[job_type.payload_class] = job_type.name

    def get(self, name: str) -> JobType:
        """The type of this name or alias. Raises NoHandler when there is none."""
        try:
            return self._types[self._names[name]]
        except (KeyError, TypeError):  # TypeError: what is no text may have no hash
            raise NoHandler(
                f"no handler is registered for type {str(name)[:200]!r}: declare one in an installed app's jobs.py,"
                " or, when the type was renamed, give it aliases=(old_name,)"
            ) from None

    def has(self, name: str) -> bool:
        """Whether there is a type of this name or alias."""
        return name in self._names

    def find(self, name: str) -> JobType:
        """The same for the type of a job that is on record: what is not registered yet may be found by its name.

        The name is the column's, never a part of arguments: who is asked for it may import the module that it names.
        """
        if name not in self._names and name not in self._sought:
            for finder in self._finders:
                finder(name)
            if not self.has(name):
                self._sought.add(name)
        return self.get(name)

    def find_with(self, finder: Callable[[str], None]) -> None:
        """Ask ``finder`` for the names of types that are not registered: it registers those that it knows."""
        if finder not in self._finders:
            self._finders.append(finder)
            self._sought.clear()

    def for_object(self, payload: object) -> JobType:
        """The type of ``payload``, a job or command; an ``ExecuteCommandJob`` counts as its command.

        Raises InvalidJob for anything else, NoHandler when no handler is registered for it.
        """
        inner = payloads.unwrap(payload)
        if (name := self._classes.get(type(inner))) is not None:
            return self._types[name]
        if isinstance(inner, Job | Command):
            return self.for_class(type(inner))
        what = f"the class {inner.__qualname__}" if isinstance(inner, type) else f"a {type(inner).__qualname__}"
        mend = ": event_bus.publish(event) tells of events" if isinstance(inner, payloads.Event) else ""
        raise InvalidJob(f"job: expected an instance of a Job or Command, not {what}{mend}", field="job")

    def for_class(self, payload_class: type[Job | Command]) -> JobType:
        """The type of this class's jobs or commands. Raises NoHandler when no handler is registered for it."""
        if (name := self._classes.get(payload_class)) is not None:
            return self._types[name]
        decorator = "handles_command" if issubclass(payload_class, Command) else "handles"
        raise NoHandler(
            f"no handler is registered for {payload_class.__qualname__}: declare one with"
            f" @{decorator}({payload_class.__name__}) in the jobs.py of an installed app"
        )

    def all(self) -> list[JobType]:
        """Every type, by name."""
        return [self._types[name] for name in sorted(self._types)]

    def names(self, *, is_async: bool) -> set[str]:
        """All names, former ones included, of the types with async handlers, or of the others."""
        return {name for name, known in self._names.items() if self._types[known].is_async == is_async}

    def exclusive(self, queues: Collection[str]) -> list[str]:
        """The types of these queues that share no process, by name."""
        return [known.name for known in self.all() if known.exclusive and known.queue in queues]

    def limits(self) -> dict[str, Limit]:
        """The limits that types have, by name; of one that several share, one type's."""
        if self._limits is None:
            self._limits = {limit.name: limit for job_type in self.all() for limit in job_type.limits}
        return self._limits

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` makes of the types, made once for those that there are."""
        if name not in self._kept:
            self._kept[name] = make()
        found: T = self._kept[name]
        return found

    def queues(self) -> set[str]:
        """The queues that types name, and those of ``add_queues``."""
        return {job_type.queue for job_type in self._types.values()} | self._more_queues

    def add_queues(self, names: Iterable[str]) -> None:
        """Let there be these queues, too."""
        for name in names:
            check_queue(name)
            self._more_queues.add(name)

    def versions(self) -> dict[str, str]:
        """The version of each type's payload schema, by all its names, former ones included."""
        return {name: self._types[known].version for name, known in sorted(self._names.items())}

    @property
    def release(self) -> str:
        """What stands for the types that this code knows, with their schemas: 16 hex digits."""
        if not self._release:
            self._release = hashlib.sha256(json.dumps(self.versions()).encode()).hexdigest()[:16]
        return self._release

    def packages(self) -> frozenset[str]:
        """The packages of the apps whose code declares types or handles them, as dotted names; not the engine's own."""
        if self._packages is None:
            modules = {_where(code)[0] for each in self._types.values() for code in (each.payload_class, each.handler)}
            self._packages = frozenset(_package(module) for module in modules if module) - {__package__}
        return self._packages

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """For tests: what is registered inside is forgotten afterwards."""
        before = dict(self._types), dict(self._names), dict(self._classes), dict(self.recurring)
        try:
            yield
        finally:
            self._types, self._names, self._classes, self.recurring = before
            self._forget_views()

    def _forget_views(self) -> None:
        """What was made of all types is out of date."""
        self._packages, self._limits, self._release = None, None, ""
        self._kept.clear()

    def _forget(self, job_type: JobType) -> None:
        del self._types[job_type.name]
        for name in (job_type.name, *job_type.aliases):
            self._names.pop(name, None)
        del self._classes[job_type.payload_class]


registry = Registry()


def handles(
    job_class: type[Job],
    *,
    queue: str = "default",
    retry: RetryPolicy | None = None,
    timeout: timedelta | None = None,
    exclusive: bool = False,
    atomic: bool | Literal["alone"] = False,
    unique: Unique | None = None,
    limits: Sequence[Limit] = (),
    priority: int = 0,
    keep_result: bool = True,
    tags: Tags = (),
    title: Callable[[Any], str] | None = None,
    links: Callable[[Any], Any] | None = None,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[H], H]:
    """Declare the handler of ``job_class``: a class with ``handle(job, token)``, or a function; ``token`` is optional.

    ``queue``: ``[a-z0-9_-]{1,64}``. ``retry``: default ``RetryPolicy()``. ``timeout`` of one attempt: default
    ``JOBS["TIMEOUT_SECONDS"]``. ``exclusive``: in its worker process no other job runs meanwhile. ``atomic``: what the
    handler writes to the database that holds the jobs is committed together with the job's success, or not at all, in
    one transaction, which short runs share, and run again where one of them raises; ``"alone"``: each has one of its
    own (docs/handlers.md). ``unique``: of which jobs there is one at a time, and ``priority``, from -100 to 100, on
    the queue: unless who enqueues says otherwise.
    ``limits``: how many run at once, or start in a time. ``keep_result``: whether what the handler returns is kept, as
    JSON. ``tags``: by which all its jobs are found. For the console, and without a database: ``title``, a function of
    the job that says in short what it is about, and ``links``, one that gives addresses by their words. ``name``: what
    is stored, default ``app_label.ClassName``. ``aliases``: former names, so that a rename strands no stored job.
    Raises InvalidJob when something does not fit.
    """
    if isinstance(job_class, type) and issubclass(job_class, Command):
        raise InvalidJob(f"{job_class.__qualname__} is a command: declare its handler with @handles_command")
    return declare_type(
        job_class, queue=queue, retry=retry, timeout=timeout, exclusive=exclusive, atomic=atomic, unique=unique,
        limits=limits, priority=priority, keep_result=keep_result, tags=tags, title=title, links=links, name=name,
        aliases=aliases,
    )  # fmt: skip


def handles_command(
    command_class: type[Command],
    *,
    queue: str = "default",
    retry: RetryPolicy | None = None,
    timeout: timedelta | None = None,
    exclusive: bool = False,
    atomic: bool | Literal["alone"] = False,
    unique: Unique | None = None,
    limits: Sequence[Limit] = (),
    priority: int = 0,
    keep_result: bool = True,
    tags: Tags = (),
    title: Callable[[Any], str] | None = None,
    links: Callable[[Any], Any] | None = None,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[H], H]:
    """Declare the handler of ``command_class``; everything as for ``handles``."""
    if isinstance(command_class, type) and issubclass(command_class, Job):
        raise InvalidJob(f"{command_class.__qualname__} is a job: declare its handler with @handles")
    return declare_type(
        command_class, queue=queue, retry=retry, timeout=timeout, exclusive=exclusive, atomic=atomic, unique=unique,
        limits=limits, priority=priority, keep_result=keep_result, tags=tags, title=title, links=links, name=name,
        aliases=aliases,
    )  # fmt: skip


def autodiscover() -> None:
    """Import the ``jobs.py`` and the ``sagas.py`` of every installed app. An error in one comes through."""
    autodiscover_modules("jobs")
    autodiscover_modules("sagas")


def declare_type(
    payload_class: type[Job | Command],
    make: Callable[..., JobType] = JobType,
    *,
    name: str | None,
    retry: RetryPolicy | None,
    limits: Sequence[Limit],
    **options: Any,
) -> Callable[[H], H]:
    """What ``handles`` and its like do; ``make`` makes the type, of these and of ``options`` as they are."""
    payloads.check_class(payload_class)

    def declare(handler: H) -> H:
        registry.register(
            make(
                name=default_name(payload_class) if name is None else name,
                payload_class=payload_class,
                handler=handler,
                retry=RetryPolicy() if retry is None else retry,
                limits=tuple(limits) if isinstance(limits, list) else limits,
                **options,
            )
        )
        return handler

    return declare


def _check_shared(one: JobType, other: JobType) -> None:
    theirs = {limit.name: limit for limit in one.limits}
    for limit in other.limits:
        if limit.name in theirs and not limit.is_same(theirs[limit.name]):
            raise InvalidJob(
                f"limits: {other.name} and {one.name} share the limit {limit.name!r} with other values: give both the"
                " same concurrency and rate, and both a key or neither, or name one of them otherwise",
                field="limits",
            )


def default_name(declared: Any) -> str:
    """The name of a class or function that was given none: ``app_label.ClassName``."""
    module: str = declared.__module__
    app = apps.get_containing_app_config(module) if apps.apps_ready else None
    return f"{app.label if app else module.partition('.')[0]}.{declared.__name__}"


def _package(module: str) -> str:
    app = apps.get_containing_app_config(module) if apps.apps_ready else None
    return app.name if app else module.rpartition(".")[0] or module


def _where(thing: Any) -> tuple[str, str]:
    return getattr(thing, "__module__", ""), getattr(thing, "__qualname__", type(thing).__qualname__)
