"""Workflows under races, with two real connections; and whatever shape and ends they have, against a simple oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from handlers import GiveUp, Job, RetryPolicy, execution, handles, job_scheduler
from handlers.models import JobHistory, JobRecord, WatchedMove, Workflow
from handlers.registry import registry
from handlers.states import State
from tests.processes import wait_for
from tests.running import NotingTransport, at_once, claim, drain, perform, record, run, waits_for_a_lock

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
    is_skipped: bool  # by a person, once it has failed


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
            draw(st.integers(0, 2)) == 0,
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

    def skip(self) -> list[int]:
        """Those that have failed and are to be skipped, which they are now; who waits for them does not know yet."""
        skipped = [at for at, plan in enumerate(self.plans) if plan.is_skipped and self.states[at] == "failed"]
        self.states = ["skipped" if at in skipped else state for at, state in enumerate(self.states)]
        return skipped

    def cancel(self) -> None:
        self.states = [state if state in ("succeeded", "skipped") else "deleted" for state in self.states]

    def retry(self) -> None:
        self.states = ["succeeded" if state == "failed" else state for state in self.states]
        self.plans = [replace(plan, fails=False) for plan in self.plans]
        self.settle()

    def _look(self, at: int, plan: Plan) -> None:
        ends = {"success": {"succeeded", "skipped"}, "failure": {"failed"}, "deleted": {"deleted"}}
        wanted = ends.get(plan.when, set.union(*ends.values()))
        self.met |= {(at, parent) for parent in plan.parents if self.states[parent] in wanted}
        if self.states[at] != "waiting":
            return
        met = [parent for parent in plan.parents if (at, parent) in self.met]
        over = [p for p in plan.parents if p not in met and self.states[p] in ("succeeded", "skipped", "deleted")]
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
@given(plans=plans(), is_cancelled=st.sampled_from([False, False, True]))
def test_whatever_its_shape_each_node_ends_as_the_rules_say(*, plans: list[Plan], is_cancelled: bool) -> None:
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
    check(flow.workflow_id, ids, oracle)
    for at in oracle.skip():
        assert job_scheduler.skip(ids[at])
    if is_cancelled:  # what the skipped ones have let go, too
        job_scheduler.cancel_workflow(flow.workflow_id)
        oracle.cancel()
        assert drain() == []
    else:
        drain()
        oracle.settle()
        check(flow.workflow_id, ids, oracle)
        BAD.clear()
        job_scheduler.retry_workflow(flow.workflow_id)
        oracle.retry()
        drain()
    check(flow.workflow_id, ids, oracle)
    assert not WatchedMove.objects.exists()
    runs = JobRecord.objects.filter(pk__in=ids).values_list("pk", "attempt", "state")
    assert all(attempt <= 2 for _, attempt, _ in runs)


def check(workflow_id: int, ids: list[int], oracle: Oracle) -> None:
    states = dict(JobRecord.objects.filter(pk__in=ids).values_list("pk", "state"))
    expected = {"waiting": State.AWAITING, "skipped": State.DELETED}
    assert [states[job_id] for job_id in ids] == [expected.get(state, state) for state in oracle.states]
    workflow = Workflow.objects.get(pk=workflow_id)
    sums = {name: getattr(workflow, name) for name in ("succeeded", "failed", "skipped")}
    assert sums == {name: oracle.states.count(name) for name in sums}
    assert workflow.deleted + workflow.unneeded == oracle.states.count("deleted")
    assert workflow.open == oracle.states.count("waiting")
    assert (workflow.finished_at is not None) == (not workflow.open and not workflow.failed)
