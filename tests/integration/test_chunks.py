"""Many jobs in one call of their handler: an outcome for each."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from handlers import CancellationToken, context, execution, job_scheduler, logs
from handlers.models import AttemptLog, JobPayload, JobRecord
from handlers.registry import registry
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.worker import BatchWorker
from handlers.states import State
from handlers.testing import run_due_jobs
from handlers.together import run_together
from tests.app.chunks import Tally, TallyShort
from tests.app.jobs import Note
from tests.running import WORKER, claim, facts, message, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def many(*jobs: Any) -> list[int]:
    return [int(job_id) for job_id in job_scheduler.enqueue_many(jobs)]


def run(*ids: int) -> set[int]:
    """Claim, run in one call and settle the jobs; which of them had their outcome recorded."""
    claims = claim(*ids)
    token = CancellationToken(job_id=claims[0].job_id, attempt=1, facts=claims[0].facts)
    return execution.settle(run_together(claims, token, worker=WORKER), worker=WORKER)


def states(ids: list[int]) -> list[str]:
    return [record(job_id).state for job_id in ids]


def lines(job_id: int) -> list[str]:
    return [line[3] for row in AttemptLog.objects.filter(job_id=job_id) for line in row.lines]


def test_each_has_its_own_result_and_says_with_whom_it_ran() -> None:
    ids = many(Tally("a"), Tally("b"), Tally("c"))
    assert run(*ids) == set(ids)
    assert [record(job_id).result for job_id in ids] == ["a of 3", "b of 3", "c of 3"]
    for job_id in ids:
        data = record(job_id).history.get(to_state="succeeded").data or {}
        assert (data["together"], data["first"]) == (3, ids[0])


def test_page_of_each_says_with_how_many_it_ran(admin_client: Client) -> None:
    ids = many(Tally("a"), Tally("b"), Tally("c"))
    run(*ids)
    shown = admin_client.get(f"/admin/jobs/jobrecord/{ids[1]}/change/").content.decode()
    assert "in one call with 2 others" in shown
    assert f"/admin/jobs/jobrecord/{ids[0]}/change/" in shown


def test_each_has_its_own_outcome() -> None:
    then = ["", "fail", "give up", "later", "snooze", "strange"]
    ids = many(*(Tally(name, then=name) for name in then))
    assert run(*ids) == set(ids)
    assert states(ids) == ["succeeded", "scheduled", "failed", "scheduled", "scheduled", "scheduled"]
    assert [record(job_id).failures for job_id in ids] == [0, 1, 1, 1, 0, 1]
    assert "this one" in record(ids[1]).error
    assert "JSON" in record(ids[5]).error
    failed = record(ids[1]).history.get(to_state="failed").data or {}
    assert (failed["together"], failed["first"], failed["exception"]) == (6, ids[0], "ValueError")


@pytest.mark.parametrize(
    ("then", "words"),
    [("raise", "all of them"), ("short", "1 outcomes for 3 jobs"), ("unknown id", "no job of this call")],
)
def test_what_the_call_raises_fails_all_of_it(then: str, words: str) -> None:
    ids = many(Tally("a"), Tally("b", then=then), Tally("c"))
    assert run(*ids) == set(ids)
    assert states(ids) == ["scheduled"] * 3
    assert all(words in record(job_id).error for job_id in ids)


def test_outcomes_by_id_leave_the_others_succeeded() -> None:
    ids = many(Tally("a"), Tally("b", then="by id"))
    run(*ids)
    assert states(ids) == ["succeeded", "failed"]


def test_job_that_was_deleted_meanwhile_has_no_outcome_and_the_others_have() -> None:
    ids = many(Tally("a"), Tally("b"))
    claims = claim(*ids)
    job_scheduler.delete(ids[0])
    token = CancellationToken(job_id=ids[0], attempt=1)
    assert execution.settle(run_together(claims, token, worker=WORKER), worker=WORKER) == {ids[1]}
    assert states(ids) == ["deleted", "succeeded"]


def test_arguments_that_cannot_be_read_fail_only_their_job() -> None:
    ids = many(Tally("a"), Tally("b"))
    claims = claim(*ids)
    claims[0] = claims[0]._replace(encoded=b'{"name": 7}')
    token = CancellationToken(job_id=ids[0], attempt=1)
    execution.settle(run_together(claims, token, worker=WORKER), worker=WORKER)
    assert states(ids) == ["failed", "succeeded"]
    assert record(ids[1]).result == "b of 1"


def test_what_the_call_logs_is_kept_with_the_first_and_those_that_failed_without_any_secret() -> None:
    ids = many(Tally("a", secret="s3cret-a"), Tally("b", secret="s3cret-b"), Tally("c", then="give up"))
    logs.attach()
    try:
        run(*ids)
    finally:
        logs.detach()
    told = [lines(job_id) for job_id in ids]
    assert [len(each) for each in told] == [1, 0, 1]
    assert "counting a,b,c" in told[0][0]
    assert "s3cret" not in str(told)


def test_what_belongs_to_one_job_of_a_call_is_kept_with_it() -> None:
    ids = many(Tally("a", then="apart"), Tally("b"))
    logs.attach()
    try:
        run(*ids)
    finally:
        logs.detach()
    assert "b alone" in lines(ids[1])
    notes = JobRecord.objects.filter(job_type="app.Note").order_by("pk")
    assert list(notes.values_list("arguments__parent_id", flat=True)) == ids


def test_context_of_each_goes_on_to_what_it_enqueues() -> None:
    with context(tenant="one"):
        ids = many(Tally("a", then="apart"))
    ids += many(Tally("b"))
    run(*ids)
    payloads = JobPayload.objects.filter(job__job_type="app.Note").order_by("pk")
    assert [(each.parent_id, (each.context or {}).get("tenant")) for each in payloads] == [
        (ids[0], "one"),
        (ids[1], None),
    ]


def test_keys_are_each_jobs_own() -> None:
    ids = many(Tally("a"), Tally("b"))
    keys: list[str] = []
    claims = claim(*ids)
    token = CancellationToken(job_id=ids[0], attempt=1, facts=claims[0].facts)
    known = registry.get(claims[0].job_type)
    handler = known.handler
    object.__setattr__(known, "handler", lambda jobs, token: keys.extend(r.idempotency_key for r in jobs.runs))
    try:
        run_together(claims, token, worker=WORKER)
    finally:
        object.__setattr__(known, "handler", handler)
    assert keys == [CancellationToken(job_id=c.job_id, attempt=1, facts=c.facts).idempotency_key for c in claims]


# --- a worker process


def worker(marks: Marks) -> BatchWorker:
    made = BatchWorker(["tallies", "default"], name="host.1.chunks", marks=marks, weights=None)
    made.register_birth()
    return made


def test_worker_gathers_what_it_claims_and_runs_other_jobs_meanwhile() -> None:
    ids, other = many(*(Tally(str(n)) for n in range(13))), int(job_scheduler.enqueue(Note("x")))
    busy = worker(marks := Marks(64, together=10))
    busy.execute_job([message(job_id) for job_id in ids[:6]], None)
    assert set(states(ids[:6])) == {"processing"}
    assert marks.holding, "their leases are renewed"
    assert not marks.running()
    busy.execute_job([message(other)], None)
    assert record(other).state == State.SUCCEEDED
    busy.execute_job([message(job_id) for job_id in ids[6:]], None)
    busy.execute_job([], None)
    assert [record(job_id).result for job_id in ids[:10]] == [f"{n} of 10" for n in range(10)]
    assert set(states(ids[10:])) == {"processing"}, "they wait for company"
    assert busy._runs.has_gathered(at_once=True)
    busy._let_end()
    assert {facts(job_id, "state", "attempt") for job_id in ids[10:]} == {(State.ENQUEUED, 0)}, "handed back, unstarted"
    assert not marks.holding


def test_worker_that_must_run_a_job_alone_waits_for_no_company() -> None:
    ids = many(Tally("a"), Tally("b"))
    JobRecord.objects.filter(pk=ids[1]).update(alone=True)
    busy = worker(Marks(64, together=10))
    busy.execute_job([message(ids[0])], None)
    busy.execute_job([message(ids[1])], None)
    assert states(ids) == ["processing", "enqueued"]
    assert busy.dequeue_job_and_maintain_ttl(None) == ([], None)
    busy.execute_job([], None)
    messages, _ = busy.dequeue_job_and_maintain_ttl(None)
    busy.execute_job(messages, None)
    assert [record(job_id).result for job_id in ids] == ["a of 1", "b of 1"]


def test_call_that_breaks_its_worker_says_which_jobs_it_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(*_: Any, **__: Any) -> Any:
        raise MemoryError

    ids = many(*(TallyShort(name, then="raise") for name in "abc"))
    monkeypatch.setattr(execution, "describe", describe)
    busy = worker(marks := Marks(8, together=10))
    busy.execute_job([message(job_id) for job_id in ids], None)
    with pytest.raises(MemoryError):
        busy.execute_job([], None)
    [running] = marks.running()
    assert running.jobs == frozenset(ids) == marks.started()


# --- without a worker


def test_jobs_that_are_due_in_a_test_run_in_chunks() -> None:
    ids = many(*(Tally(str(n)) for n in range(12)), Note("x"))
    runs = run_due_jobs()
    assert [each.job_id for each in runs] == ids
    assert [record(job_id).result for job_id in ids[:12]] == [f"{n} of {10 if n < 10 else 2}" for n in range(12)]


def test_jobs_in_a_test_that_fail_are_told() -> None:
    ids = many(Tally("a"), Tally("b", then="give up"))
    runs = run_due_jobs()
    assert [each.job_id for each in runs.failed] == ids[1:]
    with pytest.raises(AssertionError, match="never"):
        runs.check()
