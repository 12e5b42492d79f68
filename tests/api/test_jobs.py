"""Jobs over HTTP: started, looked up, listed, and acted on as they were seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers import Job, Unique, handles, job_scheduler
from handlers.masking import MASK
from handlers.models import ApiClient, AuditEntry, JobPayload, JobRecord, JobSignal
from handlers.registry import registry
from handlers.states import State
from tests.api.conftest import Caller, problem
from tests.app.jobs import Card, Pay
from tests.console.factories import make_job
from tests.running import NotingTransport

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Caller]

NOTE = {"type": "app.Note", "payload": {"text": "hello"}}


def test_enqueue_writes_publishes_and_audits_the_job_as_the_client(caller: Make, noting: NotingTransport) -> None:
    answer = caller(name="billing").post("/jobs", {**NOTE, "queue": "mail", "priority": 5, "reason": "order 7"})
    assert answer.status_code == 201
    made = answer.json()
    assert made["is_new"] is True
    assert answer.headers["Location"] == f"/api/v1/jobs/{made['id']}"
    job = JobRecord.objects.get()
    assert (job.pk, job.job_type, job.queue, job.priority, job.created_by) == (
        made["id"], "app.Note", "mail", 5, "api:billing",
    )  # fmt: skip
    assert job.payload == {"text": "hello"}
    assert [message.job_id for messages in noting.published for message in messages] == [job.pk]
    entry = AuditEntry.objects.get(verb="enqueue")
    assert (entry.username, entry.user_id, entry.count, entry.reason) == ("api:billing", None, 1, "order 7")
    assert entry.source == "127.0.0.1"


def test_enqueue_is_one_statement_or_one_short_transaction(caller: Make) -> None:
    ask = caller()
    ask.post("/jobs", NOTE)
    with CaptureQueriesContext(connection) as queries:
        ask.post("/jobs", NOTE)
    of_client = ApiClient._meta.db_table  # which is read once a second
    said = [query["sql"] for query in queries if of_client not in str(query["sql"])]
    # On SQLite, which writes one table in a statement: BEGIN, the job, its arguments, its count, the audit, COMMIT.
    assert len(said) == (1 if connection.vendor == "postgresql" else 6)
    assert AuditEntry.objects.filter(verb="enqueue").count() == 2


def test_enqueue_is_about_nobody_whom_a_cookie_belongs_to(caller: Make, admin_client: Client) -> None:
    Caller(caller().token, admin_client).post("/jobs", NOTE)
    assert JobPayload.objects.get().context is None


def test_schedule_takes_a_moment_with_a_zone(caller: Make) -> None:
    ask, at = caller(), datetime(2030, 12, 24, 18, tzinfo=UTC)
    answer = ask.post("/jobs", {**NOTE, "run_at": "2030-12-24T19:00:00+01:00"})
    assert JobRecord.objects.get(pk=answer.json()["id"]).run_at == at
    problem(ask.post("/jobs", {**NOTE, "run_at": "2030-12-24T19:00:00"}), 422, "run_at")
    problem(ask.post("/jobs", {**NOTE, "run_at": 1924369200}), 422, "run_at")
    problem(ask.post("/jobs", {**NOTE, "run_at": "2030-12-24T19:00:00Z", "delay_seconds": 5}), 422, "delay_seconds")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": "app.Nobody"}, "type"),
        ({"type": "jobs.RunBulk", "payload": {"operation_id": 1, "step": 0}}, "type"),
        ({"type": "app.Note", "payload": {}}, "payload.text"),
        ({"type": "app.Note", "payload": {"text": 7}}, "payload.text"),
        ({"type": "app.Note", "payload": {"text": "a\0b"}}, "payload.text"),
        ({"type": "app.Note", "payload": {"text": "\ud800"}}, "payload.text"),
        ({"type": "app.Note", "payload": {"text": "a", "more": 1}}, "payload.more"),
        ({"type": "app.Note", "payload": []}, "payload"),
        ({**NOTE, "queue": "nobodys"}, "queue"),
        ({**NOTE, "queue": "No Queue"}, "queue"),
        ({**NOTE, "delay_seconds": -1}, "delay_seconds"),
        ({**NOTE, "priority": 1000}, "priority"),
        ({**NOTE, "priority": "5"}, "priority"),
        ({**NOTE, "correlation": "a\nb"}, "correlation"),
        ({**NOTE, "context": {"two words": 1}}, "context"),
        ({**NOTE, "context": {"text": "x" * 5000}}, "context"),
        ({**NOTE, "context": []}, "context"),
        ({**NOTE, "tags": ["a b"]}, "tags"),
        ({**NOTE, "tags": ["a" * 1024]}, "tags.0"),
        ({**NOTE, "retries": 3}, "retries"),
        ({}, "type"),
        (None, ""),
        ([], ""),
    ],
)
def test_enqueue_of_what_does_not_fit_names_the_field_and_writes_nothing(
    caller: Make, body: object, field: str
) -> None:
    told = problem(caller().post("/jobs", body), 422)
    assert told.get("field", "") == field, told
    assert not JobRecord.objects.exists()


def test_context_is_given_and_told_without_what_is_sensitive(caller: Make, settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"SENSITIVE_CONTEXT": ["badge"]}
    ask, travels = caller(), {"tenant": "acme", "badge": "b4dg3", "self": [1]}
    made = ask.post("/jobs", {**NOTE, "context": travels}).json()
    assert JobPayload.objects.get(pk=made["id"]).context == travels
    shown = caller("read").get(f"/jobs/{made['id']}").json()["context"]
    assert shown == {**travels, "badge": MASK}
    ask.post("/jobs/batch", {"jobs": [NOTE], "context": travels})
    assert JobPayload.objects.filter(context__tenant="acme").count() == 2


@dataclass(frozen=True)
class Once(Job):
    number: int


@dataclass(frozen=True)
class Long(Job):
    text: str


def test_batch_says_which_job_is_there_already_and_which_has_too_long_a_key(caller: Make) -> None:
    with registry.isolated():
        handles(Once, name="tests.Once", unique=Unique(on_conflict="error"))(lambda job: None)
        handles(Long, name="tests.Long", unique=Unique())(lambda job: None)
        ask = caller()
        some = [{"type": "tests.Once", "payload": {"number": number}} for number in (1, 2)]
        first = ask.post("/jobs", some[1]).json()["id"]
        told = problem(ask.post("/jobs/batch", {"jobs": some}), 409, "jobs.1")
        assert told["job_id"] == first
        long = {"type": "tests.Long", "payload": {"text": "long" * 2_000}}
        problem(ask.post("/jobs/batch", {"jobs": [NOTE, long]}), 422, "jobs.1.unique")
        assert JobRecord.objects.count() == 1


def test_batch_is_enqueued_whole_or_not_at_all(caller: Make) -> None:
    ask = caller()
    wrong = {"jobs": [NOTE, {"type": "app.Note", "payload": {"text": 1}}]}
    problem(ask.post("/jobs/batch", wrong), 422, "jobs.1.payload.text")
    large = {"type": "app.Note", "payload": {"text": "x" * 1_048_576}}
    problem(ask.post("/jobs/batch", {"jobs": [NOTE, NOTE, large]}), 422, "jobs.2.payload")
    others = {"jobs": [{"type": "app.Nothing"}, NOTE]}
    problem(caller(types=["app.Nothing"]).post("/jobs/batch", others), 403, "jobs.1.type")
    assert not JobRecord.objects.exists()
    answer = ask.post("/jobs/batch", {"jobs": [NOTE, NOTE], "queue": "mail"})
    assert answer.status_code == 201
    assert [job["id"] for job in answer.json()["jobs"]] == [
        *JobRecord.objects.order_by("pk").values_list("pk", flat=True)
    ]
    assert AuditEntry.objects.get(verb="enqueue").count == 2
    problem(ask.post("/jobs/batch", {"jobs": []}), 422, "jobs")


def test_job_is_shown_with_its_history(caller: Make) -> None:
    ask, job = caller(), make_job(State.FAILED, correlation="order-7")
    answer = ask.get(f"/jobs/{job.pk}")
    told = answer.json()
    assert (told["state"], told["correlation"], told["payload"]) == ("failed", "order-7", {"text": "hello"})
    assert [step["to_state"] for step in told["history"]] == ["processing", "failed"]
    assert told["failed_attempts"][0]["exception"] == "httpx.ConnectError"
    assert answer.headers["ETag"] == told["etag"]
    problem(ask.get("/jobs/999999"), 404)
    problem(ask.get("/jobs/x"), 422, "job_id")


def test_sensitive_arguments_are_masked_unless_the_scope_has_them(caller: Make) -> None:
    job_id = job_scheduler.enqueue(Pay(order_id=7, token="tok-secret", card=Card("4111222233334444", "Olga")))
    blind = caller("read").get(f"/jobs/{job_id}")
    assert b"tok-secret" not in blind.content
    assert b"4111222233334444" not in blind.content
    assert blind.json()["is_masked"] is True
    assert blind.json()["payload"]["token"] == MASK
    seeing = caller("read", "sensitive").get(f"/jobs/{job_id}").json()
    assert (seeing["payload"]["token"], seeing["is_masked"]) == ("tok-secret", False)
    problem(caller("read").get("/jobs?q=args.token:tok-secret"), 403, "q")
    assert caller("read").get("/jobs?q=tok-secret").json()["jobs"] == []


def test_retry_with_masked_arguments_keeps_what_is_stored(caller: Make) -> None:
    stored = {
        "order_id": 7,
        "token": "tok-secret",
        "card": {"number": "4111", "holder": "Olga"},
        "pins": [1, 2],
        "note": None,
    }
    job = make_job(State.FAILED, job_type="app.Pay", payload=stored)
    ask = caller("read", "retry")
    shown = ask.get(f"/jobs/{job.pk}").json()["payload"]
    assert ask.post(f"/jobs/{job.pk}/retry", {"payload": {**shown, "order_id": 8}}).status_code == 200
    assert JobPayload.objects.get(pk=job.pk).data == {**stored, "order_id": 8}
    told = ask.get(f"/jobs/{job.pk}")
    assert b"tok-secret" not in told.content  # of the history either


def test_list_pages_by_key_and_narrows_by_the_search(caller: Make) -> None:
    ask = caller()
    jobs = [make_job(State.FAILED).pk for _ in range(5)]
    make_job(State.SUCCEEDED, payload={"text": "other"})
    seen, cursor = [], ""
    while cursor is not None:
        page = ask.get(f"/jobs?state=failed&limit=2{cursor and '&cursor='}{cursor}").json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
    assert seen == jobs[::-1]
    assert [job["state"] for job in ask.get("/jobs?q=args.text:other").json()["jobs"]] == ["succeeded"]
    problem(ask.get("/jobs?q=colour:red"), 422, "q")
    assert problem(ask.get("/jobs?q=typ:Note"), 422, "q")["mend"] == "Did you mean type:Note?"
    assert len(ask.get("/jobs?q=args:other").json()["jobs"]) == 1
    problem(ask.get("/jobs?state=broken"), 422, "state")
    problem(ask.get("/jobs?stat=failed"), 422, "stat")
    problem(ask.get("/jobs?cursor=abc"), 422, "cursor")
    problem(ask.get("/jobs?limit=0"), 422, "limit")


@pytest.mark.parametrize(
    ("source", "method", "path", "to"),
    [
        (State.FAILED, "POST", "/retry", "enqueued"),
        (State.SUCCEEDED, "POST", "/requeue", "enqueued"),
        (State.ENQUEUED, "DELETE", "", "deleted"),
        (State.DELETED, "POST", "/restore", "enqueued"),
    ],
)
def test_verb_moves_the_job_and_is_audited(caller: Make, source: State, method: str, path: str, to: str) -> None:
    ask, job = caller(name="oncall"), make_job(source)
    answer = ask(method, f"/jobs/{job.pk}{path}")
    assert answer.status_code == 200, answer.content
    job.refresh_from_db()
    assert job.state == to
    assert AuditEntry.objects.filter(username="api:oncall").count() == 1
    assert [*job.history.values_list("actor", flat=True)][-1] == "api:oncall"
    problem(ask("POST", f"/jobs/{job.pk}/requeue"), 409)
    assert AuditEntry.objects.filter(username="api:oncall").count() == 1


def test_move_takes_a_waiting_job_to_another_queue(caller: Make) -> None:
    job = make_job(State.ENQUEUED)
    assert caller().post(f"/jobs/{job.pk}/move", {"queue": "mail"}).status_code == 200
    job.refresh_from_db()
    assert job.queue == "mail"
    problem(caller().post(f"/jobs/{job.pk}/move", {"queue": "system"}), 422, "queue")


def test_verb_under_the_tag_of_before_does_nothing(caller: Make) -> None:
    ask, job = caller(), make_job(State.FAILED)
    seen = ask.get(f"/jobs/{job.pk}").headers["ETag"]
    assert ask.post(f"/jobs/{job.pk}/retry", If_Match=seen).status_code == 200
    now = problem(ask("DELETE", f"/jobs/{job.pk}", If_Match=seen), 412, "If-Match")
    assert "ETag" in ask("DELETE", f"/jobs/{job.pk}", If_Match=seen).headers
    job.refresh_from_db()
    assert (job.state, now["status"]) == ("enqueued", 412)
    # A claim keeps the job's token, and is a move all the same.
    seen = ask.get(f"/jobs/{job.pk}").headers["ETag"]
    JobRecord.objects.filter(pk=job.pk).update(state=State.PROCESSING, lease_expires_at=timezone.now() + timedelta(1))
    problem(ask("DELETE", f"/jobs/{job.pk}", If_Match=seen), 412)


def test_engines_own_job_is_left_alone(caller: Make) -> None:
    job = make_job(State.ENQUEUED, job_type="jobs.RunBulk", queue="system", payload={"operation_id": 1, "step": 0})
    problem(caller()("DELETE", f"/jobs/{job.pk}"), 409)
    job.refresh_from_db()
    assert job.state == State.ENQUEUED


def test_arguments_of_the_engines_own_job_are_not_for_clients(caller: Make) -> None:
    job = make_job(State.FAILED, job_type="jobs.DeleteJobCommand", payload={"job_id": 1})
    ask = caller("retry", queues=["default"])
    problem(ask.post(f"/jobs/{job.pk}/retry", {"payload": {"job_id": 2}}), 403, "payload")
    assert JobPayload.objects.get(pk=job.pk).data == {"job_id": 1}


def test_a_job_that_waits_is_signalled(caller: Make) -> None:
    job = make_job(State.WAITING)
    ask = caller("read", "signal")
    assert ask.get(f"/jobs/{job.pk}").json()["waits_for"] == "approval"
    told = problem(ask.post(f"/jobs/{job.pk}/signal", {"name": "payment"}), 422, "name")
    assert "waits for 'approval', not for 'payment'" in told["detail"]
    assert ask.post(f"/jobs/{job.pk}/signal", {"name": "approval", "data": {"approved": True}}).status_code == 200
    assert JobSignal.objects.get(job=job).data == {"approved": True}
    job.refresh_from_db()
    assert job.state == State.ENQUEUED
