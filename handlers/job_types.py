"""A declared type: its payload class, its handler, and how it is run. Frozen, and checked when it is made."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Generic, Literal, TypeVar

from django.utils.module_loading import import_string

from handlers import coroutines, payloads, sensitive
from handlers.cancellation import CancellationToken
from handlers.conf import QUEUE_NAME, SYSTEM_QUEUE, jobs_settings
from handlers.exceptions import InvalidJob
from handlers.limited import Limit, check_limits, key_of
from handlers.payloads import Command, Job
from handlers.priorities import check_priority
from handlers.results import ResultShape
from handlers.retries import RetryPolicy
from handlers.tagging import check_tags
from handlers.unique import Hold, Unique, check_rule

T = TypeVar("T", bound=Job | Command)

RUN_NAMES = ("run", "context")  # of a handler's argument, for the Run
TYPE_NAME = re.compile(r"[\w.-]{1,200}")  # what the job's row can hold
EXAMPLES = {
    "title": 'lambda job: f"Receipt for order {job.order_id}"',
    "links": 'lambda job: {"Order": f"/orders/{job.order_id}/"}',
}


class JobHandler(ABC, Generic[T]):
    """Base of handler classes. An instance is made for each attempt."""

    @abstractmethod
    def handle(self, job: T, token: CancellationToken) -> Any:
        """Run ``job``; may be ``async def``. Returning is success, raising is a failed attempt.

        What it returns is kept as JSON, unless the type says otherwise, and read as ``JobRecord.result``; what is no
        JSON, or does not fit the return hint, fails the attempt.

        A job runs at least once, so running it twice must do no harm.
        """


@dataclass(frozen=True)
class JobType:
    """One declared type. Raises InvalidJob when made from values that do not fit, saying how to mend them."""

    declares_arguments: ClassVar[bool] = True  # False: they are the engine's, such as an event's id
    argument: ClassVar[str] = ""  # what its handler takes; empty: what it is, a job or a command
    beside: ClassVar[tuple[str, ...]] = ("", ", token", ", run", ", token, run")  # and what it can take with that

    name: str  # what is stored; stable
    payload_class: type[Job | Command]
    handler: Callable[..., Any]  # the class or function as given
    queue: str = "default"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: timedelta | None = None  # of one attempt; None: JOBS["TIMEOUT_SECONDS"]
    exclusive: bool = False  # whether no other job may run in its process meanwhile
    # Whether what it writes is committed with its outcome, in one transaction; "alone": and with no other run's.
    atomic: bool | Literal["alone"] = False
    unique: Unique | None = None  # of which jobs there is one at a time
    limits: tuple[Limit, ...] = ()  # how many may run at once, or start in a time
    priority: int = 0  # on its queue, of jobs that name none
    keep_result: bool = True  # whether what the handler returns is kept
    tags: tuple[str, ...] = ()  # of all its jobs
    title: Callable[[Any], str] | None = None  # what the console calls a job of it; None: as the type is called
    links: Callable[[Any], Any] | None = None  # where what a job is about has its pages: addresses by their words
    aliases: tuple[str, ...] = ()  # former names under which stored jobs are still found
    is_found: bool = field(init=False, repr=False, default=False)  # workers find it by its name, once a job comes
    wants: tuple[str, ...] = field(init=False, repr=False, default=("token",))  # of the handler, beside the job
    is_async: bool = field(init=False, repr=False, default=False)  # whether its runs can share an event loop
    result: ResultShape = field(init=False, repr=False, compare=False)  # what the handler may return
    fields: tuple[str, ...] = field(init=False, repr=False, default=())  # of the payload, by name
    sensitive_fields: frozenset[str] = field(init=False, repr=False, default=frozenset())  # dotted paths, all below too
    version: str = field(init=False, repr=False, default="")  # stands for the payload's schema: 8 hex digits

    def __post_init__(self) -> None:
        payloads.check_class(self.payload_class)
        if isinstance(self.aliases, str) or not isinstance(self.aliases, tuple):
            raise InvalidJob(
                f'{self.name}: aliases must be a tuple of names, such as aliases=("old.Name",)', field="aliases"
            )
        for role, name in (("name", self.name), *(("aliases", alias) for alias in self.aliases)):
            if not isinstance(name, str) or not TYPE_NAME.fullmatch(name):
                raise InvalidJob(
                    f"{self.payload_class.__qualname__}: {role}: {str(name)[:200]!r} is no type name:"
                    " use 1 to 200 letters, digits, dots, hyphens and underscores",
                    field=role,
                )
        check_queue(self.queue, engine=self.payload_class.__module__.partition(".")[0] == __package__)
        if not isinstance(self.retry, RetryPolicy):
            raise InvalidJob(
                f"{self.name}: retry must be a RetryPolicy, such as RetryPolicy(max_attempts=3)", field="retry"
            )
        if self.timeout is not None and (not isinstance(self.timeout, timedelta) or self.timeout <= timedelta(0)):
            raise InvalidJob(
                f"{self.name}: timeout must be a timedelta above zero, such as timedelta(minutes=5)", field="timeout"
            )
        for role in ("exclusive", "keep_result"):
            if not isinstance(value := getattr(self, role), bool):
                raise InvalidJob(f"{self.name}: {role} must be True or False, not {value!r}", field=role)
        check_priority(self.priority)
        object.__setattr__(self, "tags", check_tags(self.tags))
        _check_captions(self)
        takes = [f"({self.argument or self.kind}{beside})" for beside in self.beside]
        object.__setattr__(self, "wants", _wants(self.name, self.handler, takes))
        function = getattr(self.handler, "handle", None) if isinstance(self.handler, type) else self.handler
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(function))
        _check_atomic(self)
        object.__setattr__(self, "result", self.shape_of_result(function or self.handler))
        schema = self.schema()
        object.__setattr__(self, "sensitive_fields", sensitive.paths(schema))
        object.__setattr__(self, "fields", self.field_names(schema))
        if self.unique is not None:
            self.check_unique(self.unique)
        check_limits(self.name, self.limits, self.fields)
        text = json.dumps(schema, sort_keys=True, default=str)
        object.__setattr__(self, "version", hashlib.sha256(text.encode()).hexdigest()[:8])

    def shape_of_result(self, function: Callable[..., Any]) -> ResultShape:
        """What ``function``, the handler, may return."""
        return ResultShape(self.name, function, keep=self.keep_result)

    def check_unique(self, unique: object) -> Unique:
        """``unique``, which must be a rule that fits this type. Raises InvalidJob."""
        rule = check_rule(unique)
        rule.check_fields(self.name, self.fields)
        return rule

    def rule(self, asked: object) -> Unique | None:
        """By which rule there is one at a time: ``asked``, False for none, None for the type's. Raises InvalidJob."""
        if asked is None:
            return self.unique
        return None if asked is False else self.check_unique(asked)

    def field_names(self, schema: dict[str, Any]) -> tuple[str, ...]:
        """What ``Unique`` and ``Limit`` can name: the payload's fields, as its schema has them."""
        return tuple(schema.get("properties", {}))

    def named(self, payload: Any) -> dict[str, Any]:
        """The values of these in a payload (a JSON value)."""
        return payload if isinstance(payload, dict) else {}

    def hold_of(self, rule: Unique, payload: Any) -> Hold:
        """What a job with this payload (a JSON value) wants to hold. Raises InvalidJob for too long a key."""
        return rule.hold_of(self.name, self.named(payload), self.aliases)

    def timeout_of(self, encoded: bytes) -> timedelta | None:
        """The limit of an attempt of the job with this payload; None: JOBS["TIMEOUT_SECONDS"]."""
        return self.timeout

    def retry_of(self, encoded: bytes) -> RetryPolicy:
        """The code's policy for the job with this payload."""
        return self.retry

    def keys_of(self, payload: Any) -> list[tuple[str, str]]:
        """Of which limits, by name, a job with this payload (a JSON value) needs a slot, and under which key."""
        values = self.named(payload)
        hidden = {path.partition(".")[0] for path in self.sensitive_fields} if self.sensitive_fields else ()
        return [(limit.name, key_of(limit, values, is_sensitive=limit.key in hidden)) for limit in self.limits]

    @property
    def kind(self) -> Literal["job", "command"]:
        """Whether it is a job or a command."""
        return "command" if issubclass(self.payload_class, Command) else "job"

    @property
    def doc(self) -> str:
        """The first line of the handler's docstring, else of the payload's; empty when neither has one."""
        for thing in (self.handler, self.payload_class):
            text = inspect.cleandoc(
                vars(thing).get("__doc__") or "" if isinstance(thing, type) else thing.__doc__ or ""
            )
            if text and not text.startswith(
                f"{self.payload_class.__name__}("
            ):  # that is what @dataclass writes by itself
                return text.splitlines()[0]
        return ""

    def encode(self, payload: object, *, without: Collection[str] = ()) -> bytes:
        """``payload`` as JSON; the command of an ``ExecuteCommandJob``. Raises InvalidJob, naming the field.

        ``without``: fields whose values come later.
        """
        inner = payloads.unwrap(payload)
        if not isinstance(inner, self.payload_class):
            raise InvalidJob(
                f"{self.name}: expected a {self.payload_class.__qualname__}, not a {type(inner).__qualname__}"
            )
        if without:
            return payloads.encode_without(inner, without, type_name=self.name)
        return payloads.encode(inner, type_name=self.name)

    def decode(self, data: Any) -> Job | Command:
        """The payload from ``data``, a JSON value as Python has it or JSON as bytes. InvalidJob names the field."""
        payload: Job | Command = payloads.decode(self.payload_class, data, type_name=self.name)
        return payload

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the payload."""
        return payloads.schema(self.payload_class)

    def secrets(self, payload: Any) -> list[Any]:
        """Sensitive values that its handler comes to know beside those of ``payload``, its arguments as JSON."""
        return []

    def call(self, payload: Any, token: CancellationToken, run: Callable[[], Any] = lambda: None) -> Any:
        """Call the handler for one attempt. A handler class is built, by ``JOBS["HANDLER_FACTORY"]`` if set.

        ``run`` is called for its Run, if it takes that.

        What the handler returns is returned: of an async one, what to await. What it or the factory raises is raised.
        """
        function = self.handler
        if isinstance(function, type):
            factory = jobs_settings().handler_factory
            instance = import_string(factory)(function) if factory else function()
            function = instance.handle
        if not self.wants:
            return function(payload)
        return function(payload, *[run() if what == "run" else token for what in self.wants])

    def run(self, payload: Any, token: CancellationToken, run: Callable[[], Any] = lambda: None) -> Any:
        """The same to its end: an async handler in an event loop of its own."""
        result = self.call(payload, token, run)
        if result is None or not inspect.isawaitable(result):
            return result
        return coroutines.run_to_end(result)


def _check_atomic(job_type: JobType) -> None:
    """Raise InvalidJob where a handler cannot have a transaction of its own, or ``atomic`` does not say whether."""
    if not isinstance(job_type.atomic, bool) and job_type.atomic != "alone":
        raise InvalidJob(
            f'{job_type.name}: atomic must be True, False or "alone", not {job_type.atomic!r}', field="atomic"
        )
    if job_type.atomic and job_type.is_async:
        raise InvalidJob(
            f"{job_type.name}: atomic: an async handler shares its thread with others, and a transaction cannot be"
            " shared: write it as def, or put what belongs together into a function with transaction.atomic()",
            field="atomic",
        )


def _check_captions(job_type: JobType) -> None:
    """Raise InvalidJob unless ``title`` and ``links`` are functions."""
    for role, example in EXAMPLES.items():
        function = getattr(job_type, role)
        if function is not None and not callable(function):
            raise InvalidJob(
                f"{job_type.name}: {role} must be a function of the job, such as {role}={example}, not {function!r}",
                field=role,
            )


def check_queue(name: object, *, engine: bool = False) -> None:
    """Raise InvalidJob unless ``name`` can be a queue's; ``engine`` allows the one that is the engine's own."""
    if not isinstance(name, str) or not QUEUE_NAME.fullmatch(name):
        raise InvalidJob(
            f"queue: {str(name)[:100]!r} is no queue name: use 1 to 64 of a-z, 0-9, hyphen and underscore",
            field="queue",
        )
    if name == SYSTEM_QUEUE and not engine:
        raise InvalidJob(f"queue: {SYSTEM_QUEUE!r} is the engine's own: choose another name", field="queue")


def _wants(name: str, handler: object, takes: Sequence[str]) -> tuple[str, ...]:
    """What ``handler`` takes after the payload: "token", "run", both or neither. Raises InvalidJob for anything else.

    A run goes by its name; the token, as ever, by its place. ``takes``: what it may, as a mend.
    """
    usual = takes[1]
    function: Any = handler
    bound = 0
    if isinstance(handler, type):
        function = getattr(handler, "handle", None)
        if not callable(function) or inspect.isabstract(handler):
            raise InvalidJob(
                f"{name}: the handler {handler.__qualname__} lacks a method: write def handle(self, {usual[1:]}"
            )
        bound = int(
            inspect.isfunction(inspect.getattr_static(handler, "handle"))
        )  # self; not for a static or class method
    elif not callable(handler):
        raise InvalidJob(f"{name}: the handler must be a class with handle{usual}, or a function {usual}")
    parameters = list(inspect.signature(function).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return ("token",)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][bound:]
    required = [p for p in parameters[bound:] if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    # One with a default of its own keeps it, unless it is the second, or a run.
    given = [p for p in positional[1:3] if p is positional[1] or p in required or p.name in RUN_NAMES]
    found = tuple("run" if p.name in RUN_NAMES else "token" for p in given)
    wants = found if len(set(found)) == len(found) else found[:1]
    if not positional or len(required) > 1 + len(wants) or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise InvalidJob(f"{name}: the handler must take {', '.join(takes[:-1])} or {takes[-1]}")
    return wants
