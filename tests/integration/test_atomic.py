"""``atomic=True``: what a handler writes is committed with its job's success, once, or not at all."""

from __future__ import annotations

import logging
import math
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.db.models import Count
from django.test import TestCase, TransactionTestCase

from handlers import (
    Command,
    Event,
    GiveUp,
    InvalidJob,
    Job,
    JobHandler,
    RetryPolicy,
    Run,
    Snooze,
    WaitFor,
    event_bus,
    execution,
    handles,
    handles_command,
    job_scheduler,
    lifecycle,
    logs,
    tidying,
)
from handlers.atomically import SharedCommit
from handlers.cancellation import CancellationToken
from handlers.hooks import JobMiddleware
from handlers.lifecycle import Claim
from handlers.models import AttemptError, EventRecord, JobHistory, JobRecord
from handlers.registry import registry
from handlers.rq_transport import commits
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.worker import BatchWorker
from handlers.testing import JobsTestMixin, run_due_jobs
from tests.dying import DEATHS, cut
from tests.running import WORKER, claim, expire, facts, make_due, message, perform, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


@dataclass(frozen=True)
class Work(Job):
    """Its handler is the test's."""

    name: str = "one"


@dataclass(frozen=True)
class Trouble(Job):
    """The same, of another type."""

    name: str = "one"


@dataclass(frozen=True)
class Tell(Command):
    """What it starts."""

    name: str


@dataclass(frozen=True)
class Happened(Event):
    """What it says has happened."""

    name: str


@pytest.fixture(autouse=True)
def apart(transactional_db: None) -> Iterator[None]:
    Group.objects.all().delete()
    with registry.isolated():
        handles_command(Tell)(lambda command: None)
        yield


def declare(handler: Callable[..., Any], **options: Any) -> None:
    handles(Work, atomic=True, retry=RetryPolicy(max_attempts=9), **options)(handler)


def write(job: Work | Trouble) -> None:
    """Two rows, and a job that follows."""
    Group.objects.create(name=f"{job.name} a")
    job_scheduler.enqueue(Tell(job.name))
    Group.objects.create(name=f"{job.name} b")


def rows() -> list[str]:
    return list(Group.objects.order_by("name").values_list("name", flat=True))


def told() -> list[str]:
    found = JobRecord.objects.filter(job_type__endswith="Tell").order_by("pk")
    return [job.payload["name"] for job in found]


def error_of(job_id: int) -> str:
    return AttemptError.objects.filter(job=job_id).latest("pk").message


def run_together(*claims: Claim) -> tuple[list[int], list[int]]:
    """Run these with one commit; which were recorded, and which are to run again. Failures are settled."""
    group = SharedCommit(WORKER)
    logs.attach()
    for claimed in claims:
        token = CancellationToken(job_id=claimed.job_id, attempt=claimed.attempt, facts=claimed.facts)
        move = execution.run_attached(claimed, token, worker=WORKER, shared=group)
        assert move is None or not group.is_open
        if move:
            execution.settle([move], worker=WORKER)
    logs.detach()
    group.end()
    recorded, again, by_itself = group.take()
    assert execution.settle(recorded, worker=WORKER) == {move.job_id for move in recorded}
    assert by_itself in (again, again[-1:]), "whose fault it is shows then"
    return [move.job_id for move in recorded], [claimed.job_id for claimed in again]


def run_batch(*job_ids: int, marks: Marks | None = None) -> BatchWorker:
    """Run these as a worker's main thread does what it takes at once, which has seen that their types are quick."""
    busy = BatchWorker(["default"], name="host.1.atomic", marks=marks or Marks(64), weights=None)
    busy.register_birth()
    for name in JobRecord.objects.filter(pk__in=job_ids).values_list("job_type", flat=True):
        busy._runs._sharing.ran(name)
    busy.execute_job([message(job_id) for job_id in job_ids], None)
    return busy


# --- all


def test_what_it_writes_and_enqueues_is_there_with_its_success() -> None:
    declare(write)
    job_id = job_scheduler.enqueue(Work())
    assert run(job_id) == {job_id}
    assert facts(job_id, "state", "attempt") == ("succeeded", 1)
    assert (rows(), told()) == (["one a", "one b"], ["one"])


def test_handlers_of_any_kind_can_be() -> None:
    found: list[tuple[bool, str]] = []

    class Handler(JobHandler[Work]):
        def handle(self, job: Work, token: CancellationToken) -> str:
            found.append((connection.in_atomic_block, job.name))
            return "a result"

    handles(Work, atomic=True)(Handler)
    job_id = job_scheduler.enqueue(Work())
    run(job_id)
    assert (record(job_id).result, found) == ("a result", [(True, "one")])

    def tell(command: Tell) -> None:
        found.append((connection.in_atomic_block, command.name))

    with registry.isolated():
        registry._forget(registry.for_class(Tell))
        handles_command(Tell, atomic=True)(tell)
        run(job_scheduler.enqueue(Tell("two")))
    assert found[1:] == [(True, "two")]


def test_hooks_run_after_the_commit_and_fail_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[Any] = []

    def handler(job: Work) -> None:
        transaction.on_commit(lambda: ran.append(connection.in_atomic_block))
        transaction.on_commit(lambda: 1 // 0)
        transaction.on_commit(lambda: ran.append("the last"))

    declare(handler)
    job_id = job_scheduler.enqueue(Work())
    with caplog.at_level(logging.ERROR):
        run(job_id)
    assert (record(job_id).state, ran) == ("succeeded", [False, "the last"])
    assert "division" in caplog.text or "ZeroDivisionError" in caplog.text


# --- nothing


def test_an_event_of_one_that_raises_was_never_published() -> None:
    def handler(job: Work) -> None:
        event_bus.publish(Happened(job.name))
        if job.name == "one":
            raise ValueError("no luck")

    declare(handler)
    for name in ("one", "two"):
        run(job_scheduler.enqueue(Work(name)))
    assert list(EventRecord.objects.values_list("data", flat=True)) == [{"name": "two"}]


def test_one_that_raises_leaves_nothing_and_is_tried_again() -> None:
    def handler(job: Work) -> None:
        write(job)
        if not JobHistory.objects.filter(reason__contains="no luck").exists():
            raise ValueError("no luck")

    declare(handler)
    job_id = job_scheduler.enqueue(Work())
    run(job_id)
    assert (facts(job_id, "state", "failures"), rows(), told()) == (("scheduled", 1), [], [])
    job_scheduler.retry(job_id)
    run(job_id)
    assert (record(job_id).state, rows(), told()) == ("succeeded", ["one a", "one b"], ["one"])


def test_what_the_database_finds_only_at_the_commit_is_a_failure_like_any_other() -> None:
    def handler(job: Work) -> None:
        write(job)
        with connection.cursor() as cursor:  # of a user and a group that there are not; looked at by the commit
            cursor.execute("INSERT INTO auth_user_groups (user_id, group_id) VALUES (4711, 4711)")

    declare(handler)
    job_id = job_scheduler.enqueue(Work())
    run(job_id)
    assert (facts(job_id, "state", "failures"), rows(), told()) == (("scheduled", 1), [], [])
    assert AttemptError.objects.get().exception == "django.db.utils.IntegrityError"


def test_one_that_wants_its_transaction_rolled_back_has_failed() -> None:
    def handler(job: Work) -> None:
        write(job)
        transaction.set_rollback(True)

    declare(handler)
    first, second = job_scheduler.enqueue_many([Work(), Work("two")])
    run(first)
    assert "left its transaction to be rolled back" in error_of(first)
    run_together(*claim(second))
    assert "left its transaction to be rolled back" in error_of(second)
    assert (rows(), told()) == ([], [])


def test_a_worker_that_has_lost_its_job_commits_nothing() -> None:
    declare(write)
    job_id = job_scheduler.enqueue(Work())
    (lost,) = claim(job_id)
    expire(job_id)
    lifecycle.expire_leases(max_crashes=9)
    assert perform(lost) is None, "it is no longer its own to record"
    assert (rows(), told()) == ([], [])
    run(job_id)
    failed = perform(lost)  # the rows are there, and their names unique
    assert failed is not None
    assert execution.settle([failed], worker=WORKER) == set(), "nor is one that has succeeded since"
    assert (rows(), told(), record(job_id).state) == (["one a", "one b"], ["one"], "succeeded")


@pytest.mark.postgresql  # SQLite has one writer: the delete would wait for the run
def test_a_delete_while_it_runs_leaves_nothing() -> None:
    def handler(job: Work) -> None:
        write(job)
        in_another_connection(lambda: job_scheduler.delete(job_id))

    declare(handler)
    job_id = job_scheduler.enqueue(Work())
    run(job_id)
    assert (record(job_id).state, rows(), told()) == ("deleted", [], [])


def in_another_connection(act: Callable[[], object]) -> None:
    own = connections["default"]
    connections["default"] = other = own.copy()
    try:
        act()
    finally:
        connections["default"] = own
        other.close()


# --- several with one commit


def test_several_share_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(write)
    ids = job_scheduler.enqueue_many(Work(name) for name in "abc")
    claims, commits = claim(*ids), noted(monkeypatch, "_commit")
    assert run_together(*claims) == (ids, [])
    assert commits == [1]
    assert (rows(), told()) == (["a a", "a b", "b a", "b b", "c a", "c b"], ["a", "b", "c"])
    assert [facts(job_id, "state", "attempt") for job_id in ids] == [("succeeded", 1)] * 3


def noted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Calls of this method of the connection, each as 1."""
    before, calls = getattr(connection, name), list[int]()

    def call() -> None:
        calls.append(1)
        before()

    monkeypatch.setattr(connection, name, call)
    return calls


class Ran(list[tuple[str, bool]]):
    """Which jobs ran, in their order, and whether what others have written was still to be committed."""

    def note(self, job: Work | Trouble) -> None:
        self.append((job.name, bool(connection.run_on_commit)))


HOW: dict[str, tuple[Callable[[], BaseException], str]] = {
    "fails": (lambda: ValueError("no luck"), "scheduled"),
    "gives up": (lambda: GiveUp("no luck"), "failed"),
    "of the database": (lambda: OperationalError("deadlock detected"), "scheduled"),
    "snoozes": (lambda: Snooze(timedelta(hours=1)), "scheduled"),
    "waits": (lambda: WaitFor("approval"), "waiting"),
    "exits": (lambda: SystemExit(1), "scheduled"),
}


@pytest.mark.redis
@pytest.mark.parametrize("how", HOW)
def test_one_that_raises_runs_again_by_itself_and_those_before_it_together(how: str) -> None:
    ran = Ran()
    error, end = HOW[how]

    def handler(job: Work) -> None:
        ran.note(job)
        write(job)
        if job.name == "c":
            raise error()

    declare(handler)
    handles(Trouble, atomic=True, retry=RetryPolicy(max_attempts=9))(handler)
    ids = list(map(int, job_scheduler.enqueue_many((Trouble if name == "c" else Work)(name) for name in "abcde")))
    run_batch(*ids)
    assert ran[:3] == [("a", False), ("b", True), ("c", True)]
    assert ran[3:] == [("a", False), ("b", True), ("c", False), ("d", False), ("e", True)]
    assert [facts(job_id, "state", "attempt") for job_id in ids] == [
        (end if name == "c" else "succeeded", 1) for name in "abcde"
    ]
    assert (rows(), told()) == ([f"{name} {row}" for name in "abde" for row in "ab"], list("abde"))
    history = JobHistory.objects.filter(job_id__in=ids).values_list("job_id").annotate(number=Count("pk"))
    assert dict(history) == {job_id: 3 if record(job_id).failures and end == "scheduled" else 2 for job_id in ids}


@pytest.mark.redis
def test_what_only_those_before_it_cause_is_no_failure() -> None:
    """As locks that they hold, or what they have written and lose."""
    ran = Ran()

    def handler(job: Work) -> None:
        ran.note(job)
        write(job)
        if job.name == "b" and connection.run_on_commit[:-1]:
            raise ValueError("there is something that will not be")

    declare(handler)
    ids = list(map(int, job_scheduler.enqueue_many(Work(name) for name in "ab")))
    run_batch(*ids)
    assert ran == [("a", False), ("b", True), ("a", False), ("b", False)]
    assert [facts(job_id, "state", "attempt", "failures") for job_id in ids] == [("succeeded", 1, 0)] * 2
    assert (rows(), told()) == (["a a", "a b", "b a", "b b"], ["a", "b"])


@pytest.mark.redis
def test_a_type_that_raised_shares_no_commit_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Ran()

    def handler(job: Work) -> None:
        ran.note(job)
        write(job)
        if job.name == "a":
            raise ValueError("no luck")

    declare(handler)
    handles(Trouble, atomic=True)(handler)
    ids = list(map(int, job_scheduler.enqueue_many((Work if name in "abd" else Trouble)(name) for name in "abcdef")))
    monkeypatch.setattr(commits, "APART_SECONDS", math.inf)
    busy = run_batch(*ids[:2])
    assert ran == [("a", False), ("b", False)]
    ran.clear()
    busy._runs._sharing.ran(record(ids[2]).job_type)
    busy.execute_job([message(job_id) for job_id in ids[2:]], None)
    assert ran == [("c", False), ("e", True), ("f", True), ("d", False)], "nor does it come between the others"


@pytest.mark.redis
def test_a_type_can_share_no_commit() -> None:
    ran = Ran()

    def handler(job: Work) -> None:
        ran.note(job)
        write(job)

    declare(handler)
    handles(Trouble, atomic="alone")(handler)
    ids = list(map(int, job_scheduler.enqueue_many((Trouble if name in "cd" else Work)(name) for name in "abcde")))
    run_batch(*ids)
    assert ran == [("a", False), ("b", True), ("c", False), ("d", False), ("e", False)]
    assert (rows(), told()) == ([f"{name} {row}" for name in "abcde" for row in "ab"], list("abcde"))


@pytest.mark.redis
def test_asked_to_stop_it_hands_back_what_ran_for_nothing_as_begun() -> None:
    marks = Marks(64)

    def handler(job: Work, token: CancellationToken) -> None:
        write(job)
        if job.name == "b":
            marks.stop()
            token.raise_if_cancelled()

    declare(handler)
    ids = list(map(int, job_scheduler.enqueue_many(Work(name) for name in "abc")))
    run_batch(*ids, marks=marks)
    assert (rows(), told()) == ([], [])
    assert [facts(job_id, "state", "attempt") for job_id in ids] == [("enqueued", 1), ("enqueued", 1), ("enqueued", 0)]


@pytest.mark.redis
@pytest.mark.postgresql  # SQLite has one writer: the delete would wait for the runs
def test_one_that_was_deleted_meanwhile_takes_only_its_own_with_it_and_does_not_run_again() -> None:
    ran: list[str] = []

    def handler(job: Work) -> None:
        ran.append(job.name)
        write(job)
        if job.name == "c":
            in_another_connection(lambda: job_scheduler.delete(ids[1]))

    declare(handler)
    ids = list(map(int, job_scheduler.enqueue_many(Work(name) for name in "abc")))
    run_batch(*ids)
    assert [record(job_id).state for job_id in ids] == ["succeeded", "deleted", "succeeded"]
    assert (rows(), told()) == (["a a", "a b", "c a", "c b"], ["a", "c"])
    assert ran.count("b") == 1


@pytest.mark.redis
def test_one_that_another_deletes_whose_delete_is_taken_back_runs_again() -> None:
    deletes = True

    def handler(job: Work) -> None:
        nonlocal deletes
        write(job)
        if job.name == "c" and deletes:
            deletes = False
            job_scheduler.delete(ids[1])

    declare(handler)
    ids = list(map(int, job_scheduler.enqueue_many(Work(name) for name in "abc")))
    run_batch(*ids)
    assert [record(job_id).state for job_id in ids] == ["succeeded"] * 3
    assert (len(rows()), told()) == (6, ["a", "b", "c"])


@pytest.mark.parametrize("way", ["lost", "constraint"])
def test_where_the_commit_fails_each_runs_again_by_itself(way: str) -> None:
    def handler(job: Work) -> None:
        write(job)
        if job.name == "b" and way == "constraint":
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO auth_user_groups (user_id, group_id) VALUES (4711, 4711)")

    declare(handler)
    ids = job_scheduler.enqueue_many(Work(name) for name in "abc")
    claims = claim(*ids)
    if way == "lost":
        job_scheduler.delete(ids[1])
    again = [job_id for job_id in ids if way != "lost" or job_id != ids[1]]
    assert run_together(*claims) == ([], again), "what is lost is over"
    assert (rows(), told()) == ([], [])
    for claimed in claims:
        if move := perform(claimed):
            execution.settle([move], worker=WORKER)
    assert (rows(), told()) == (["a a", "a b", "c a", "c b"], ["a", "c"])
    end = {"lost": "deleted", "constraint": "scheduled"}[way]
    assert [record(job_id).state for job_id in ids] == ["succeeded", end, "succeeded"]


# --- killed at any instant


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("dies", DEATHS)
def test_a_death_at_any_instant_leaves_all_or_nothing(dies: Callable[..., bool], jobs: int) -> None:
    declare(write)
    names = "ab"[:jobs]
    number, died, seen = 0, True, set[int]()
    while died:
        Group.objects.all().delete()
        JobRecord.objects.all().delete()
        ids = job_scheduler.enqueue_many(Work(name) for name in names)
        died = dies(partial(_run, ids), at=number)
        done = [name for name, job_id in zip(names, ids, strict=True) if record(job_id).state == "succeeded"]
        assert written_by(done), f"died at {number}"
        assert dies is cut or len(done) in (0, jobs), "they share their commit"
        seen.add(len(done))
        expire(*ids)
        lifecycle.expire_leases(max_crashes=9)
        for job_id in ids:
            make_due(job_id)
            run(job_id)
        assert {record(job_id).state for job_id in ids} == {"succeeded"}
        assert written_by(names), f"died at {number}"
        number += 1
    assert ({0, jobs} <= seen, number > 5 * jobs + 1) == (True, True)


def written_by(names: Sequence[str]) -> bool:
    """Whether all that these jobs write is there, once, and nothing else."""
    return (rows(), sorted(told())) == (sorted(f"{name} {row}" for name in names for row in "ab"), [*names])


def _run(ids: Sequence[int]) -> None:
    if len(ids) == 1:
        run(*ids)
    else:
        run_together(*claim(*ids))


# --- what it cannot be


def test_an_async_handler_cannot_be() -> None:
    async def handler(job: Work) -> None: ...

    with pytest.raises(InvalidJob, match="atomic: an async handler shares its thread") as error:
        declare(handler)
    assert error.value.field == "atomic"
    with pytest.raises(InvalidJob, match="atomic must be True, False or \"alone\", not 'yes'"):
        handles(Work, atomic="yes")(write)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["step", "checkpoint", "each"])
def test_there_is_nothing_to_go_on_from(way: str) -> None:
    def handler(job: Work, run: Run) -> None:
        run.progress(1, 2)
        if way == "step":
            run.step("charge", int)
        elif way == "checkpoint":
            run.checkpoint(7)
        else:
            list(run.each(Group.objects.all()))

    declare(handler)
    job_id = job_scheduler.enqueue(Work())
    run(job_id)
    assert "is atomic: what it does is committed at its end or not at all" in error_of(job_id)


# --- what its code leaves open, or takes back


@pytest.mark.redis
@pytest.mark.parametrize("does", ["returns", "raises"])
def test_a_transaction_that_it_leaves_open_is_a_failure_and_no_other_s(does: str) -> None:
    def handler(job: Work) -> None:
        write(job)
        if job.name == "b":
            transaction.atomic().__enter__()
            transaction.atomic(savepoint=False).__enter__()
            write(Work("inner"))
            if does == "raises":
                raise ValueError("no luck")

    declare(handler)
    why = {"returns": "left a transaction.atomic() open", "raises": "no luck"}[does]
    alone, *ids = job_scheduler.enqueue_many(Work(name) for name in "babc")
    run(alone)
    assert (record(alone).state, rows(), told()) == ("scheduled", [], [])
    assert why in error_of(alone)
    run_batch(*map(int, ids))
    assert [record(job_id).state for job_id in ids] == ["succeeded", "scheduled", "succeeded"]
    assert (rows(), told()) == (["a a", "a b", "c a", "c b"], ["a", "c"])
    assert why in error_of(ids[1])
    assert not connection.in_atomic_block


@pytest.mark.redis
@pytest.mark.postgresql  # on SQLite a statement that fails is undone by itself
def test_one_that_goes_on_after_an_error_has_ended_its_transaction_has_failed() -> None:
    def handler(job: Work) -> None:
        write(job)
        if job.name == "b":
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT no_such_column")

    declare(handler)
    ids = job_scheduler.enqueue_many(Work(name) for name in "abc")
    run_batch(*map(int, ids))
    assert [record(job_id).state for job_id in ids] == ["succeeded", "scheduled", "succeeded"]
    assert (rows(), told()) == (["a a", "a b", "c a", "c b"], ["a", "c"])
    assert "left its transaction to be rolled back" in error_of(ids[1])


@pytest.mark.redis
@pytest.mark.parametrize("goes_on", [False, True], ids=["returns", "goes on"])
@pytest.mark.parametrize("statement", ["ROLLBACK", "COMMIT"])
def test_one_that_ends_the_transaction_by_a_statement_takes_nothing_of_its_neighbours(
    statement: str, goes_on: bool
) -> None:
    def handler(job: Work) -> None:
        if job.name == "b" and connection.run_on_commit:
            with connection.cursor() as cursor:
                cursor.execute(statement)
            if not goes_on:
                return
        Group.objects.get_or_create(name=f"{job.name} a")
        job_scheduler.enqueue(Tell(job.name))

    declare(handler)
    ids = job_scheduler.enqueue_many(Work(name) for name in "abc")
    run_batch(*map(int, ids))
    assert [record(job_id).state for job_id in ids] == ["succeeded"] * 3
    assert (rows(), set(told())) == (["a a", "b a", "c a"], set("abc"))


def _by_statement() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ROLLBACK")


def _by_commit() -> None:
    with connection.cursor() as cursor:
        cursor.execute("COMMIT")


def _by_driver() -> None:
    connection.connection.rollback()


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("end", [_by_statement, _by_commit, _by_driver])
@pytest.mark.parametrize("atomic", [True, "alone"])
def test_one_that_ends_its_own_transaction_has_failed(atomic: Any, end: Callable[[], None], *, goes_on: bool) -> None:
    def handler(job: Work) -> None:
        Group.objects.create(name="before")
        end()
        if goes_on:
            Group.objects.get_or_create(name="after")

    handles(Work, atomic=atomic, retry=RetryPolicy(max_attempts=9))(handler)
    job_id = job_scheduler.enqueue(Work())
    run(job_id)
    assert facts(job_id, "state", "failures") == ("scheduled", 1)
    assert "ended its transaction by a statement of its own" in error_of(job_id)
    assert ("before" in rows()) == (end is _by_commit)
    assert not connection.in_atomic_block


def test_hooks_of_the_code_around_it_stay_as_they_are() -> None:
    """As in a test, where jobs run in their caller's transaction."""
    declare(write)
    with transaction.atomic(), tidying.sparing([connection]):
        transaction.on_commit(print)
        run(job_scheduler.enqueue(Work()))
        (own,) = ([*hook] for hook in connection.run_on_commit if hook[1] is print)
        assert own[2:] == [False], "what it raises is its caller's"


class Undoes(JobMiddleware):
    """Its transaction is around the handler, and what it raises after that rolls it back."""

    def run(self, run: Run, call_next: Callable[[], Any]) -> None:
        with transaction.atomic():
            call_next()
            if run.job_id % 2:
                raise ValueError("of a middleware")


def test_a_middleware_that_takes_back_what_it_wrote_makes_no_success_of_nothing(settings: Any) -> None:
    settings.JOBS = {**settings.JOBS, "MIDDLEWARE": [f"{__name__}.Undoes"]}
    ran: list[str] = []

    def handler(job: Work) -> None:
        transaction.on_commit(lambda: ran.append(job.name))
        write(job)

    declare(handler)
    ids = job_scheduler.enqueue_many(Work(name) for name in "ab")
    run(*ids)
    states = {job_id % 2: record(job_id).state for job_id in ids}
    assert states == {0: "succeeded", 1: "scheduled"}
    (kept,) = (name for name, job_id in zip("ab", ids, strict=True) if not job_id % 2)
    assert (rows(), told(), ran) == ([f"{kept} a", f"{kept} b"], [kept], [kept])
    assert "a middleware rolled back what it had written" in error_of(next(pk for pk in ids if pk % 2))


@pytest.mark.parametrize("case", [TestCase, TransactionTestCase])
def test_in_tests_it_is_so_too(settings: Any, case: type[TransactionTestCase]) -> None:
    settings.JOBS = {**settings.JOBS, "MIDDLEWARE": [f"{__name__}.Undoes"]}
    declare(write)

    class Case(JobsTestMixin, case):  # type: ignore[misc, valid-type]
        def test_it(self) -> None:
            ids = job_scheduler.enqueue_many(Work(name) for name in "ab")
            run_due_jobs()
            (kept,) = (name for name, job_id in zip("ab", ids, strict=True) if not job_id % 2)
            assert {job_id % 2: record(job_id).state for job_id in ids} == {0: "succeeded", 1: "scheduled"}
            assert (rows(), told()) == ([f"{kept} a", f"{kept} b"], [kept])

    result = unittest.TestResult()
    Case("test_it").run(result)
    assert not [*result.errors, *result.failures]
