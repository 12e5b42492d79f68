"""Spans of OpenTelemetry, where the site has it set up; nothing at all, and next to no cost, where it has not.

By the semantic conventions for messaging, as of SCHEMA: *create* where a job is enqueued, *send* where its message goes
to the queue server, *receive* where a worker takes messages, and *process* from the claim of an attempt to its recorded
outcome, current while the handler runs. A job keeps its creation's context, and each attempt belongs to that trace.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import util
from typing import TYPE_CHECKING, Any, Protocol

from django.db import Error, connections

from handlers import forks
from handlers.models import JobTrace
from handlers.models.kept import database
from handlers.models.sql import is_postgresql

if TYPE_CHECKING:
    from handlers.failures import Failure
    from handlers.lifecycle import Move

try:
    from opentelemetry import context, propagate, trace
except ImportError:
    trace = None  # type: ignore[assignment]

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
SYSTEM = "jobsite"  # messaging.system
MOST_CARRIED = 1_024  # characters of a carrier: baggage may be anything
EXPORT_SECONDS = 2.0  # for the last spans of a process that ends by os._exit
MOST_SPANS = 20_000  # of attempts under way in one process

_spans: dict[tuple[int, str], Any] = {}  # of attempts that this process has claimed, by job and token


class Claimed(Protocol):
    """What is told of an attempt."""

    @property
    def job_id(self) -> int: ...
    @property
    def token(self) -> str: ...
    @property
    def job_type(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def correlation(self) -> str: ...


class Sent(Protocol):
    """What is told of a message."""

    @property
    def job_id(self) -> int: ...
    @property
    def queue(self) -> str: ...


def is_on() -> bool:
    """Whether spans go anywhere: the API is installed, and a provider is set."""
    if trace is None:
        return False
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider)


def export_rest() -> None:
    """Have the provider export what it keeps for later, in some seconds at most. For who is to end by os._exit."""
    if not is_on() or (force_flush := getattr(trace.get_tracer_provider(), "force_flush", None)) is None:
        return
    # The SDK's own limit does not hold while an exporter waits for its collector.
    exporting = threading.Thread(target=force_flush, args=(int(EXPORT_SECONDS * 1000),), daemon=True)
    exporting.start()
    exporting.join(EXPORT_SECONDS)


forks.at_end(export_rest)


def export_in_children() -> None:
    """Let what ``multiprocessing`` forks here from now on do the same at its end: it ends by os._exit, too."""
    if is_on():
        util.register_after_fork(export_rest, lambda _: util.Finalize(None, export_rest, exitpriority=0))


@contextmanager
def creating(queues: Sequence[str], types: Collection[str]) -> Iterator[None]:
    """Where jobs are written: the span whose context they keep."""
    attributes = _attributes("enqueue", "create", queues)
    if len(set(types)) == 1:
        attributes["jobs.type"] = next(iter(types))
    with _tracer().start_as_current_span(
        _named("create", queues), kind=trace.SpanKind.PRODUCER, attributes=attributes, record_exception=False
    ):
        yield


def keep(messages: Sequence[Sent], *, using: str) -> None:
    """Keep the context of here and now with these new jobs, in the caller's transaction."""
    _write(_traces(messages), using)


def keep_below(messages: Sequence[Sent], parents: Sequence[int], types: Sequence[str], *, using: str) -> None:
    """The same of jobs that several ask for at once: each is created below the attempt of its parent, one of
    ``parents``, or, where another process has that, within its parent's trace.
    """
    asked: dict[int, list[tuple[Sent, str]]] = {}
    for message, parent, job_type in zip(messages, parents, types, strict=True):
        asked.setdefault(parent, []).append((message, job_type))
    under_way = {job_id: span for (job_id, _), span in list(_spans.items()) if job_id in asked}  # other threads add
    carriers = _carriers([parent for parent in asked if parent not in under_way])
    rows: list[JobTrace] = []
    for parent, some in asked.items():
        place = propagate.extract(carriers.get(parent, {}), context=context.Context())
        if parent in under_way:
            place = trace.set_span_in_context(under_way[parent], place)
        mark = context.attach(place)
        try:
            with creating([message.queue for message, _ in some], {job_type for _, job_type in some}):
                rows += _traces([message for message, _ in some])
        finally:
            context.detach(mark)
    _write(rows, using)


def _traces(messages: Sequence[Sent]) -> list[JobTrace]:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    if sum(map(len, (*carrier, *carrier.values()))) > MOST_CARRIED:
        carrier = {name: text for name, text in carrier.items() if name == "traceparent"}
    if len(messages) == 1:
        trace.get_current_span().set_attribute("messaging.message.id", str(messages[0].job_id))
    return [JobTrace(job_id=message.job_id, carrier=carrier) for message in messages] if carrier else []


def _write(rows: Sequence[JobTrace], using: str) -> None:
    if rows:
        JobTrace.objects.using(using).bulk_create(rows, batch_size=1_000)


@contextmanager
def sending(messages: Sequence[Sent]) -> Iterator[None]:
    """Around the round trip that publishes these."""
    queues = [message.queue for message in messages]
    with _tracer().start_as_current_span(
        _named("send", queues), kind=trace.SpanKind.CLIENT, attributes=_attributes("publish", "send", queues)
    ):
        yield


def received(messages: Sequence[Sent], began: int) -> None:
    """A worker has taken these off their queues; ``began``: when it asked, by ``time.time_ns``."""
    queues = [message.queue for message in messages]
    attributes = _attributes("take", "receive", queues)
    span = _tracer().start_span(
        _named("receive", queues), kind=trace.SpanKind.CLIENT, attributes=attributes, start_time=began
    )
    span.end()


def claimed(claims: Sequence[Claimed]) -> None:
    """The attempts of these begin. Never raises: no job waits for its trace."""
    if not claims or not is_on():
        return
    now, carriers = time.time_ns(), _carriers([claim.job_id for claim in claims])
    for claim in claims:
        parent = propagate.extract(carriers.get(claim.job_id, {}), context=context.Context())
        creation = trace.get_current_span(parent).get_span_context()
        if len(_spans) >= MOST_SPANS:
            _spans.pop(next(iter(_spans))).end()
        _spans[claim.job_id, claim.token] = _tracer().start_span(
            f"process {claim.queue}",
            context=parent,
            kind=trace.SpanKind.CONSUMER,
            links=[trace.Link(creation)] if creation.is_valid else [],
            attributes=_attributes("run", "process", [claim.queue])
            | {
                "messaging.message.id": str(claim.job_id),
                "jobs.type": claim.job_type,
                "jobs.attempt": claim.attempt,
                **({"messaging.message.conversation_id": claim.correlation} if claim.correlation else {}),
            },
            start_time=now,
        )


def enter(claim: Claimed) -> None:
    """Make the attempt's span current from here on, in a context that ends with the run."""
    if (span := _spans.get((claim.job_id, claim.token))) is not None:
        context.attach(trace.set_span_in_context(span))


def settled(job_id: int, token: str, outcome: str, failure: Failure | None = None) -> None:
    """The attempt's outcome is recorded; or, as ``outcome`` says, nobody will record one."""
    if (span := _spans.pop((job_id, token), None)) is None:
        return
    span.set_attribute("jobs.outcome", outcome)
    if failure is not None:
        # As it is recorded: without sensitive arguments.
        span.set_attribute("error.type", failure.exception)
        span.set_status(trace.Status(trace.StatusCode.ERROR, failure.line))
    span.end()


def moved(moves: Iterable[Move], ids: Container[int]) -> None:
    """These are recorded; of those whose jobs are not among ``ids``, nothing was."""
    if _spans:
        for move in moves:
            outcome = move.change.target.value if move.job_id in ids else "lost"
            settled(move.job_id, move.token, outcome, move.change.failure)


def any_open() -> bool:
    """Whether an attempt has a span."""
    return bool(_spans)


def _carriers(ids: Sequence[int]) -> Mapping[int, dict[str, str]]:
    alias = database()
    try:
        rows = JobTrace.objects.using(alias).filter(pk__in=ids)
        return dict(rows.values_list("pk", "carrier"))
    except Error:
        if is_postgresql(connections[alias]) and not connections[alias].in_atomic_block:
            connections[alias].close_if_unusable_or_obsolete()
        return {}


def _tracer() -> Any:
    return trace.get_tracer("handlers", schema_url=SCHEMA)


def _named(operation: str, queues: Collection[str]) -> str:
    return f"{operation} {queues[0]}" if len(set(queues)) == 1 else operation  # type: ignore[index]


def _attributes(name: str, kind: str, queues: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
    }
    if len(set(queues)) == 1:
        found["messaging.destination.name"] = queues[0]
    if len(queues) > 1:
        found["messaging.batch.message_count"] = len(queues)
    return found
