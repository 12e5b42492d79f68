"""What an app writes: a saga's class, and which of its methods what comes in goes to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin

from handlers.exceptions import InvalidJob, JobsError
from handlers.payloads import Command, Event
from handlers.retries import RetryPolicy

if TYPE_CHECKING:
    from handlers.lifecycle import JobId
    from handlers.sagas.turn import Turn

S = TypeVar("S")
M = TypeVar("M", bound=Callable[..., Any])
NotFound = Literal["ignore", "retry", "fail", "start"]

NOT_FOUND: tuple[str, ...] = get_args(NotFound)
MARKS = "_saga_marks"
A_DAY = timedelta(days=1)


class EventMark(NamedTuple):
    """That a method is told of an event."""

    event_class: Any
    key: str
    not_found: str


class TimeoutMark(NamedTuple):
    """That a method is told of a timeout."""

    name: str


class Saga(Generic[S]):
    """Base of sagas: ``class OrderSaga(Saga[OrderState])`` in an app's ``sagas.py`` or ``jobs.py``.

    ``OrderState`` is a dataclass that can be made without arguments, and whose hints are checked as a job's are.
    Methods marked with ``@starts``, ``@on`` and ``@on_timeout`` read ``self.state``, assign it anew
    (``self.state = replace(self.state, paid=True)``) and ask for what is to be done: ``self.send``, ``self.cancel``,
    ``self.timeout``, ``self.complete``. What a method does is committed together, once, when it returns; when it
    raises, nothing is, and the event's job follows the saga's retry policy. So it only decides: jobs do the work.

    In the class line: ``queue``, ``retry``, ``timeout``, ``priority``, ``name`` and ``aliases`` as of ``handles``, for
    the jobs that bring its events; ``stuck_after``: without an event for so long it counts as stuck (a day);
    ``waits_for_start``: how long an event with ``not_found="retry"`` waits (a day). Raises InvalidJob when something
    does not fit.
    """

    state: S
    _turn: Turn | None = None

    def __init_subclass__(
        cls,
        *,
        queue: str = "default",
        retry: RetryPolicy | None = None,
        timeout: timedelta | None = None,
        priority: int = 0,
        stuck_after: timedelta = A_DAY,
        waits_for_start: timedelta = A_DAY,
        name: str | None = None,
        aliases: tuple[str, ...] = (),
    ) -> None:
        super().__init_subclass__()
        from handlers.sagas.types import declare

        declare(
            cls, queue=queue, retry=retry, timeout=timeout, priority=priority, stuck_after=stuck_after,
            waits_for_start=waits_for_start, name=name, aliases=aliases,
        )  # fmt: skip

    def send(self, command: Command) -> JobId:
        """Have ``command`` done by a job; the job's id, which ``cancel`` takes.

        ``EnqueueJobCommand`` and ``ScheduleJobCommand`` start the job that they hold; ``DeleteJobCommand`` does what
        ``cancel`` does, and its answer is the id that it names. The job has the saga's correlation. Raises InvalidJob
        for what is no command, or cannot be stored; NoHandler.
        """
        return self._now().send(command)

    def cancel(self, job_id: int) -> None:
        """Delete a job that this saga has sent, or a timeout: it does not run, or is asked to stop.

        Raises InvalidJob for one that it has not sent.
        """
        self._now().cancel(job_id)

    def timeout(self, name: str, delay: timedelta) -> JobId:
        """Be told in ``delay``, by the method ``@on_timeout(name)``; the id of the job that does it.

        It takes the place of one of the same name that has not come. Once the saga is complete none comes any more.
        Raises InvalidJob for a name without a method, or a delay that is none.
        """
        return self._now().timeout(name, delay)

    def complete(self) -> None:
        """The saga is over: its timeouts are void, and events for it are ignored from now on."""
        self._now().complete()

    def _now(self) -> Turn:
        if self._turn is None:
            raise JobsError(
                f"{type(self).__qualname__}: sends only while one of its methods is called for an event or a timeout"
            )
        return self._turn


def starts(event_class: type[Event], *, key: str) -> Callable[[M], M]:
    """Call the method ``(self, event)`` for events of this class; where there is no saga, it starts one.

    ``key``: the event's field by which a saga is found. Of one type there is one saga for each value.
    """
    return _marked(EventMark(event_class, key, "start"))


def on(event_class: type[Event], *, key: str, not_found: NotFound = "retry") -> Callable[[M], M]:
    """Call the method ``(self, event)`` for events of this class whose field ``key`` leads to a saga.

    Where there is none (and never was): "retry": the event waits for the start, for so long as the saga's
    ``waits_for_start`` says, and holds no other; "ignore": it is dropped; "fail": its job fails, by the saga's retry
    policy; "start": it starts one. A key may be another one than that of the start: its value is that of the state's
    field of this name, once it is not None, or of the starting event's.
    """
    return _marked(EventMark(event_class, key, not_found))


def on_timeout(name: str) -> Callable[[M], M]:
    """Call the method ``(self)`` when a timeout of this name has come."""
    if callable(name):  # written without brackets, it would mark nothing
        raise InvalidJob('on_timeout: takes the name of a timeout: @on_timeout("late")', field="on_timeout")
    return _marked(TimeoutMark(name))


def _marked(mark: EventMark | TimeoutMark) -> Callable[[M], M]:
    def declare(method: M) -> M:
        if not callable(method):
            raise InvalidJob("a saga's decorators are for methods: put @starts or @on above a def in its class")
        setattr(method, MARKS, (*getattr(method, MARKS, ()), mark))
        return method

    return declare


def state_class(cls: type) -> Any:
    """What stands in the brackets of ``Saga[...]``; None where nothing does."""
    for base in cls.__mro__:
        for origin in vars(base).get("__orig_bases__", ()):
            if get_origin(origin) is Saga:
                (found,) = get_args(origin)
                return None if isinstance(found, TypeVar) else found
    return None
