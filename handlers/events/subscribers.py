"""Who is told of which events: job types of a kind of their own, one for each subscriber."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar, NamedTuple

from handlers import masking, payloads, sensitive
from handlers.current import current
from handlers.exceptions import InvalidJob
from handlers.job_types import TYPE_NAME, JobType
from handlers.lifecycle import database
from handlers.models import EventRecord
from handlers.payloads import Event, Job
from handlers.registry import default_name, registry

LONGEST_VALUE = 200  # characters of a key's value, as JSON


@dataclass(frozen=True)
class Delivered(Job):
    """What the job of a delivery says: the base of their payloads. ``type``: the event's, for people."""

    event: int
    type: str = ""


class Take(NamedTuple):
    """An event that a subscriber is told of."""

    event_class: type[Event]
    key: str = ""  # the field by which it is told apart whom it is for


@dataclass(frozen=True)
class SubscriberType(JobType):
    """The job type by which events come to one subscriber."""

    declares_arguments: ClassVar[bool] = False

    takes: tuple[Take, ...] = field(default=(), repr=False)
    known: Mapping[str, Take] = field(init=False, repr=False, compare=False)  # by all names of their events

    def __post_init__(self) -> None:
        super().__post_init__()
        known: dict[str, Take] = {}
        for take in self.takes:
            for name in names_of(take.event_class):
                if name in known:
                    raise InvalidJob(
                        f"{self.name}: two of its events are called {name!r}: give one another name, as in"
                        f' class {take.event_class.__name__}(Event, name="...")',
                        field="event",
                    )
                known[name] = take
        object.__setattr__(self, "known", known)

    def take_of(self, event_class: type[Event]) -> Take | None:
        """How it takes events of this class; None: not at all."""
        return next((take for take in self.takes if take.event_class is event_class), None)

    def read(self, event_type: str, data: str) -> Event:
        """The event that was stored as ``data``. Raises InvalidJob where this code does not take or read it."""
        take = self.known.get(event_type)
        if take is None:
            raise InvalidJob(f"{self.name}: takes no {event_type}: it did when the event was published", field="event")
        return payloads.decode(take.event_class, data.encode(), type_name=event_type)

    @cached_property
    def has_secrets(self) -> bool:
        """Whether something is sensitive in events that it takes."""
        return any(secret_fields(take.event_class) for take in self.takes)

    def secrets(self, payload: Any) -> list[Any]:
        """What is sensitive in the event that its job brings."""
        event_id = payload.get("event") if isinstance(payload, dict) else None
        if not isinstance(event_id, int) or not self.has_secrets:
            return []
        rows = EventRecord.objects.using(database()).filter(pk=event_id).values_list("event_type", "data")
        return [value for event_type, data in rows for value in self.secrets_of(event_type, data)]

    def secrets_of(self, event_type: str, data: Any) -> list[Any]:
        """The same of an event that is known; ``data``: its fields as JSON."""
        take = self.known.get(event_type)
        paths = secret_fields(take.event_class) if take else ()
        values = masking.values_at(paths, data)
        if take and values:
            with suppress(InvalidJob):  # as the handler sees them: a time is written in another way than in JSON
                values += masking.values_at(paths, payloads.decode(take.event_class, data, type_name=event_type))
        return values


@contextmanager
def hiding(values: list[Any], context: Mapping[str, Any]) -> Iterator[None]:
    """Within, what the job that runs logs has none of these sensitive values, and none that travel in ``context``.

    Nothing else is looked for: the database, which knows them all, is not asked for a line of a log.
    """
    if (running := current.get()) is None:
        yield
        return
    before, running.hide = running.hide, masking.hiding([*values, *masking.values_in(context)])
    try:
        yield
    finally:
        running.hide = before


def secret_fields(event_class: type[Event]) -> frozenset[str]:
    """The dotted paths of what is sensitive in such events."""
    known: Any = event_class
    return _secret_fields(known)


@cache
def _secret_fields(event_class: Any) -> frozenset[str]:
    return sensitive.paths(payloads.schema(event_class))


def name_of(event_class: type[Event]) -> str:
    """Under which name events of this class are stored."""
    return str(vars(event_class).get("_event_name") or default_name(event_class))


def names_of(event_class: type[Event]) -> tuple[str, ...]:
    """The same with its former names. Raises InvalidJob for what is no name."""
    aliases = vars(event_class).get("_event_aliases", ())
    if not isinstance(aliases, tuple):
        raise InvalidJob(
            f'{event_class.__qualname__}: aliases must be a tuple of names, such as aliases=("old.Name",)',
            field="aliases",
        )
    names = (name_of(event_class), *aliases)
    for name in names:
        if not isinstance(name, str) or not TYPE_NAME.fullmatch(name):
            raise InvalidJob(
                f"{event_class.__qualname__}: name: {str(name)[:200]!r} is no name of an event: use 1 to 200 letters,"
                " digits, dots, hyphens and underscores",
                field="name",
            )
    return names


def check_take(subscriber: str, take: Take) -> None:
    """Raise InvalidJob unless there can be such events, and they have the key."""
    payloads.check_event_class(take.event_class)
    names_of(take.event_class)
    fields = [each.name for each in dataclasses.fields(take.event_class)]  # type: ignore[arg-type] # it is checked
    if take.key and take.key not in fields:
        raise InvalidJob(
            f"{subscriber}: key: {take.event_class.__qualname__} has no field {take.key!r}: name one of"
            f" {', '.join(fields) or 'its fields, of which it has none'}",
            field="key",
        )
    if take.key and any(path.partition(".")[0] == take.key for path in secret_fields(take.event_class)):
        raise InvalidJob(
            f"{subscriber}: key: {take.event_class.__qualname__}.{take.key} is sensitive, and a key is shown and"
            " searched: take another field, such as an id",
            field="key",
        )


def payload_class(declared: Any, base: type[Job]) -> Any:
    """The class of the jobs that bring events to ``declared``, a function or a saga."""
    made: Any = dataclasses.dataclass(frozen=True)(
        type(declared.__name__, (base,), {"__doc__": declared.__doc__ or ""})
    )
    made.__module__, made.__qualname__ = declared.__module__, declared.__qualname__
    return made


def subscribers(event_class: type[Event]) -> list[tuple[SubscriberType, Take]]:
    """Who is told of events of this class, by name."""
    found = registry.kept("subscribers", _by_event)
    return found.get(event_class, [])


def _by_event() -> dict[type[Event], list[tuple[SubscriberType, Take]]]:
    found: dict[type[Event], list[tuple[SubscriberType, Take]]] = {}
    for job_type in subscriber_types():
        for take in job_type.takes:
            found.setdefault(take.event_class, []).append((job_type, take))
    return found


def subscriber_types() -> Iterable[SubscriberType]:
    """Every subscriber, by name."""
    return (job_type for job_type in registry.all() if isinstance(job_type, SubscriberType))


def value_of(subscriber: str, event_type: str, key: str, fields: Mapping[str, Any]) -> str:
    """What an event, as JSON has its ``fields``, has at ``key``: as JSON. Raises InvalidJob where that is nothing."""
    value = fields.get(key)
    if value is None:
        raise InvalidJob(
            f"{event_type}: {key}: is None, and {subscriber} finds its sagas by it: give it a value", field=key
        )
    return key_value(subscriber, key, value)


def key_value(subscriber: str, key: str, value: Any) -> str:
    """A key's ``value``, a JSON value, as it is kept. Raises InvalidJob where it is too long."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    if len(text) > LONGEST_VALUE:
        raise InvalidJob(
            f"{subscriber}: {key}: as a key it may have {LONGEST_VALUE} characters as JSON, not {len(text):,}",
            field=key,
        )
    return text
