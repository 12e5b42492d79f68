"""Functions that are told of events: each delivery is a job that calls the function."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from django.db import Error

from handlers import lifecycle
from handlers.cancellation import CancellationToken
from handlers.current import current
from handlers.events import rows
from handlers.events.freeing import GONE, UNREADABLE, asleep, drop, edited, free, in_the_way, watch
from handlers.events.rows import Coming, Taken
from handlers.events.subscribers import Delivered, SubscriberType, Take, check_take, hiding, payload_class
from handlers.exceptions import InvalidJob, JobCancelled
from handlers.failures import clean, describe
from handlers.models import DeliveryState
from handlers.payloads import Event
from handlers.registry import default_name, registry
from handlers.retries import RetryPolicy
from handlers.writing import writing

F = TypeVar("F", bound=Callable[..., Any])


def on_event(
    *event_classes: type[Event],
    queue: str = "default",
    retry: RetryPolicy | None = None,
    timeout: timedelta | None = None,
    priority: int = 0,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Declare a function ``(event)`` or ``(event, token)`` that is told of each event of these classes, by a job.

    At least once, as any job; an event that it has returned from is not delivered to it again. Those that share a
    correlation come in the order of their publication, one after another: one that failed, until it is retried or
    deleted, holds those after it. ``queue``, ``retry``, ``timeout``, ``priority``, ``name`` and ``aliases`` as of
    ``handles``. Raises InvalidJob when something does not fit.
    """

    for event_class in event_classes or (None,):
        if not isinstance(event_class, type) or not issubclass(event_class, Event):
            what = "none" if event_class is None else repr(event_class)[:60]
            raise InvalidJob(
                f"on_event takes the classes of its events, such as @on_event(OrderPlaced), not {what}", field="event"
            )

    def declare(function: F) -> F:
        if not callable(function) or not hasattr(function, "__name__"):
            raise InvalidJob(
                f"on_event declares a function: put @on_event({event_classes[0].__name__}) above def told(event), not"
                f" {repr(function)[:60]}",
                field="function",
            )
        own = default_name(function) if name is None else name
        takes = tuple(Take(event_class) for event_class in event_classes)
        for take in takes:
            check_take(own, take)
        registry.register(
            FunctionType(
                name=own,
                payload_class=payload_class(function, Delivered),
                handler=function,
                queue=queue,
                retry=RetryPolicy() if retry is None else retry,
                timeout=timeout,
                priority=priority,
                keep_result=False,
                aliases=aliases,
                takes=takes,
            )
        )
        return function

    return declare


class FunctionType(SubscriberType):
    """The job type of a function that is told of events."""

    argument: ClassVar[str] = "event"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "is_async", False)  # it has to ask the database: such a function has a loop of its own

    def run(self, payload: Any, token: CancellationToken, run: Callable[[], Any] = lambda: None) -> Any:
        """Call the function, unless another attempt has, or it is not this event's turn."""
        coming = _begin(self, payload.event)
        if coming is None:
            return
        try:
            try:
                event = self.read(coming.event_type, coming.data)
            except InvalidJob as error:
                if coming.release == registry.release:
                    raise
                raise asleep(f"the code that runs does not read it: {error}", UNREADABLE) from None
            with self._hiding(coming):
                super().run(event, token, run)
        except JobCancelled:
            raise  # it comes again
        except BaseException as error:
            _failed(coming, error)
            raise
        _done(self, coming)

    def _hiding(self, coming: Coming) -> AbstractContextManager[None]:
        if not self.has_secrets:
            return nullcontext()
        values = self.secrets_of(coming.event_type, json.loads(coming.data))
        return hiding(values, json.loads(coming.context) if coming.context else {})


def _begin(job_type: SubscriberType, event_id: int) -> Coming | None:
    """The delivery, whose turn it is; None: it is over. Raises Snooze where another one comes first."""
    using, names = lifecycle.database(), [job_type.name, *job_type.aliases]
    with writing(using):
        while True:
            first = next(iter(rows.lock_streams_of(names, [event_id], 1, using=using)), None)
            if first is None or first.event_id == event_id or first.job_state not in GONE:
                break
            drop([first.id], using=using)
        # First is None: it is in no order, or over; or it was dropped with its job, which is back.
        is_first = first is not None and first.event_id == event_id
        mine = first if is_first else next(iter(rows.lock_own(names, [event_id], using=using)), None)
        _refuse_edited(mine, event_id, using)
        if first is None or is_first:
            return None if mine is None or mine.state == DeliveryState.DONE else mine
        watch([first.job_id, *([mine.job_id] if mine else [])], using=using)
    raise asleep(in_the_way(first))


def _refuse_edited(coming: Coming | None, event_id: int, using: str) -> None:
    """Raise GiveUp where the job that runs is to bring another event."""
    running = current.get()
    if running is not None and (coming is None or coming.job_id != running.job_id):
        for error in edited({running.job_id: event_id}, using=using).values():
            raise error


def _done(job_type: SubscriberType, coming: Coming) -> None:
    using = lifecycle.database()
    with writing(using):
        rows.keep([Taken(coming.id, DeliveryState.DONE)], using=using)
        if coming.stream:
            free([job_type.name, *job_type.aliases], [coming.stream], using=using)


def _failed(coming: Coming, error: BaseException) -> None:
    """It holds those after it, whatever becomes of its job."""
    using = lifecycle.database()
    running = current.get()
    line = clean(describe(error, running.hide if running else str).line, 500)
    with suppress(Error), writing(using):  # else it waits as before: its job's failure counts
        rows.keep([Taken(coming.id, DeliveryState.FAILED, error=line)], using=using)
        watch([coming.job_id], using=using)
