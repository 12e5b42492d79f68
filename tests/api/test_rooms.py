"""Bulk operations, recurring jobs, workflows, types and failures over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from handlers import context, job_scheduler
from handlers.api.jobs import find_new_type
from handlers.job_types import JobType
from handlers.masking import MASK
from handlers.models import AuditEntry, BulkOperation, FailureGroup, JobRecord, RecurringJob, Workflow
from handlers.states import State
from tests.api.conftest import Caller, problem
from tests.app.jobs import AsyncNote, Card, Note, Pay
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Caller]
RULE = {"type": "app.Note", "payload": {"text": "it"}, "cron": "0 6 * * *", "timezone": "Europe/Berlin"}


def test_bulk_operation_is_started_watched_and_stopped_by_its_client(caller: Make) -> None:
    ask = caller(name="oncall")
    for _ in range(3):
        make_job(State.FAILED)
    answer = ask.post("/bulk", {"verb": "retry", "q": "state:failed", "reason": "fixed", "rate_per_second": 5})
    assert answer.status_code == 201
    told = answer.json()
    assert (told["count"], told["state"], told["reason"]) == (3, "running", "fixed")
    assert ask("GET", answer.headers["Location"].removeprefix("/api/v1")).json() == told
    assert AuditEntry.objects.get(verb="start_bulk").username == "api:oncall"
    place = f"/bulk/{told['id']}"
    problem(caller().get(place), 404)  # another client's
    assert ask.post(f"{place}/pause").json()["did"] == "paused"
    problem(ask.post(f"{place}/pause"), 409)
    assert ask.post(f"{place}/try", {"jobs": 2}).json()["did"] == "tried"
    problem(ask.post(f"{place}/try"), 409)
    problem(ask.post(f"{place}/try", {"jobs": 0}), 422)
    assert ask.post(f"{place}/resume").status_code == ask.post(f"{place}/stop").status_code == 200
    problem(ask.post(f"{place}/resume"), 409)


def test_bulk_operation_of_what_does_not_fit_is_refused(caller: Make) -> None:
    ask = caller()
    make_job(State.FAILED)
    problem(ask.post("/bulk", {"verb": "retry"}), 422, "confirm_count")
    problem(ask.post("/bulk", {"verb": "burn", "q": "state:failed"}), 422, "verb")
    problem(ask.post("/bulk", {"verb": "retry", "q": "state:succeeded"}), 422, "verb")
    problem(ask.post("/bulk", {"verb": "retry", "q": "colour:red"}), 422, "q")
    problem(ask.post("/bulk", {"verb": "retry", "q": "queue:mail"}), 422, "q")
    problem(ask.post("/bulk", {"verb": "move", "q": "state:failed"}), 422, "queue")
    problem(ask.post("/bulk", {"verb": "retry", "q": "state:failed", "canary": -1}), 422, "canary")
    told = problem(caller("bulk", "delete").post("/bulk", {"verb": "retry", "q": "state:failed"}), 403)
    assert "'retry'" in told["detail"]
    assert not BulkOperation.objects.exists()


def test_recurring_job_is_put_changed_as_it_was_seen_and_removed(caller: Make) -> None:
    ask = caller(name="ops")
    assert ask("PUT", "/recurring/report", RULE).json() == {"name": "report", "changed": True}
    assert ask("PUT", "/recurring/report", RULE).json()["changed"] is False
    shown = ask.get("/recurring/report")
    assert (shown.json()["cron"], shown.json()["timezone"]) == ("0 6 * * *", "Europe/Berlin")
    tag = shown.headers["ETag"]
    assert ask("PUT", "/recurring/report", {**RULE, "cron": "0 7 * * *"}, If_Match=tag).status_code == 200
    problem(ask("PUT", "/recurring/report", {**RULE, "cron": "0 8 * * *"}, If_Match=tag), 412, "If-Match")
    problem(ask("PUT", "/recurring/other", RULE, If_Match=tag), 412, "If-Match")
    assert RecurringJob.objects.get().cron == "0 7 * * *"
    made = ask.post("/recurring/report/trigger")
    assert made.status_code == 201
    assert JobRecord.objects.get().pk == made.json()["id"]
    problem(ask.post("/recurring/report/pause", {"until": "2020-01-01T00:00:00Z"}), 422, "until")
    assert ask.post("/recurring/report/pause", {"until": "2040-01-01T00:00:00Z"}).json()["changed"] is True
    assert ask.post("/recurring/report/resume").json()["changed"] is True
    assert ask("DELETE", "/recurring/report").json()["changed"] is True
    problem(ask.get("/recurring/report"), 404)
    verbs = AuditEntry.objects.filter(username="api:ops").order_by("pk").values_list("verb", flat=True)
    assert [*verbs] == [
        "add_recurring", "change_recurring", "trigger_recurring", "pause_recurring", "resume_recurring",
        "remove_recurring",
    ]  # fmt: skip


def test_recurring_job_tells_its_context_without_what_is_sensitive_and_keeps_it(caller: Make, settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"SENSITIVE_CONTEXT": ["badge"]}
    travels = {"tenant": "acme", "badge": "b4dg3"}
    with context(**travels):
        job_scheduler.add_or_update_recurring("report", Note("it"), "0 6 * * *")
    ask = caller("read", "recurring")
    shown = ask.get("/recurring/report")
    assert shown.json()["context"] == {**travels, "badge": MASK}
    ask("PUT", "/recurring/report", RULE, If_Match=shown.headers["ETag"])
    assert RecurringJob.objects.get().context == travels
    ask("PUT", "/recurring/other", RULE)
    assert ask.get("/recurring/other").json()["context"] == {}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "every day"}, "cron"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"payload": {"text": 1}}, "payload.text"),
        ({"type": "app.Nobody"}, "type"),
        ({"type": "jobs.RunBulk"}, "type"),
        ({"misfire": "never"}, "misfire"),
        ({"start": "2030-01-02T00:00:00Z", "end": "2030-01-01T00:00:00Z"}, "end"),
        ({"queue": "nobodys"}, "queue"),
    ],
)
def test_recurring_job_of_what_does_not_fit_is_refused(caller: Make, changes: dict[str, object], field: str) -> None:
    problem(caller()("PUT", "/recurring/report", {**RULE, **changes}), 422, field)
    assert not RecurringJob.objects.exists()


def test_recurring_jobs_are_listed_by_pages_within_the_scope(caller: Make) -> None:
    for name in ("a", "b", "c"):
        job_scheduler.add_or_update_recurring(name, Note("it"), "0 6 * * *")
    job_scheduler.add_or_update_recurring("pay", Pay(7, "tok-secret", Card("4111")), "0 6 * * *")
    page = caller().get("/recurring?limit=3").json()
    assert [row["name"] for row in page["recurring"]] == ["a", "b", "c"]
    assert [row["name"] for row in caller().get(f"/recurring?cursor={page['next']}").json()["recurring"]] == ["pay"]
    ask = caller("read", "recurring", types=["app.Pay"])
    [row] = ask.get("/recurring?limit=1").json()["recurring"]
    assert (row["name"], row["payload"]["token"]) == ("pay", MASK)
    problem(ask.get("/recurring/a"), 404)
    problem(ask("DELETE", "/recurring/a"), 404)
    problem(ask("PUT", "/recurring/new", RULE), 403)
    # What was masked is kept.
    changed = {"type": "app.Pay", "payload": {**row["payload"], "order_id": 8}, "cron": row["cron"]}
    assert ask("PUT", "/recurring/pay", changed).status_code == 200
    data = RecurringJob.objects.get(name="pay").data
    assert (data["order_id"], data["token"]) == (8, "tok-secret")


def test_workflow_is_read_paused_and_cancelled(caller: Make) -> None:
    with job_scheduler.workflow("Order 7") as flow:
        first = flow.enqueue(Note("first"))
        flow.enqueue(Note("second"), after=first)
    ask, place = caller(name="ops"), f"/workflows/{flow.workflow_id}"
    assert ask.get(place).json()["total"] == 2
    assert [row["title"] for row in ask.get("/workflows").json()["workflows"]] == ["Order 7"]
    assert ask.post(f"{place}/pause").json()["did"] == "paused"
    problem(ask.post(f"{place}/pause"), 409)
    assert ask.post(f"{place}/resume").status_code == 200
    problem(ask.post(f"{place}/retry"), 409)
    assert ask.post(f"{place}/cancel", {"reason": "ordered twice"}).json()["did"] == "cancelled"
    assert Workflow.objects.get().cancelled_at is not None
    assert AuditEntry.objects.get(verb="cancel_workflow").username == "api:ops"
    problem(ask.get("/workflows/999"), 404)


def test_types_tell_their_schemas_and_failures_their_groups(caller: Make) -> None:
    ask, now = caller(), timezone.now()
    types = {known["name"]: known for known in ask.get("/types").json()["types"]}
    assert types["app.Note"]["json_schema"]["required"] == ["text"]
    assert not any(name.startswith("jobs.") for name in types)
    for number in range(3):
        at = now - timedelta(hours=number)
        FailureGroup.objects.create(
            fingerprint=f"{number:016x}", exception="KeyError", first_at=at, last_at=at, count=7
        )
    page = ask.get("/failures?limit=2").json()
    assert [group["id"] for group in page["groups"]] == [f"{0:016x}", f"{1:016x}"]
    cursor = page["next"].replace("+", "%2B")
    assert [group["id"] for group in ask.get(f"/failures?limit=2&cursor={cursor}").json()["groups"]] == [f"{2:016x}"]
    problem(ask.get("/failures?cursor=yesterday"), 422, "cursor")


def test_failure_groups_are_resolved_ignored_and_opened(caller: Make) -> None:
    ask, now = caller(), timezone.now()
    FailureGroup.objects.create(fingerprint="abc", exception="KeyError", first_at=now, last_at=now, count=7)
    assert ask.post("/failures/abc/resolve", {"version": "2", "reason": "mended"}).json() == {
        "id": "abc", "did": "resolved",
    }  # fmt: skip
    told = ask.get("/failures/abc").json()
    assert (told["state"], told["fixed_in"], told["state_by"]) == ("resolved", "2", "api:billing-1")
    problem(ask.post("/failures/abc/resolve", {"version": "2"}), 409)
    assert ask.post("/failures/abc/ignore", {"times": 5}).status_code == 200
    assert [group["ignored_to"] for group in ask.get("/failures?state=ignored").json()["groups"]] == [12]
    assert ask.get("/failures?state=open").json()["groups"] == []
    assert ask.post("/failures/abc/reopen").json()["did"] == "reopened"
    assert AuditEntry.objects.get(verb="resolve_group").reason == "mended"
    problem(ask.post("/failures/abc/reopen"), 409)
    problem(ask.get("/failures/nothing"), 404)
    problem(ask.post("/failures/nothing/resolve"), 404)
    problem(ask.post("/failures/abc/resolve", {"version": "x" * 65}), 422)
    problem(ask.post("/failures/abc/resolve", {"version": "next"}), 422, "version")
    problem(ask.post("/failures/abc/ignore", {"until": "2020-01-01T00:00:00Z"}), 422, "until")
    problem(ask.get("/failures?state=gone"), 422)


def test_recurring_job_that_came_meanwhile_is_not_taken_over(caller: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, find = caller("recurring", types=["app.Note"]), find_new_type

    def slow(name: str) -> JobType:
        job_scheduler.add_or_update_recurring("report", AsyncNote("theirs"), "0 1 * * *")
        return find(name)

    monkeypatch.setattr("handlers.api.recurring.find_new_type", slow)
    problem(ask("PUT", "/recurring/report", RULE), 409)
    problem(ask("PUT", "/recurring/%00", RULE), 422, "name")


def test_failure_groups_after_a_moment_that_utc_does_not_have_are_refused(caller: Make) -> None:
    for at in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"):
        problem(caller("read").get(f"/failures?cursor={at}~abc"), 422, "cursor")
