"""Workflows under races, with two real connections; and whatever shape and ends they have, against a simple oracle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from handlers import GiveUp, Job, RetryPolicy, execution, handles, job_scheduler
from handlers.models import JobHistory, JobRecord, WatchedMove, Workflow
from handlers.registry import registry
from handlers.states import State
from tests.processes import wait_for
from tests.running import NotingTransport, claim, drain, perform, record, run, waits_for_a_lock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("types")]

ROUNDS = 15
BAD: set[str] = set()


@dataclass(frozen=True)
class Step(Job):
    name: str


@pytest.fixture
def types() -> Iterator[None]:
    with registry.isolated():

        @handles(Step, name="race.Step", retry=RetryPolicy(max_attempts=1))
        def step(job: Step) -> None:
            if job.name in BAD:
                raise GiveUp(job.name)

        yield


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What they answer, each on a connection of its own, all begun at one moment."""
    barrier = threading.Barrier(len(acts))

    def act(each: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(60)
            return each()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(act, acts))


def end(job_id: int) -> Callable[[], Any]:
    """Claim and run the job now, and record it later."""
    (claimed,) = claim(job_id)
    move = perform(claimed)
    assert move is not None
    return partial(execution.settle, [move], worker="w")


def releases(job_id: int) -> int:
    return JobHistory.objects.filter(job_id=job_id, from_state=State.AWAITING).count()


def test_parents_that_end_at_one_moment_release_their_child_once(noting: NotingTransport) -> None:
    for _ in range(ROUNDS):
        with job_scheduler.workflow() as flow:
            parents = [flow.enqueue(Step("x")) for _ in range(3)]
            child = flow.enqueue(Step("y"), after=parents)
        at_once(*[end(parent.job_id) for parent in parents])
        assert record(child.job_id).state == State.ENQUEUED
        assert releases(child.job_id) == 1
        assert sum(call.count(child.job_id) for call in noting.ids) == 1
        run(child.job_id)
        assert Workflow.objects.get(pk=flow.workflow_id).finished_at
    assert not WatchedMove.objects.exists()


def test_no_race_leaves_a_continuation_waiting(noting: NotingTransport) -> None:
    for _ in range(ROUNDS):
        parent = job_scheduler.enqueue(Step("x"))
        _, child = at_once(end(parent), partial(job_scheduler.continue_with, parent, Step("y")))
        assert record(child).state == State.ENQUEUED
        assert releases(child) == 1
    assert not WatchedMove.objects.exists()


@pytest.mark.postgresql  # on SQLite whoever writes second has not begun
@pytest.mark.usefixtures("noting")
def test_a_parent_that_ends_while_its_continuation_is_not_committed_releases_it() -> None:
    parent = job_scheduler.enqueue(Step("x"))
    settle = end(parent)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            child = job_scheduler.continue_with(parent, Step("y"))
            ended = pool.submit(at_once, settle)
            wait_for("the parent to wait", waits_for_a_lock)
        ended.result(10)
    assert record(child).state == State.ENQUEUED
    assert releases(child) == 1


@pytest.mark.usefixtures("noting")
def test_a_workflow_is_cancelled_while_its_jobs_end() -> None:
    for _ in range(ROUNDS):
        with job_scheduler.workflow(on_end=Step("end")) as flow:
            parents = [flow.enqueue(Step("x")) for _ in range(2)]
            child = flow.enqueue(Step("y"), after=parents)
        at_once(
            *[end(parent.job_id) for parent in parents],
            partial(job_scheduler.cancel_workflow, flow.workflow_id),
        )
        workflow = Workflow.objects.get(pk=flow.workflow_id)
        assert record(child.job_id).state == State.DELETED
        assert (workflow.open, bool(workflow.finished_at)) == (0, True)
        assert record(workflow.on_end or 0).state == State.ENQUEUED


# --- any shape


@dataclass(frozen=True)
class Plan:
    """A node to be: earlier ones that it waits for, by which rule, and what becomes of it when it runs."""

    parents: tuple[int, ...]
    when: str
    require: str
    fails: bool
    is_deleted: bool  # by a person, before anything runs


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    count = draw(st.integers(1, 7))
    return [
        Plan(
            tuple(sorted(draw(st.sets(st.integers(0, at - 1), max_size=3)))) if at else (),
            draw(st.sampled_from(["success", "success", "failure", "deleted", "ended"])),
            draw(st.sampled_from(["all", "any"])),
            draw(st.booleans()),
            draw(st.integers(0, 9)) == 0,
        )
        for at in range(count)
    ]


@dataclass
class Oracle:
    """What the documentation says, node by node until nothing changes any more."""

    plans: list[Plan]
    states: list[str] = field(default_factory=list)
    met: set[tuple[int, int]] = field(default_factory=set)  # (node, parent): once met it stays so

    def __post_init__(self) -> None:
        self.states = ["deleted" if plan.is_deleted else "waiting" for plan in self.plans]
        self.settle()

    def settle(self) -> None:
        while True:
            before = list(self.states)
            for at, plan in enumerate(self.plans):
                self._look(at, plan)
            if before == self.states:
                return

    def retry(self) -> None:
        self.states = ["succeeded" if state == "failed" else state for state in self.states]
        self.plans = [Plan(p.parents, p.when, p.require, fails=False, is_deleted=p.is_deleted) for p in self.plans]
        self.settle()

    def _look(self, at: int, plan: Plan) -> None:
        wanted = {"success": {"succeeded"}, "failure": {"failed"}, "deleted": {"deleted"}}.get(
            plan.when, {"succeeded", "failed", "deleted"}
        )
        self.met |= {(at, parent) for parent in plan.parents if self.states[parent] in wanted}
        if self.states[at] != "waiting":
            return
        met = [parent for parent in plan.parents if (at, parent) in self.met]
        over = [p for p in plan.parents if p not in met and self.states[p] in ("succeeded", "deleted")]
        if plan.require == "all":
            runs, never = len(met) == len(plan.parents), bool(over)
        else:
            runs, never = bool(met) or not plan.parents, bool(plan.parents) and len(over) == len(plan.parents)
        if runs:
            self.states[at] = "failed" if plan.fails else "succeeded"
        elif never:
            self.states[at] = "deleted"


@pytest.mark.usefixtures("noting")
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans=plans())
def test_whatever_its_shape_each_node_ends_as_the_rules_say(plans: list[Plan]) -> None:
    BAD.clear()
    BAD.update(str(at) for at, plan in enumerate(plans) if plan.fails)
    with job_scheduler.workflow() as flow:
        nodes: list[Any] = []
        for at, plan in enumerate(plans):
            after = [nodes[parent] for parent in plan.parents]
            nodes.append(flow.enqueue(Step(str(at)), after=after, when=plan.when, require=plan.require))
    ids = [node.job_id for node in nodes]
    with transaction.atomic():
        job_scheduler.delete_many([ids[at] for at, plan in enumerate(plans) if plan.is_deleted])
    oracle = Oracle(plans)
    drain()
    assert found(ids) == oracle.states
    check_sums(flow.workflow_id, oracle.states)
    BAD.clear()
    job_scheduler.retry_workflow(flow.workflow_id)
    oracle.retry()
    drain()
    assert found(ids) == oracle.states
    check_sums(flow.workflow_id, oracle.states)
    assert not WatchedMove.objects.exists()
    runs = JobRecord.objects.filter(pk__in=ids).values_list("pk", "attempt", "state")
    assert all(attempt <= 2 for _, attempt, _ in runs)


def found(ids: list[int]) -> list[str]:
    states = dict(JobRecord.objects.filter(pk__in=ids).values_list("pk", "state"))
    return ["waiting" if states[job_id] == State.AWAITING else states[job_id] for job_id in ids]


def check_sums(workflow_id: int, states: list[str]) -> None:
    workflow = Workflow.objects.get(pk=workflow_id)
    sums = {name: getattr(workflow, name) for name in ("succeeded", "failed")}
    assert sums == {name: states.count(name) for name in sums}
    assert workflow.deleted + workflow.unneeded == states.count("deleted")
    assert workflow.open == states.count("waiting")
    assert (workflow.finished_at is not None) == (not workflow.open and not workflow.failed)
