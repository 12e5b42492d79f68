"""A declared saga: its state, its methods and its keys; and the job type by which events and timeouts come to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, NamedTuple

from handlers import carried
from handlers.cancellation import CancellationToken
from handlers.events.subscribers import SubscriberType, Take, check_take, payload_class
from handlers.exceptions import InvalidJob
from handlers.lifecycle import database
from handlers.many.chunk import Chunk
from handlers.many.types import ManyType
from handlers.models import Delivery, SagaRecord
from handlers.payloads import Event, Job
from handlers.registry import default_name, registry
from handlers.retries import RetryPolicy
from handlers.sagas.saga import MARKS, NOT_FOUND, EventMark, Saga, TimeoutMark, state_class
from handlers.sagas.states import StateShape

LONGEST_NAME = 100  # of a timeout
LONGEST_KEY = 99  # with a key's longest value it is a stream's name
TOGETHER = 200  # jobs whose deliveries share a transaction, at most


@dataclass(frozen=True)
class SagaJob(Job):
    """What the job says that brings something to a saga: the base of their payloads.

    An event and its ``type``, or a ``timeout`` of a ``saga``.
    """

    event: int | None = None
    type: str = ""
    saga: int | None = None
    timeout: str = ""


class Method(NamedTuple):
    """A method that is told of an event."""

    name: str
    key: str
    not_found: str  # "start": where there is no saga, it starts one


@dataclass(frozen=True)
class SagaType(SubscriberType, ManyType):
    """A declared saga. What a worker has claimed for its sagas comes to them together."""

    saga_class: Any = field(default=None, repr=False)
    shape: Any = field(default=None, repr=False)  # StateShape
    methods: Mapping[type[Event], Method] = field(default_factory=dict, repr=False)
    timeouts: Mapping[str, str] = field(default_factory=dict, repr=False)  # method names, by the timeout's
    stuck_after: timedelta = timedelta(days=1)
    waits_for_start: timedelta = timedelta(days=1)

    @property
    def names(self) -> list[str]:
        """What it is and was called."""
        return [self.name, *self.aliases]

    @property
    def has_early(self) -> bool:
        """Whether some of its events wait for its start."""
        return any(method.not_found == "retry" for method in self.methods.values())

    @property
    def keys(self) -> list[str]:
        """By which fields its sagas are found."""
        return sorted({method.key for method in self.methods.values()})

    @cached_property
    def has_secrets(self) -> bool:
        """Whether something is sensitive in events that it takes, or in its state."""
        return super().has_secrets or bool(self.shape.secret)

    def secrets(self, payload: Any) -> list[Any]:
        """What is sensitive in the event that its job brings, and in the saga that has it."""
        if not self.has_secrets or not isinstance(payload, dict):
            return []
        ids = [payload.get("saga")]
        if isinstance(event_id := payload.get("event"), int):
            deliveries = Delivery.objects.using(database()).filter(event_id=event_id, subscriber__in=self.names)
            ids = list(deliveries.values_list("saga_id", flat=True))
        known = [saga_id for saga_id in ids if isinstance(saga_id, int)]
        states = SagaRecord.objects.using(database()).filter(pk__in=known).values_list("data", flat=True)
        return [*super().secrets(payload), *(value for state in states for value in self.shape.secrets_of(state))]

    def call_many(self, chunk: Chunk[Any], token: CancellationToken) -> list[Any]:
        """Bring what these jobs say to their sagas."""
        from handlers.sagas.delivery import deliver
        from handlers.sagas.round import Want

        wants = [
            Want(run.job_id, payload.event, payload.timeout, carried.encoded(run.context) if payload.timeout else None)
            for run, payload in zip(chunk.runs, chunk, strict=True)
        ]
        outcomes = deliver(self, wants)
        return [outcomes[want.job_id] for want in wants]


def declare(
    cls: type[Saga[Any]],
    *,
    queue: str,
    retry: RetryPolicy | None,
    timeout: timedelta | None,
    priority: int,
    stuck_after: timedelta,
    waits_for_start: timedelta,
    name: str | None,
    aliases: tuple[str, ...],
) -> None:
    """Register the saga ``cls``. Raises InvalidJob where it cannot be one, saying how to mend it."""
    own = default_name(cls) if name is None else name
    shape = StateShape(own, state_class(cls))
    for role, value in (("stuck_after", stuck_after), ("waits_for_start", waits_for_start)):
        if not isinstance(value, timedelta) or value <= timedelta(0):
            raise InvalidJob(f"{own}: {role} must be a timedelta above zero, not {value!r}", field=role)
    methods, timeouts = _marked(own, cls)
    if not any(method.not_found == "start" for method in methods.values()):
        raise InvalidJob(f'{own}: nothing starts it: mark a method with @starts(SomeEvent, key="...")', field="starts")
    _check_keys(own, methods, shape)
    registry.register(
        SagaType(
            name=own,
            payload_class=payload_class(cls, SagaJob),
            handler=_handler(cls),
            queue=queue,
            retry=RetryPolicy() if retry is None else retry,
            timeout=timeout,
            priority=priority,
            keep_result=False,
            size=TOGETHER,
            wait=timedelta(0),
            aliases=aliases,
            takes=tuple(Take(event_class, method.key) for event_class, method in methods.items()),
            saga_class=cls,
            shape=shape,
            methods=methods,
            timeouts=timeouts,
            stuck_after=stuck_after,
            waits_for_start=waits_for_start,
        )
    )


def _marked(own: str, cls: type) -> tuple[dict[type[Event], Method], dict[str, str]]:
    methods: dict[type[Event], Method] = {}
    timeouts: dict[str, str] = {}
    for name, method in inspect.getmembers(cls, callable):
        marks = getattr(method, MARKS, ())
        if marks and inspect.iscoroutinefunction(method):
            raise InvalidJob(f"{own}: {name}: a saga's methods only decide, so they are not async: write def")
        for mark in marks:
            _check_call(own, cls, name, "self" if isinstance(mark, TimeoutMark) else "self, event")
            if isinstance(mark, TimeoutMark):
                _check_name(own, "on_timeout", mark.name)
                if mark.name in timeouts:
                    raise InvalidJob(f"{own}: two methods are for the timeout {mark.name!r}", field="on_timeout")
                timeouts[mark.name] = name
            else:
                _check_mark(own, mark)
                if mark.event_class in methods:
                    raise InvalidJob(
                        f"{own}: two of its methods, or two marks, are for {mark.event_class.__qualname__}: an event"
                        " goes to one method, which asks self.state for the rest",
                        field="event",
                    )
                methods[mark.event_class] = Method(name, mark.key, mark.not_found)
    return methods, timeouts


def _check_call(own: str, cls: type, name: str, takes: str) -> None:
    """Raise InvalidJob unless the method can be called with what it ``takes``."""
    is_bound = isinstance(inspect.getattr_static(cls, name), staticmethod | classmethod)
    try:
        inspect.signature(getattr(cls, name)).bind(*takes.split(", ")[is_bound:])
    except ValueError:  # one in C does not say what it takes
        return
    except TypeError:
        raise InvalidJob(f"{own}: {name}: write def {name}({takes})", field=name) from None


def _check_mark(own: str, mark: EventMark) -> None:
    _check_name(own, "key", mark.key, LONGEST_KEY)
    check_take(own, Take(mark.event_class, mark.key))
    if mark.not_found not in NOT_FOUND:
        raise InvalidJob(
            f"{own}: not_found: must be one of {', '.join(NOT_FOUND)}, not {mark.not_found!r}", field="not_found"
        )


def _check_name(own: str, role: str, name: object, longest: int = LONGEST_NAME) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= longest or not name.isprintable():
        raise InvalidJob(f"{own}: {role}: must be a name of 1 to {longest} characters, not {name!r}", field=role)


def _check_keys(own: str, methods: Mapping[type[Event], Method], shape: StateShape) -> None:
    """Raise InvalidJob for a key whose value no saga could learn."""
    for method in methods.values():
        if method.key in shape.fields and any(path.split(".")[1:2] in ([], [method.key]) for path in shape.secret):
            raise InvalidJob(
                f"{own}: key: {shape.cls.__qualname__}.{method.key} is sensitive, and a key is shown and searched: take"
                " another field, such as an id",
                field="key",
            )
    for start, method in methods.items():
        if method.not_found != "start":
            continue
        known = {method.key, *shape.fields, *(getattr(start, "__dataclass_fields__", ()))}
        for other in methods.values():
            if other.key not in known:
                raise InvalidJob(
                    f"{own}: key: a saga that {start.__qualname__} starts never learns its {other.key!r}: give"
                    f" {shape.cls.__qualname__} a field of that name, and a value when it is known",
                    field="key",
                )


def _handler(cls: type) -> Callable[..., None]:
    """What stands for it as its type's handler: ``SagaType.call_many`` does the work."""

    def handler(job: Job, token: CancellationToken) -> None: ...

    handler.__doc__, handler.__module__, handler.__qualname__ = cls.__doc__, cls.__module__, cls.__qualname__
    return handler
