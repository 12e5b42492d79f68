"""What time and people do to workflows that live long: ageing out, restoring, deleting, going back in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from handlers import GiveUp, InvalidJob, Job, RetryPolicy, Sensitive, handles, job_scheduler
from handlers.models import Gate, GateParent, JobRecord, WatchedMove, Workflow, WorkflowNode
from handlers.recovery import Recovery, age_out
from handlers.registry import registry
from handlers.states import ACTIVE, State
from handlers.workflows import progress
from handlers.workflows.flow import Flow, Node
from tests.app.jobs import Note
from tests.running import NotingTransport, claim, drain, run, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting", "types")]

BAD: set[str] = set()  # the names of steps that fail
LONG = timedelta(days=1_000)


@dataclass(frozen=True)
class Step(Job):
    name: str


@dataclass(frozen=True)
class Opens(Job):
    name: str


@pytest.fixture
def types() -> Iterator[None]:
    BAD.clear()
    with registry.isolated():
        once = RetryPolicy(max_attempts=1)

        @handles(Step, name="lives.Step", retry=once)
        def step(job: Step) -> str:
            if job.name in BAD:
                raise GiveUp(job.name)
            return job.name

        @handles(Opens, name="lives.Opens", retry=once)
        def opens(job: Opens) -> None:
            with job_scheduler.workflow("inner") as flow:
                flow.enqueue(Step(job.name))

        yield


def run_own() -> None:
    """Run the engine's own jobs, until there are no more."""
    while ids := list(JobRecord.objects.filter(state=State.ENQUEUED, queue="system").values_list("pk", flat=True)):
        assert run(*ids)


def long_ago(*jobs: Any) -> None:
    """These have ended long ago."""
    ids = [getattr(job, "job_id", job) for job in jobs]
    JobRecord.objects.filter(pk__in=ids).update(finished_at=F("finished_at") - LONG)


def is_there(*jobs: Any) -> list[bool]:
    return [JobRecord.objects.filter(pk=getattr(job, "job_id", job)).exists() for job in jobs]


# --- ageing out


def test_a_workflow_goes_on_though_the_job_of_its_end_has_aged_out() -> None:
    BAD.add("a")
    with job_scheduler.workflow(on_end=Note("end")) as flow:
        a = flow.enqueue(Step("a"))
        b = flow.enqueue(Step("b"), after=a)
    job_scheduler.delete(b.job_id)
    drain()
    end = Workflow.objects.get().on_end
    assert states(end) == ["succeeded"]
    long_ago(end)
    age_out()
    assert is_there(end) == [False]
    BAD.clear()
    job_scheduler.retry(a.job_id)
    drain()
    assert not WatchedMove.objects.exists()
    assert Workflow.objects.get().finished_at


def test_a_job_goes_on_though_what_waited_for_it_has_aged_out() -> None:
    BAD.add("a")
    parent = job_scheduler.enqueue(Step("a"))
    child = job_scheduler.continue_with(parent, Step("b"))
    drain()
    job_scheduler.delete(child)
    long_ago(child)
    age_out()
    assert is_there(parent, child) == [True, False]
    assert not Gate.objects.exists()
    assert not GateParent.objects.exists()
    BAD.clear()
    job_scheduler.retry(parent)
    other = job_scheduler.continue_with(parent, Step("c"))
    drain()
    assert not WatchedMove.objects.exists()
    assert states(other) == ["succeeded"]


def test_a_job_stays_as_long_as_the_workflow_that_it_has_opened_is_under_way() -> None:
    BAD.add("x")
    with job_scheduler.workflow("outer") as flow:
        opener = flow.enqueue(Opens("x"))
        after = flow.enqueue(Step("after"), after=opener)
    drain()
    assert states(opener, after) == ["succeeded", "awaiting"]
    long_ago(opener)
    age_out()
    BAD.clear()
    assert job_scheduler.retry_workflow(Workflow.objects.get(title="inner").pk) == 1
    drain()
    assert states(after) == ["succeeded"]
    assert not Workflow.objects.filter(finished_at=None).exists()
    long_ago(opener, after)
    age_out()
    assert is_there(opener, after) == [False, False]


def test_who_waits_for_a_failed_job_does_not_wait_for_ever_once_that_has_aged_out(settings: Any) -> None:
    settings.JOBS = {**settings.JOBS, "RETENTION_DAYS": {"failed": 30}}
    BAD.add("a")
    with job_scheduler.workflow(on_success=Note("good"), on_end=Note("end")) as flow:
        a = flow.enqueue(Step("a"))
        b = flow.enqueue(Step("b"), after=a)
    alone, unrelated = job_scheduler.enqueue(Step("a")), job_scheduler.enqueue(Step("a"))
    child = job_scheduler.continue_with(alone, Step("c"))
    drain()
    long_ago(a, alone, unrelated)
    while age_out():
        pass
    drain()
    assert is_there(unrelated) == [False]
    assert states(b, child) == ["deleted", "deleted"]
    assert Workflow.objects.get().finished_at
    long_ago(a, alone)
    age_out()
    assert is_there(a, alone) == [False, False]
    assert not JobRecord.objects.filter(state__in=ACTIVE).exists()


def test_a_job_that_is_continued_at_this_moment_does_not_age_out(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = job_scheduler.enqueue(Step("a"))
    job_scheduler.continue_with(parent, Step("b"))
    drain()
    long_ago(parent)
    with monkeypatch.context() as dying:
        dying.setattr("handlers.lifecycle.watching._told", bool)  # its maker dies once this is committed
        child = job_scheduler.continue_with(parent, Step("c"))
    age_out()
    assert is_there(parent) == [True]
    WatchedMove.objects.update(at=F("at") - timedelta(seconds=10))
    Recovery().tick()
    assert states(child) == ["enqueued"]


# --- restored, deleted, governed


@pytest.mark.parametrize("fails", [False, True])
def test_the_jobs_of_the_end_can_be_restored_once_it_has_come(fails: bool) -> None:
    if fails:
        BAD.add("a")
    with job_scheduler.workflow(on_success=Step("good"), on_end=Step("end")) as flow:
        a = flow.enqueue(Step("a"))
    workflow = Workflow.objects.get()
    ends = workflow.on_success, workflow.on_end
    job_scheduler.delete_many(ends)
    run(a.job_id)
    assert states(*ends) == ["deleted", "deleted"]
    assert job_scheduler.restore_many(ends) == 2
    assert states(*ends) == ["awaiting" if fails else "enqueued", "enqueued"]
    BAD.clear()
    job_scheduler.retry(a.job_id)
    drain()
    assert states(*ends) == ["succeeded", "succeeded"]


def test_nothing_can_be_added_that_waits_for_the_jobs_of_the_end() -> None:
    with job_scheduler.workflow(on_success=Step("good"), on_end=Step("end")) as flow:
        flow.enqueue(Step("a"))
    workflow = Workflow.objects.get()
    for end in (workflow.on_success, workflow.on_end):
        with pytest.raises(InvalidJob, match="is none of"), job_scheduler.extend_workflow(workflow.pk) as more:
            more.enqueue(Step("b"), after=more.node(end))


def test_what_the_engine_does_for_workflows_nobody_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.workflows.release.CHUNK", 2)
    with job_scheduler.workflow() as flow:
        root = flow.enqueue(Step("root"))
        fan = flow.enqueue_many([Step(str(n)) for n in range(5)], after=root)
    run(root.job_id)
    own = JobRecord.objects.get(job_type="jobs.OpenGate")
    assert not job_scheduler.delete(own.pk, by="somebody")
    drain()
    assert states(*fan) == ["succeeded"] * 5


def test_a_reason_of_any_text_cancels_a_workflow_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.workflows.governing.CHUNK", 2)
    with job_scheduler.workflow() as flow:
        nodes = flow.enqueue_many([Step(str(n)) for n in range(5)])
    assert job_scheduler.cancel_workflow(flow.workflow_id, by="x" * 500, reason="\ud800 \0 <b>" * 100_000)
    run_own()
    assert states(*nodes) == ["deleted"] * 5


def test_a_paused_workflow_that_is_cancelled_runs_nothing_but_its_end(
    monkeypatch: pytest.MonkeyPatch, noting: NotingTransport
) -> None:
    monkeypatch.setattr("handlers.workflows.governing.CHUNK", 2)
    with job_scheduler.workflow(on_end=Step("end")) as flow:
        nodes = flow.enqueue_many([Step(str(n)) for n in range(6)])
    job_scheduler.pause_workflow(flow.workflow_id)
    job_scheduler.cancel_workflow(flow.workflow_id)
    assert states(*nodes) == ["deleted", "deleted", *["enqueued"] * 4]
    assert not claim(*[node.job_id for node in nodes])
    run_own()
    assert states(*nodes) == ["deleted"] * 6
    end = Workflow.objects.get().on_end
    assert noting.ids[-1] == [end]
    assert drain() == [end]


def test_a_skip_that_was_undone_before_anybody_heard_of_it_is_none_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    BAD.add("a")
    with job_scheduler.workflow() as flow:
        a = flow.enqueue(Step("a"))
        b = flow.enqueue(Step("b"), after=a)
    drain()
    with monkeypatch.context() as dying:
        dying.setattr("handlers.lifecycle.watching._told", bool)
        assert job_scheduler.skip(a.job_id)
    assert job_scheduler.restore(a.job_id)
    assert states(a, b) == ["failed", "awaiting"]
    assert job_scheduler.delete(a.job_id)
    assert states(b) == ["deleted"]


# --- made


def test_nothing_is_added_to_a_block_that_was_left_by_an_exception() -> None:
    left: list[tuple[Flow, Node]] = []

    def leave(*, asks: bool) -> None:
        with job_scheduler.workflow() as flow:
            left.append((flow, flow.enqueue(Step("a"))))
            assert not asks or left[-1][1].job_id
            raise ZeroDivisionError

    for asks in (True, False):
        with pytest.raises(ZeroDivisionError):
            leave(asks=asks)
        with pytest.raises(InvalidJob, match="its block is over"):
            left[-1][0].enqueue(Step("b"))
    with pytest.raises(InvalidJob, match="was not made"):
        _ = left[-1][1].job_id
    assert not JobRecord.objects.exists()
    assert not WorkflowNode.objects.exists()


def test_a_workflow_of_which_a_part_was_rolled_back_is_not_made() -> None:
    def lose(flow: Flow) -> None:
        a = flow.enqueue(Step("a"))
        with transaction.atomic():
            assert flow.enqueue(Step("b"), after=a).job_id
            transaction.set_rollback(True)
        flow.enqueue(Step("c"), after=a)

    with pytest.raises(InvalidJob, match="rolled back") as caught, job_scheduler.workflow() as flow:
        lose(flow)
    assert caught.value.field == "workflow"
    assert not JobRecord.objects.exists()
    with job_scheduler.workflow() as flow:
        with transaction.atomic():
            a = flow.enqueue(Step("a"))
            assert flow.enqueue(Step("b"), after=a).job_id
        with job_scheduler.workflow() as other:
            assert flow.enqueue(Step("c"), after=a).job_id
            other.enqueue(Step("d"))
    with pytest.raises(InvalidJob, match="rolled back"), job_scheduler.extend_workflow(other.workflow_id) as more:
        lose(more)
    assert len(drain()) == 4
    assert not JobRecord.objects.filter(state__in=ACTIVE).exists()


# --- secrets


@dataclass(frozen=True)
class Pair(Job):
    open_one: str
    secret_one: Annotated[str, Sensitive()] = ""


def test_a_secret_result_is_an_argument_only_where_that_is_marked_too() -> None:
    handles(Pair, name="lives.Pair")(_pair)

    def pass_on(to: Callable[[Any], Job]) -> None:
        with job_scheduler.workflow() as flow:
            source = flow.enqueue(Pair("a"))
            flow.enqueue(to(flow.result(source)), after=source)

    with pytest.raises(InvalidJob, match="Sensitive") as caught:
        pass_on(Step)
    assert caught.value.field == "name"
    pass_on(lambda result: Pair("b", result))


def _pair(job: Pair) -> Annotated[str, Sensitive()]:
    return job.open_one


# --- clocks


def test_what_was_left_behind_before_the_clock_was_set_back_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    first = job_scheduler.enqueue(Step("a"))
    second = job_scheduler.continue_with(first, Step("b"))
    with monkeypatch.context() as dying:
        dying.setattr("handlers.lifecycle.watching._told", bool)
        run(first)
    WatchedMove.objects.update(at=F("at") + timedelta(days=1))
    Recovery().tick()
    assert states(second) == ["enqueued"]


# --- races


@pytest.mark.postgresql
def test_who_continues_an_opener_while_its_workflow_ends_hears_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    opener = job_scheduler.enqueue(Opens("x"))
    run(opener)
    inner = JobRecord.objects.get(state=State.ENQUEUED)
    goes_on, stands = threading.Event(), threading.Event()

    def wait(self: Any) -> None:
        stands.set()
        assert goes_on.wait(60)
        do(self)

    do = progress._Releases.do

    def end() -> None:
        try:
            run(inner.pk)
        finally:
            connection.close()

    with monkeypatch.context() as slow:
        slow.setattr(progress._Releases, "do", wait)
        ending = threading.Thread(target=end)
        ending.start()
        assert stands.wait(60)
    timer = threading.Timer(1.0, goes_on.set)  # this waits for that, or not
    timer.start()
    child = job_scheduler.continue_with(opener, Step("after"))
    goes_on.set()
    ending.join(20)
    assert states(child) == ["enqueued"]
