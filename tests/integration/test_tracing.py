"""Spans of OpenTelemetry from enqueue to settle, and none where the site has not set it up."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from handlers import (
    CancellationToken,
    Job,
    RetryPolicy,
    event_bus,
    execution,
    forks,
    handles,
    job_scheduler,
    lifecycle,
    tracing,
)
from handlers.models import Delivery, DeliveryState, JobPayload, JobRecord, JobTrace
from handlers.registry import registry
from handlers.rq_transport import serving
from handlers.rq_transport.lifetime import ENDLESS
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.serving import serve
from handlers.states import State
from handlers.together import run_together
from tests.app.jobs import Card, Note, Pay
from tests.app.sagas import Counted, Opened
from tests.running import WORKER, claim, drain, perform, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


class Spans:
    """What has ended so far."""

    def __init__(self, provider: TracerProvider) -> None:
        self.exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Tracing is on, for this test alone: a provider that is set is set for good."""
    provider = TracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield Spans(provider)
    tracing._spans.clear()


def work(*job_ids: int) -> None:
    """What a worker process does."""
    claims = claim(*job_ids)
    tracing.claimed(claims)
    execution.settle([move for each in claims if (move := perform(each))], worker=WORKER)


def trace_of(job_id: int) -> str:
    """Of which trace its creation is part."""
    return str(JobTrace.objects.get(pk=job_id).carrier["traceparent"].split("-")[1])


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_attempt_belongs_to_the_trace_of_its_enqueue(spans: Spans) -> None:
    job_id = job_scheduler.enqueue(Note("x"), correlation="order-1")
    work(job_id)
    created, processed = spans.one("create default"), spans.one("process default")
    assert created.kind is trace.SpanKind.PRODUCER
    assert processed.kind is trace.SpanKind.CONSUMER
    assert created.context
    assert processed.context
    assert processed.parent
    assert processed.context.trace_id == created.context.trace_id
    assert processed.parent.span_id == created.context.span_id
    assert [link.context.span_id for link in processed.links] == [created.context.span_id]
    assert attributes(created) == {
        "messaging.system": "jobsite", "messaging.operation.name": "enqueue", "messaging.operation.type": "create",
        "messaging.destination.name": "default", "messaging.message.id": str(job_id), "jobs.type": "app.Note",
    }  # fmt: skip
    assert attributes(processed) == {
        "messaging.system": "jobsite", "messaging.operation.name": "run", "messaging.operation.type": "process",
        "messaging.destination.name": "default", "messaging.message.id": str(job_id), "jobs.type": "app.Note",
        "jobs.attempt": 1, "messaging.message.conversation_id": "order-1", "jobs.outcome": "succeeded",
    }  # fmt: skip
    assert processed.instrumentation_scope
    assert processed.instrumentation_scope.schema_url == tracing.SCHEMA


def test_way_to_the_queue_server_is_seen(spans: Spans) -> None:
    job_scheduler.enqueue_many([Note("a"), Note("b")])
    sent = spans.one("send default")
    assert sent.kind is trace.SpanKind.CLIENT
    assert attributes(sent)["messaging.batch.message_count"] == 2
    assert attributes(spans.one("create default"))["messaging.batch.message_count"] == 2
    tracing.received([], 0)
    assert attributes(spans.one("receive"))["messaging.operation.type"] == "receive"


@dataclass(frozen=True)
class Outer(Job):
    """Its handler enqueues another."""


async def aouter(job: Outer) -> None:
    await job_scheduler.aenqueue(Note("inner"))


def outer(job: Outer) -> None:
    job_scheduler.enqueue(Note("inner"))


@pytest.mark.parametrize("handler", [outer, aouter])
def test_what_a_handler_does_is_below_its_attempt(spans: Spans, handler: Any) -> None:
    with registry.isolated():
        handles(Outer, name="tests.Outer")(handler)
        work(job_scheduler.enqueue(Outer()))
    processed = spans.one("process default")
    inner = spans.named("create default")[-1]
    assert inner.parent
    assert processed.context
    assert inner.parent.span_id == processed.context.span_id


def test_failed_attempt_is_an_error_without_secrets(spans: Spans) -> None:
    job_id = job_scheduler.enqueue(Pay(9, "secret-4111", Card("4111-1111-1111-1111", "12/29")))
    work(job_id)
    (processed,) = [span for span in spans.exporter.get_finished_spans() if span.name.startswith("process")]
    assert processed.status.status_code is trace.StatusCode.ERROR
    assert attributes(processed)["error.type"]
    told = str(processed.to_json())
    assert not [part for part in ("secret-4111", "4111-1") if part in told]


def test_each_attempt_has_a_span_of_its_own(spans: Spans) -> None:
    @dataclass(frozen=True)
    class Twice(Job):
        pass

    with registry.isolated():

        @handles(Twice, name="tests.Twice", retry=RetryPolicy(max_attempts=2))
        def fail(job: Twice) -> None:
            raise ValueError

        job_id = job_scheduler.enqueue(Twice())
        work(job_id)
        job_scheduler.retry(job_id)
        work(job_id)
    assert [attributes(span)["jobs.attempt"] for span in spans.named("process default")] == [1, 2]
    assert len({span.context.trace_id for span in spans.named("process default") if span.context}) == 1


@pytest.mark.parametrize("both", [True, False], ids=["each by its own job", "all by one job"])
def test_what_a_saga_asks_for_is_below_its_own_event_whoever_else_is_brought_with_it(spans: Spans, both: bool) -> None:
    for number in (1, 2):
        event_bus.publish(Opened(number))
    drain()
    for number in (1, 2, 2):
        event_bus.publish(Counted(number, 1, tells=True))
    deliveries = list(Delivery.objects.filter(state=DeliveryState.WAITING).order_by("pk"))
    ids = [each.job_id for each in deliveries][: 3 if both else 2]
    published = [trace_of(job_id) for job_id in (each.job_id for each in deliveries)]
    assert len(set(published)) == 3
    claims = claim(*ids)
    tracing.claimed(claims)
    execution.settle(run_together(claims, CancellationToken(job_id=ids[0], attempt=1), worker=WORKER), worker=WORKER)
    told = JobRecord.objects.filter(job_type="app.Tell").order_by("pk")
    brought_by = dict(JobPayload.objects.filter(pk__in=told).values_list("pk", "parent_id"))
    assert {trace_of(pk): parent for pk, parent in brought_by.items()} == dict(
        zip(published, (each.job_id for each in deliveries), strict=True)
    )
    attempts = {
        attributes(span)["messaging.message.id"]: span.context.span_id
        for span in spans.named("process default")
        if span.context
    }
    for pk, parent in brought_by.items():
        [created] = [s for s in spans.named("create default") if attributes(s).get("messaging.message.id") == str(pk)]
        assert created.parent
        assert str(parent) not in attempts or created.parent.span_id == attempts[str(parent)]


def test_rollback_leaves_no_trace_and_ageing_out_neither(spans: Spans) -> None:
    with transaction.atomic():
        job_scheduler.enqueue(Note("x"))
        transaction.set_rollback(True)
    assert not JobTrace.objects.exists()
    work(job_scheduler.enqueue(Note("y")))
    assert JobTrace.objects.count() == 1
    from django.utils import timezone

    lifecycle.age_out(State.SUCCEEDED, before=timezone.now())
    assert not JobTrace.objects.exists()


def test_attempt_that_nobody_records_ends_its_span(spans: Spans) -> None:
    job_id = job_scheduler.enqueue(Note("x"))
    claims = claim(job_id)
    tracing.claimed(claims)
    moves = [move for each in claims if (move := perform(each))]
    job_scheduler.delete(job_id)
    execution.settle(moves, worker=WORKER)
    assert attributes(spans.one("process default"))["jobs.outcome"] == "lost"
    assert not tracing.any_open()


class Piped(SpanExporter):
    """Writes the names of spans to a file descriptor."""

    def __init__(self, to: int) -> None:
        self.to = to

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        os.write(self.to, "".join(f"{span.name}\n" for span in spans).encode())
        return SpanExportResult.SUCCESS


def piped(monkeypatch: pytest.MonkeyPatch) -> tuple[TracerProvider, int, int]:
    """A provider that keeps what it is told for ten minutes, and the pipe that it tells then."""
    reading, writing = os.pipe()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Piped(writing), schedule_delay_millis=600_000))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return provider, reading, writing


def test_worker_process_exports_its_last_spans_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends by os._exit, where the SDK's batches are not exported by themselves."""
    provider, reading, writing = piped(monkeypatch)
    marks = Marks(1)
    marks.stop()
    life: Any = {"marks": marks, "weights": None, "lifetime": ENDLESS, "parent": os.getpid(), "before": {}}
    forks.hold_signals()
    if not (child := os.fork()):
        provider.get_tracer("test").start_span("last").end()
        serve(["default"], name="host.1.last", **life)
    forks.release_signals()
    os.close(writing)
    with os.fdopen(reading) as spans:
        assert spans.read() == "last\n"
    assert os.waitpid(child, 0)[1] == 0


def test_process_that_leaves_its_handler_exports_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, reading, writing = piped(monkeypatch)

    def handle(job: Note) -> None:
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            provider.get_tracer("test").start_span("in a fork").end()

    monkeypatch.setitem(vars(registry.get("app.Note")), "handler", handle)
    monkeypatch.setitem(vars(registry.get("app.Note")), "wants", ())
    run(job_scheduler.enqueue(Note("x")))
    provider.shutdown()  # which exports the parent's own
    os.close(writing)
    with os.fdopen(reading) as spans:
        assert spans.read().splitlines().count("in a fork") == 1


class Parent:
    """A worker whose only job starts a process."""

    is_stopping = True

    def __init__(self, *_: object, **__: object) -> None: ...

    def request_stop(self) -> None: ...

    def own_process(self) -> None: ...

    def work(self, **_: object) -> None:
        span = partial(trace.get_tracer_provider().get_tracer("test").start_span, "in a child")
        child = multiprocessing.get_context("fork").Process(target=lambda: span().end())
        child.start()
        child.join()


def test_process_of_multiprocessing_exports_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    _, reading, writing = piped(monkeypatch)
    monkeypatch.setattr(serving, "BatchWorker", Parent)
    monkeypatch.setattr(serving, "silence", lambda: "")
    life: Any = {"marks": Marks(1), "weights": None, "lifetime": ENDLESS, "parent": os.getpid(), "before": {}}
    forks.hold_signals()
    if not (child := os.fork()):
        serve(["default"], name="host.1.parent", **life)
    forks.release_signals()
    os.close(writing)
    with os.fdopen(reading) as spans:
        assert spans.read() == "in a child\n"
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_is_written_or_asked_where_tracing_is_off() -> None:
    assert not tracing.is_on()
    with CaptureQueriesContext(connection) as queries:
        run(job_scheduler.enqueue(Note("x")))
        tracing.claimed(claim(job_scheduler.enqueue(Note("y"))))
    assert not any("jobs_jobtrace" in str(query["sql"]) for query in queries)
    assert not tracing.any_open()


def test_without_the_package_tracing_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "trace", None)
    assert not tracing.is_on()
    run(job_scheduler.enqueue(Note("x")))
