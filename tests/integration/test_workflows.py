"""Workflows: made whole or not at all, moved on by the ends of their jobs, governed as one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from handlers import (
    GiveUp,
    InvalidJob,
    Job,
    RetryPolicy,
    execution,
    following,
    handles,
    job_scheduler,
    lifecycle,
)
from handlers.lifecycle import Move
from handlers.models import (
    Gate,
    GateParent,
    JobHistory,
    JobRecord,
    NodeInput,
    WatchedMove,
    Workflow,
    WorkflowNode,
)
from handlers.registry import registry
from handlers.states import ACTIVE, State
from handlers.workflows.flow import Flow, Node
from tests.app.jobs import Note
from tests.dying import kills
from tests.running import NotingTransport, claim, drain, facts, perform, record, run, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting", "types")]

BAD: set[str] = set()  # the names of steps that fail


@dataclass(frozen=True)
class Step(Job):
    name: str


@dataclass(frozen=True)
class Add(Job):
    one: int
    other: int = 0


@dataclass(frozen=True)
class Quiet(Job):
    pass


@dataclass(frozen=True)
class Opens(Job):
    names: tuple[str, ...]


@pytest.fixture
def types() -> Iterator[None]:
    BAD.clear()
    with registry.isolated():
        once = RetryPolicy(max_attempts=1)

        @handles(Step, name="flow.Step", retry=once)
        def step(job: Step) -> str:
            if job.name in BAD:
                raise GiveUp(job.name)
            return job.name

        @handles(Add, name="flow.Add", retry=once)
        def add(job: Add) -> int:
            return job.one + job.other

        @handles(Quiet, name="flow.Quiet", retry=once)
        def quiet(job: Quiet) -> None:
            pass

        @handles(Opens, name="flow.Opens", retry=once)
        def opens(job: Opens) -> None:
            with job_scheduler.workflow("inner") as flow:
                for name in job.names:
                    flow.enqueue(Step(name))

        yield


def state(node: Any) -> str:
    return states(node)[0]


def why(node: Any) -> str:
    """The reason of a job's last move."""
    return JobHistory.objects.filter(job_id=node.job_id).order_by("-pk").values_list("reason", flat=True)[0]


def sums(workflow_id: int) -> dict[str, int]:
    workflow = Workflow.objects.get(pk=workflow_id)
    return {name: getattr(workflow, name) for name in ("total", "open", "succeeded", "failed", "deleted", "skipped")}


def unneeded(workflow_id: int) -> int:
    return Workflow.objects.get(pk=workflow_id).unneeded


# --- made


def test_nodes_run_once_their_parents_have_succeeded(noting: NotingTransport) -> None:
    with job_scheduler.workflow("Order 7") as flow:
        a, b = flow.enqueue(Step("a")), flow.enqueue(Step("b"))
        c = flow.enqueue(Step("c"), after=[a, b])
        d = flow.enqueue(Step("d"), after=c)
    assert states(a, b, c, d) == ["enqueued", "enqueued", "awaiting", "awaiting"]
    assert noting.ids == [[a.job_id, b.job_id]]
    run(a.job_id)
    assert state(c) == "awaiting"
    run(b.job_id)
    assert states(c, d) == ["enqueued", "awaiting"]
    assert noting.ids[1:] == [[c.job_id]]
    assert why(c) == "all of 2 jobs succeeded"
    run(c.job_id)
    assert why(d) == f"job {c.job_id} succeeded"
    assert Workflow.objects.get().finished_at is None
    run(d.job_id)
    assert sums(flow.workflow_id) == {"total": 4, "open": 0, "succeeded": 4, "failed": 0, "deleted": 0, "skipped": 0}
    assert Workflow.objects.get().finished_at


def test_it_is_written_whole_or_not_at_all(noting: NotingTransport) -> None:
    with pytest.raises(ZeroDivisionError), job_scheduler.workflow() as flow:
        assert flow.enqueue(Step("a")).job_id / 0
    with pytest.raises(InvalidJob, match="when: must be one of"), job_scheduler.workflow() as flow:
        flow.enqueue(Step("b"), after=flow.enqueue(Step("a")), when="later")
    with pytest.raises(InvalidJob, match="has no node"), job_scheduler.workflow():
        pass
    with transaction.atomic():
        with job_scheduler.workflow() as flow:
            flow.enqueue(Step("a"))
        transaction.set_rollback(True)
    assert not noting.published
    for model in (JobRecord, Workflow, WorkflowNode, Gate):
        assert not model._default_manager.exists()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"when": "any"}, "when"),
        ({"when": "Success"}, "when"),
        ({"require": "some"}, "require"),
        ({"after": 17}, "after"),
        ({"after": [None]}, "after"),
        ({"queue": "nowhere"}, "queue"),
        ({"delay": 5}, "delay"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJob) as caught, job_scheduler.workflow() as flow:
        flow.enqueue(Step("b"), **{"after": flow.enqueue(Step("a")), **options})
    assert caught.value.field == field
    assert not Workflow.objects.exists()


def test_a_node_of_another_workflow_is_a_stranger() -> None:
    with job_scheduler.workflow() as flow:
        stranger = flow.enqueue(Step("a"))
    with pytest.raises(InvalidJob, match="another workflow"), job_scheduler.workflow() as other:
        other.enqueue(Step("b"), after=stranger)
    assert Workflow.objects.count() == 1


def test_many_that_wait_for_the_same_share_a_gate_and_go_on_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.workflows.release.CHUNK", 10)
    with job_scheduler.workflow() as flow:
        root = flow.enqueue(Step("root"))
        fan = flow.enqueue_many([Step(str(n)) for n in range(35)], after=root)
        end = flow.enqueue(Step("end"), after=fan)
    assert Gate.objects.count() == 2
    run(root.job_id)
    assert sum(state == "enqueued" for state in states(*fan)) == 10
    ran = drain()
    assert states(*fan, end) == ["succeeded"] * 36
    assert ran.count(end.job_id) == 1
    assert sums(flow.workflow_id)["succeeded"] == 37


@pytest.mark.postgresql
def test_each_chunk_behind_a_gate_is_found_by_indexes_whatever_statistics_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.workflows.release.CHUNK", 10)
    asked, scans = lifecycle.release, []

    def release(*args: Any, **options: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('enable_seqscan'), current_setting('enable_bitmapscan')")
            scans.append(cursor.fetchone())
        return asked(*args, **options)

    monkeypatch.setattr("handlers.lifecycle.release", release)
    with job_scheduler.workflow() as flow:
        flow.enqueue_many([Step(str(n)) for n in range(35)], after=flow.enqueue(Step("root")))
    drain()
    assert scans == [("off", "off")] * 4


def test_what_is_too_many_to_be_held_until_the_commit_is_published_all_the_same(
    noting: NotingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("verbs", "governing"):
        monkeypatch.setattr(f"handlers.workflows.{module}.CHUNK", 10)
    monkeypatch.setattr("handlers.workflows.building.HELD", 20)
    with suppress(ZeroDivisionError), job_scheduler.workflow() as flow:
        flow.enqueue_many(Step(str(n)) for n in range(35))
        raise ZeroDivisionError
    assert not noting.published
    with job_scheduler.workflow(on_end=Step("end")) as flow:
        nodes = flow.enqueue_many(Step(str(n)) for n in range(55))
        later = flow.enqueue(Step("later"), delay=timedelta(hours=1), priority=5)
        flow.enqueue(Step("after"), after=later)
    assert [job_id for call in noting.ids for job_id in call] == [node.job_id for node in nodes]
    assert [message.job_id for call in noting.delayed for message in call] == [later.job_id]
    assert len(claim(*[node.job_id for node in nodes])) == 55
    with job_scheduler.extend_workflow(flow.workflow_id) as more:
        nodes = more.enqueue_many(Step(str(n)) for n in range(35))
    assert [job_id for call in noting.ids for job_id in call][55:] == [node.job_id for node in nodes]


def test_while_very_many_are_made_memory_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.workflows.verbs.CHUNK", 100)
    monkeypatch.setattr("handlers.workflows.building.HELD", 500)
    with job_scheduler.workflow() as flow:
        for turn in range(30):
            if turn == 10:  # all is imported, planned and cached by then
                tracemalloc.start()
            flow.enqueue_many(Step("x") for _ in range(100))
            if turn == 15:
                before, _ = tracemalloc.get_traced_memory()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 14 * 100 * 100  # bytes a job; its message has more than twice as many


# --- outcomes


def test_a_failed_job_holds_those_that_wait_for_its_success_until_it_is_retried() -> None:
    BAD.add("a")
    with job_scheduler.workflow() as flow:
        a = flow.enqueue(Step("a"))
        b = flow.enqueue(Step("b"), after=a)
        alarm = flow.enqueue(Step("alarm"), after=a, when="failure")
        always = flow.enqueue(Step("always"), after=a, when="ended")
    drain()
    assert states(a, b, alarm, always) == ["failed", "awaiting", "succeeded", "succeeded"]
    assert sums(flow.workflow_id)["failed"] == 1
    BAD.clear()
    job_scheduler.retry(a.job_id)
    assert sums(flow.workflow_id) == {"total": 4, "open": 2, "succeeded": 2, "failed": 0, "deleted": 0, "skipped": 0}
    assert drain() == [a.job_id, b.job_id]  # what succeeded is not run again
    assert Workflow.objects.get().finished_at


def test_skipping_a_failed_job_lets_those_go_on_that_wait_for_it() -> None:
    BAD.add("a")
    with job_scheduler.workflow() as flow:
        a = flow.enqueue(Step("a"))
        b = flow.enqueue(Step("b"), after=a)
    assert not job_scheduler.skip(a.job_id)  # it has not failed
    drain()
    assert job_scheduler.skip(a.job_id, by="somebody", reason="paid by hand")
    assert not job_scheduler.skip(a.job_id)
    drain()
    assert states(a, b) == ["deleted", "succeeded"]
    assert sums(flow.workflow_id)["skipped"] == 1
    assert not sums(flow.workflow_id)["deleted"]


def test_those_whose_parent_can_no_longer_end_as_they_wait_for_are_deleted() -> None:
    with job_scheduler.workflow() as flow:
        a = flow.enqueue(Step("a"))
        never = flow.enqueue(Step("never"), after=a, when="failure")
        after_never = flow.enqueue(Step("after"), after=never)
        undone = flow.enqueue(Step("undone"), after=never, when="deleted")
    drain()
    assert states(never, after_never, undone) == ["deleted", "deleted", "succeeded"]
    assert why(never) == f"job {a.job_id} did not end as this waits for (failed)"
    assert Workflow.objects.get().finished_at


def test_any_of_several_is_enough_and_the_last_to_miss_decides() -> None:
    BAD.add("bad")
    with job_scheduler.workflow() as flow:
        parents = [flow.enqueue(Step(name)) for name in ("bad", "good", "late")]
        first = flow.enqueue(Step("first"), after=parents, require="any")
        no_failure = flow.enqueue(Step("none"), after=parents[1:], when="failure", require="any")
    run(parents[0].job_id)
    assert state(first) == "awaiting"
    run(parents[1].job_id)
    assert states(first, no_failure) == ["enqueued", "awaiting"]
    run(parents[2].job_id)
    assert state(no_failure) == "deleted"
    assert why(no_failure) == "of 2 jobs none failed"


def test_what_nobody_needed_is_no_failure_of_the_whole() -> None:
    with job_scheduler.workflow(on_success=Step("done")) as flow:
        a = flow.enqueue(Step("a"))
        alarm = flow.enqueue(Step("alarm"), after=a, when="failure")
        flow.enqueue(Step("after the alarm"), after=alarm)
    assert Workflow.objects.get().on_success in drain()
    assert (state(alarm), unneeded(flow.workflow_id)) == ("deleted", 2)
    assert sums(flow.workflow_id)["deleted"] == 0


def test_what_waited_for_a_job_that_a_person_deleted_is_not_needed_and_the_whole_has_not_succeeded() -> None:
    with job_scheduler.workflow(on_success=Step("done")) as flow:
        a = flow.enqueue(Step("a"))
        flow.enqueue(Step("b"), after=a)
    job_scheduler.delete(a.job_id)
    assert (sums(flow.workflow_id)["deleted"], unneeded(flow.workflow_id)) == (1, 1)
    assert state(Workflow.objects.get().on_success) == "deleted"


def test_deleting_a_job_by_mistake_can_be_undone() -> None:
    with job_scheduler.workflow() as flow:
        a, other = flow.enqueue(Step("a")), flow.enqueue(Step("other"))
        b = flow.enqueue(Step("b"), after=[a, other])
    job_scheduler.delete(a.job_id)
    assert state(b) == "deleted"
    job_scheduler.restore(b.job_id)
    assert state(b) == "deleted"  # what it waits for is still gone
    job_scheduler.restore(a.job_id)
    job_scheduler.restore(b.job_id)
    assert state(b) == "awaiting"
    drain()
    assert states(a, other, b) == ["succeeded"] * 3


def test_a_job_that_runs_again_does_not_start_what_has_followed_once_more() -> None:
    with job_scheduler.workflow(on_success=Note("done")) as flow:
        a = flow.enqueue(Step("a"))
        flow.enqueue(Step("b"), after=a)
    drain()
    job_scheduler.requeue(a.job_id)
    assert Workflow.objects.get().finished_at is None
    assert drain() == [a.job_id]
    assert Workflow.objects.get().finished_at


# --- at the end


@pytest.mark.parametrize("fails", [False, True])
def test_jobs_at_the_end_run_once_all_is_over(fails: bool) -> None:
    if fails:
        BAD.add("b")
    with job_scheduler.workflow(on_success=Step("success"), on_end=Step("end")) as flow:
        flow.enqueue(Step("a"))
        b = flow.enqueue(Step("b"))
    ran = drain()
    workflow = Workflow.objects.get()
    assert workflow.total == 2
    assert (workflow.on_end in ran, workflow.on_success in ran) == (True, not fails)
    if fails:
        BAD.clear()
        job_scheduler.retry(b.job_id)
        assert drain() == [b.job_id, workflow.on_success]


def test_the_job_of_success_is_deleted_where_there_was_none() -> None:
    with job_scheduler.workflow(on_success=Step("success"), on_end=Step("end")) as flow:
        a = flow.enqueue(Step("a"))
    job_scheduler.delete(a.job_id)
    workflow = Workflow.objects.get()
    assert states(workflow.on_success, workflow.on_end) == ["deleted", "enqueued"]


# --- results


def test_a_result_can_be_an_argument() -> None:
    with job_scheduler.workflow() as flow:
        a, b = flow.enqueue(Add(1, 2)), flow.enqueue(Add(3, 4))
        c = flow.enqueue(Add(flow.result(a), flow.result(b)), after=[a, b])
    assert record(c.job_id).payload == {}
    drain()
    assert record(c.job_id).payload == {"one": 3, "other": 7}
    assert record(c.job_id).result == 10


def test_a_result_must_fit_and_come_from_a_job_that_is_waited_for() -> None:
    wrong: list[tuple[Callable[[Flow, Node], object], str]] = [
        (lambda flow, node: flow.enqueue(Add(flow.result(node))), "does not wait for"),
        (lambda flow, node: flow.enqueue(Add(flow.result(node)), after=node, when="ended"), "does not wait for"),
        (lambda flow, node: flow.enqueue(Add(flow.result(node)), after=node), "is int, and flow.Step returns str"),
        (lambda flow, node: flow.enqueue(Add(flow.result(flow.enqueue(Add(1)))), after=node), "does not wait for"),
        (lambda flow, node: job_scheduler.enqueue(Add(flow.result(node))), "valid integer"),
    ]
    for make, said in wrong:
        with pytest.raises(InvalidJob, match=said) as caught, job_scheduler.workflow() as flow:
            make(flow, flow.enqueue(Step("a")))
        assert caught.value.field == "one"
    with pytest.raises(InvalidJob, match="keeps no result"), job_scheduler.workflow() as flow:
        flow.enqueue(Add(flow.result(quiet := flow.enqueue(Quiet()))), after=quiet)
    assert not JobRecord.objects.exists()


def test_without_the_result_of_a_skipped_job_one_that_needs_it_fails_in_words() -> None:
    with job_scheduler.workflow() as flow:
        a = flow.enqueue(Add(1))
        b = flow.enqueue(Add(flow.result(a)), after=a)
    JobRecord.objects.filter(pk=a.job_id).update(state=State.FAILED)
    job_scheduler.skip(a.job_id)
    drain()
    assert state(b) == "failed"
    assert "flow.Add: one" in why(b)
    assert job_scheduler.retry(b.job_id, {"one": 5})
    drain()
    assert record(b.job_id).result == 5


# --- continuations


@pytest.mark.parametrize("ends_first", [True, False])
def test_a_job_is_continued_whether_it_has_ended_or_not(ends_first: bool) -> None:
    first = job_scheduler.enqueue(Step("a"))
    if ends_first:
        run(first)
    second = job_scheduler.continue_with(first, Step("b"))
    third = job_scheduler.continue_with(str(second), Step("c"), when="failure")
    if not ends_first:
        assert state(second) == "awaiting"
        run(first)
    assert state(second) == "enqueued"
    drain()
    assert states(second, third) == ["succeeded", "deleted"]


def test_there_is_nothing_to_continue_where_there_is_no_job() -> None:
    for parent in (17, "x", True, None):
        with pytest.raises(InvalidJob, match="there is no job") as caught:
            job_scheduler.continue_with(parent, Step("b"))
        assert caught.value.field == "parent"
    with pytest.raises(InvalidJob):
        job_scheduler.continue_with(job_scheduler.enqueue(Step("a")), Step("b"), when="soon")
    assert JobRecord.objects.count() == 1


# --- nested, extended


def test_who_waits_for_a_job_waits_for_the_workflow_that_it_opens() -> None:
    BAD.add("y")
    with job_scheduler.workflow("outer") as flow:
        opener = flow.enqueue(Opens(("x", "y")))
        after = flow.enqueue(Step("after"), after=opener)
    run(opener.job_id)
    assert states(opener, after) == ["succeeded", "awaiting"]
    drain()
    assert state(after) == "awaiting"
    inner = Workflow.objects.get(title="inner")
    assert (inner.opened_by, inner.failed) == (opener.job_id, 1)
    BAD.clear()
    assert job_scheduler.retry_workflow(inner.pk) == 1
    drain()
    assert state(after) == "succeeded"
    assert not Workflow.objects.filter(finished_at=None).exists()


def test_a_job_adds_to_its_own_workflow() -> None:
    @dataclass(frozen=True)
    class Grow(Job):
        pass

    @handles(Grow, name="flow.Grow")
    def grow(job: Grow) -> None:
        with job_scheduler.extend_workflow() as flow:
            flow.enqueue(Step("more"), after=flow.this)

    with job_scheduler.workflow() as flow:
        root = flow.enqueue(Grow())
        ended = flow.enqueue(Step("ended"))
    run(ended.job_id)
    run(root.job_id)
    with job_scheduler.extend_workflow(flow.workflow_id) as more:
        late = more.enqueue(Step("late"), after=more.node(ended.job_id))
        twice = more.enqueue(Step("twice"), after=[late, more.node(late.job_id)])  # one parent by two names
    assert states(late, twice) == ["enqueued", "awaiting"]
    drain()
    assert sums(flow.workflow_id)["succeeded"] == 5
    with pytest.raises(InvalidJob, match="has ended"), job_scheduler.extend_workflow(flow.workflow_id):
        pass
    with pytest.raises(InvalidJob, match="there is no workflow"), job_scheduler.extend_workflow(17_000):
        pass


# --- governed


def test_nothing_of_a_paused_workflow_starts(noting: NotingTransport) -> None:
    with job_scheduler.workflow() as flow:
        a, b = flow.enqueue(Step("a")), flow.enqueue(Step("b"))
        c = flow.enqueue(Step("c"), after=a)
    (claimed,) = claim(a.job_id)
    assert job_scheduler.pause_workflow(flow.workflow_id)
    assert not job_scheduler.pause_workflow(flow.workflow_id)
    assert not claim(b.job_id)
    lifecycle.apply([execution.succeeded(claimed, worker="w", seconds=0.1)], actor="w")  # what runs ends
    assert state(c) == "enqueued"
    assert not claim(c.job_id)
    before = len(noting.published)
    assert job_scheduler.resume_workflow(flow.workflow_id)
    assert noting.ids[before:] == [[b.job_id, c.job_id]]
    assert len(claim(b.job_id, c.job_id)) == 2


@pytest.mark.parametrize("chunk", [1_000, 2])
def test_cancelling_deletes_all_that_has_not_succeeded(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.workflows.governing.CHUNK", chunk)
    BAD.add("bad")
    with job_scheduler.workflow(on_end=Step("end")) as flow:
        nodes = flow.enqueue_many([Step(name) for name in ("good", "bad", "running", "waiting")])
        last = flow.enqueue(Step("last"), after=nodes)
    run(nodes[0].job_id, nodes[1].job_id)
    claim(nodes[2].job_id)
    assert job_scheduler.cancel_workflow(flow.workflow_id, by="somebody", reason="ordered twice")
    assert not job_scheduler.cancel_workflow(flow.workflow_id)
    drain()
    assert states(*nodes, last) == ["succeeded", "deleted", "deleted", "deleted", "deleted"]
    workflow = Workflow.objects.get()
    assert workflow.finished_at
    assert state(workflow.on_end) == "succeeded"
    assert facts(nodes[2].job_id, "worker") == ("host-1.17.0",)


def test_cancelling_reaches_the_workflows_that_its_jobs_have_opened() -> None:
    with job_scheduler.workflow("outer") as flow:
        opener = flow.enqueue(Opens(("x",)))
        flow.enqueue(Step("after"), after=opener)
    run(opener.job_id)
    assert job_scheduler.cancel_workflow(flow.workflow_id)
    assert not JobRecord.objects.filter(state__in=ACTIVE).exists()
    assert not Workflow.objects.filter(finished_at=None).exists()


def test_nothing_is_added_once_its_block_is_over() -> None:
    with job_scheduler.workflow() as flow:
        a = flow.enqueue(Step("a"))
    with pytest.raises(InvalidJob, match="its block is over"):
        flow.enqueue(Step("b"), after=a)
    with pytest.raises(InvalidJob, match="name it outside of its own jobs"), job_scheduler.extend_workflow():
        pass


# --- killed at any instant


def test_one_that_is_killed_while_it_makes_a_workflow_leaves_nothing_or_all() -> None:
    def make() -> None:
        with job_scheduler.workflow(on_end=Step("end")) as flow:
            flow.enqueue(Step("b"), after=flow.enqueue(Step("a")))

    seen = set[tuple[int, ...]]()
    for was_killed in kills(wipe, make):
        seen.add(found := tuple(model._default_manager.count() for model in (JobRecord, Workflow, WorkflowNode, Gate)))
        assert found == (3, 1, 3, 1) or (was_killed and not any(found))
    assert len(seen) == 2


def test_one_that_is_killed_while_it_moves_a_workflow_on_leaves_that_to_a_scheduler() -> None:
    moves: list[Move] = []
    nodes: list[Node] = []

    def prepare() -> None:
        wipe()
        with job_scheduler.workflow(on_end=Step("end")) as flow:
            a, b = flow.enqueue(Add(1)), flow.enqueue(Add(2))
            nodes[:] = [a, b, flow.enqueue(Add(flow.result(a), flow.result(b)), after=[a, b])]
        run(b.job_id)
        moves[:] = [move for claimed in claim(a.job_id) if (move := perform(claimed))]

    for _ in kills(prepare, lambda: lifecycle.apply(moves, actor="w"), least=10):
        if state(nodes[0]) == "processing":
            lifecycle.apply(moves, actor="w")  # its outcome was not recorded
        WatchedMove.objects.update(at=F("at") - timedelta(seconds=10))
        following.follow(left_behind=True)
        drain()
        assert states(*nodes) == ["succeeded"] * 3
        assert record(nodes[2].job_id).result == 3
        workflow = Workflow.objects.get()
        assert (workflow.succeeded, bool(workflow.finished_at)) == (3, True)
        assert JobHistory.objects.filter(job_id=nodes[2].job_id, from_state="awaiting").count() == 1
        assert not WatchedMove.objects.exists()


@pytest.mark.parametrize("has_ended", [False, True])
def test_one_that_is_killed_while_it_continues_a_job_leaves_nothing_or_all(has_ended: bool) -> None:
    parents: list[int] = []

    def prepare() -> None:
        wipe()
        parents[:] = [job_scheduler.enqueue(Step("a"))]
        if has_ended:
            run(*parents)

    seen = set[int]()
    for was_killed in kills(prepare, lambda: job_scheduler.continue_with(parents[0], Step("b"))):
        children = list(JobRecord.objects.exclude(pk__in=parents).values_list("pk", flat=True))
        found = (len(children), WorkflowNode.objects.filter(pk__in=children).count(), Gate.objects.count())
        assert found == (1, 1, 1) or (was_killed and not any(found))
        seen.add(len(children))
        WatchedMove.objects.update(at=F("at") - timedelta(seconds=10))
        following.follow(left_behind=True)
        assert drain() == [*([] if has_ended else parents), *children]
        assert states(*parents, *children) == ["succeeded"] * (1 + len(children))
        assert not WatchedMove.objects.exists()
    assert seen == {0, 1}


def wipe() -> None:
    for model in (NodeInput, GateParent, Gate, WorkflowNode, Workflow, WatchedMove, JobHistory, JobRecord):
        model._default_manager.all().delete()


def test_nodes_know_what_they_return_once_it_is_kept() -> None:
    with job_scheduler.workflow() as flow:
        a = flow.enqueue(Add(1))
        flow.enqueue(Add(flow.result(a)), after=a)
    run(a.job_id)
    assert NodeInput.objects.get().data == 1


def correlations(*nodes: Node) -> list[str]:
    return [record(node.job_id).arguments.correlation for node in nodes]


def test_all_of_a_workflow_has_the_correlation_that_it_is_given_or_one_of_its_own() -> None:
    with job_scheduler.workflow(correlation="order-7", on_end=Step("end")) as flow:
        first = flow.enqueue(Step("x"))
        nodes = [first, flow.enqueue(Step("y"), after=[first])]
    given = Workflow.objects.get(pk=flow.workflow_id)
    assert (given.correlation, correlations(*nodes)) == ("order-7", ["order-7"] * 2)
    assert record(given.on_end or 0).arguments.correlation == "order-7"
    with job_scheduler.workflow() as flow:
        nodes = [flow.enqueue(Step("x"))]
    own = f"workflow-{flow.workflow_id}"
    assert (Workflow.objects.get(pk=flow.workflow_id).correlation, correlations(*nodes)) == (own, [own])


def test_a_workflow_that_a_job_opens_has_the_correlation_of_that_job() -> None:
    outer = job_scheduler.enqueue(Opens(("x",)), correlation="order-8")
    run(outer)
    inner = Workflow.objects.get(title="inner")
    assert inner.correlation == "order-8"
    assert set(JobRecord.objects.values_list("arguments__correlation", flat=True)) == {"order-8"}
