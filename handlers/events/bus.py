"""The event bus: what is published is on record with the caller's own transaction, and goes to all its subscribers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from handlers import carried, lifecycle, payloads
from handlers.correlations import check_correlation
from handlers.current import current
from handlers.events import rows
from handlers.events.rows import NewDelivery, NewEvent
from handlers.events.subscribers import name_of, subscribers, value_of
from handlers.exceptions import InvalidJob
from handlers.lifecycle import NewJob
from handlers.payloads import Event
from handlers.publishing import publish_on_commit
from handlers.registry import registry
from handlers.several import for_each, tell_which
from handlers.twins import twin
from handlers.writing import writing


class _ToBe(NamedTuple):
    job: NewJob
    event: int  # its place among those that are published
    stream: str
    key: str
    value: str


class EventBus:
    """Publishes events. Import the one instance: ``from handlers import event_bus``."""

    def publish(self, event: Event, *, correlation: str | None = None) -> int:
        """Tell each subscriber of ``event``, once the caller's transaction commits; the event's id.

        The event, and a job for each subscriber, are written in that transaction. ``correlation``: what belongs
        together; each subscriber is told of events with the same one in the order of their publication. Without one, an
        event that a handler publishes has that of the handler's job. Raises InvalidJob (the event's fields, or
        correlation), and nothing is written then.
        """
        return self._publish([event], correlation, is_one=True)[0]

    def publish_many(self, events: Iterable[Event], *, correlation: str | None = None) -> list[int]:
        """The same of several, all or none; their ids in the same order. What is raised says which one it is about."""
        for_each("events", events, "events")
        return self._publish(events, correlation)

    apublish = twin(publish)
    apublish_many = twin(publish_many)

    def _publish(self, events: Iterable[Event], correlation: str | None, *, is_one: bool = False) -> list[int]:
        parent = current.get()
        if parent is not None and parent.bars:
            raise InvalidJob(parent.bars, field="event")
        own = correlation is not None
        if correlation is None:
            correlation = parent.family if parent else ""
        else:
            check_correlation(correlation)
        parent_id, context = parent.job_id if parent else None, carried.capture()
        new: list[NewEvent] = []
        to_be: list[_ToBe] = []
        for place, event in enumerate(events):
            try:
                new.append(_encoded(event, correlation, parent_id, context))
                to_be += _deliveries(place, event, new[-1], is_own=own, parent_id=parent_id, context=context)
            except InvalidJob as error:
                if not is_one:
                    tell_which(error, "events", place)
                raise
        return _write(new, to_be) if new else []


event_bus = EventBus()


def _encoded(event: Event, correlation: str, parent_id: int | None, context: str | None) -> NewEvent:
    if isinstance(event, type):
        raise InvalidJob(
            f"event: publish an instance, such as {event.__name__}(...), and not the class {event.__qualname__}",
            field="event",
        )
    payloads.check_event_class(type(event))
    name = name_of(type(event))
    data = payloads.encode(event, type_name=name)
    return NewEvent(name, data.decode(), correlation, parent_id, context, registry.release)


def _deliveries(
    place: int, event: Event, new: NewEvent, *, is_own: bool, parent_id: int | None, context: str | None
) -> list[_ToBe]:
    found = []
    for job_type, take in subscribers(type(event)):
        value = ""
        if take.key:
            value = value_of(job_type.name, new.event_type, take.key, json.loads(new.data))
        # Of whom a key tells, a correlation that is only the publishing job's does not say what belongs together: that
        # job may have published thousands, for as many.
        stream = f"={new.correlation}" if new.correlation and (is_own or not take.key) else ""
        stream = stream or (f"{take.key}:{value}" if take.key else "")
        job = NewJob(
            job_type.name, b"", job_type.queue, parent_id=parent_id, correlation=new.correlation,
            priority=job_type.priority, context=context,
        )  # fmt: skip
        found.append(_ToBe(job, place, stream, take.key, value))
    return found


def _write(new: Sequence[NewEvent], to_be: Sequence[_ToBe]) -> list[int]:
    alias = lifecycle.database()
    with writing(alias, savepoint=False):
        ids = rows.add_events(new, using=alias)
        if to_be:
            names = [new[each.event].event_type for each in to_be]
            jobs = [
                each.job._replace(payload=json.dumps({"event": ids[each.event], "type": name}).encode())
                for each, name in zip(to_be, names, strict=True)
            ]
            messages = lifecycle.create(jobs, using=alias)
            deliveries = [
                NewDelivery(ids[each.event], each.job.job_type, each.stream, each.key, each.value, message.job_id)
                for each, message in zip(to_be, messages, strict=True)
            ]
            rows.add_deliveries(deliveries, using=alias)
            publish_on_commit(messages, using=alias)
    return ids
