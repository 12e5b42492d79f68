"""The list of sagas and the page of one: what needs somebody, what has happened, and what people may do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.kit import catalogue
from dashboard.kit.verbs import MAX_REASON
from handlers import Event, Saga, Sensitive, event_bus, starts
from handlers.models import AuditEntry, EventRecord, JobRecord, SagaKey, SagaRecord, SagaTimeout, SagaTurn
from handlers.registry import registry
from handlers.sagas.by_hand import complete_saga
from handlers.states import State
from handlers.testing import run_due_jobs
from tests.app.sagas import Counted, Opened
from tests.console.factories import fail_delivery, make_job, make_saga

pytestmark = pytest.mark.django_db

LIST = "/admin/sagas/"


@dataclass(frozen=True)
class Booked(Event, name="tests.Booked"):
    trip: int
    to: str
    card: Annotated[str, Sensitive()]


@dataclass(frozen=True)
class Gone:
    to: str = ""


def page(saga: SagaRecord, more: str = "") -> str:
    return f"{LIST}{saga.pk}/{more}"


def text(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status
    return response.content.decode()


def titles(client: Client, query: str) -> list[str]:
    return [standing.row.label for standing in client.get(f"{LIST}?{query}").context["standings"]]


def some() -> dict[str, SagaRecord]:
    """One in each state."""
    now = timezone.now()
    return {
        "open": make_saga("order_id 1"),
        "stuck": make_saga("order_id 2", stuck_at=now - timedelta(hours=2)),
        "failed": make_saga("order_id 3", error="ValueError: no such card", failed_at=now),
        "unreadable": make_saga("order_id 4", unreadable="state: paid must be a bool"),
        "completed": make_saga("order_id 5", stuck_at=None, completed_at=now),
    }


def test_list_shows_what_needs_somebody_first_and_says_why(admin_client: Client) -> None:
    some()
    response = admin_client.get(LIST)
    assert [standing.state for standing in response.context["urgent"]] == ["unreadable", "failed", "stuck"]
    assert [standing.row.label for standing in response.context["standings"]] == [
        f"order_id {n}" for n in range(5, 0, -1)
    ]
    shown = response.content.decode()
    assert "Its last event failed: ValueError: no such card. Those that follow wait for it." in shown
    assert "longer than it should" in shown
    assert "State: paid must be a bool. It waits, with its events, for code that reads it." in shown


def test_list_is_narrowed_by_type_and_state(admin_client: Client) -> None:
    some()
    make_saga("trip 9", saga_type="travel.TripSaga")
    assert titles(admin_client, "type=travel.TripSaga") == ["trip 9"]
    assert titles(admin_client, "state=stuck") == ["order_id 2"]
    assert titles(admin_client, "state=trouble") == ["order_id 4", "order_id 3"]
    assert titles(admin_client, "state=completed") == ["order_id 5"]
    assert titles(admin_client, "state=open") == ["trip 9", "order_id 4", "order_id 3", "order_id 2", "order_id 1"]
    assert titles(admin_client, "state=open&type=nobody.Knows") == []


def test_list_is_searched_by_key_correlation_and_id(admin_client: Client) -> None:
    made = some()
    named = make_saga('card "x-7"')
    assert titles(admin_client, "q=3") == ["order_id 3"]
    assert titles(admin_client, "q=order_id:3") == ["order_id 3"]
    assert titles(admin_client, "q=other:3") == []
    assert titles(admin_client, "q=x-7") == [named.label]
    assert titles(admin_client, f"q=%23{made['stuck'].pk}") == ["order_id 2"]
    assert titles(admin_client, "q=saga-order_id+1") == ["order_id 1"]
    assert "A key is found by its whole value." in text(admin_client, f"{LIST}?q=nothing")


def test_list_goes_by_pages_that_are_keys(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.sagas.listing.SIZE", 2)
    for number in range(5):
        make_saga(f"order_id {number}")
    first = admin_client.get(LIST).context
    second = admin_client.get(LIST + first["older_url"]).context
    assert [s.row.label for s in second["standings"]] == ["order_id 2", "order_id 1"]
    back = admin_client.get(LIST + second["newer_url"]).context
    assert [s.row.label for s in back["standings"]] == ["order_id 4", "order_id 3"]


@pytest.mark.parametrize("query", ["", "?state=open", "?q=7"])
def test_list_reads_no_more_with_many(admin_client: Client, query: str) -> None:
    make_saga("order_id 7")
    admin_client.get(LIST + query)  # what is learnt once is
    with CaptureQueriesContext(connection) as few:
        admin_client.get(LIST + query)
    for number in range(60):
        make_saga(f"order_id {number + 100}")
    with CaptureQueriesContext(connection) as many:
        admin_client.get(LIST + query)
    assert len(many) == len(few)
    assert not [each["sql"] for each in many if "COUNT(" in each["sql"] and "saga" in each["sql"]]


def test_page_tells_each_turn_with_jobs_and_what_it_changed(admin_client: Client) -> None:
    saga = make_saga()
    job, sent = make_job(State.SUCCEEDED), make_job(State.PROCESSING, job_type="shop.ShipOrder")
    SagaTurn.objects.create(
        saga=saga, at=timezone.now(), kind="event", name="shop.PaymentTaken", job_id=job.pk,
        before={"order_id": 42, "paid": False}, after={"order_id": 42, "paid": True},
        asked=[
            {"do": "send", "type": "shop.ShipOrder", "job": sent.pk},
            {"do": "timeout", "name": "late", "job": 99, "delay": 3600},
            {"do": "cancel", "job": 98},
            {"do": "complete"},
        ],
    )  # fmt: skip
    response = admin_client.get(page(saga))
    turn = response.context["turns"].told[0]
    assert [(each.name, each.before, each.after) for each in turn.changed] == [("paid", "false", "true")]
    shown = response.content.decode()
    told = "Event shop.PaymentTaken", "Sent shop.ShipOrder", "Asked to be told late in 1 h", "Cancelled a job"
    for words in (*told, "Completed: nothing more happens", f"/jobrecord/{sent.pk}/change/", "began it"):
        assert words in shown
    assert shown.count("shop.ShipOrder") == 1


def test_page_says_what_it_waits_for(admin_client: Client) -> None:
    saga = make_saga()
    waits = make_job(State.ENQUEUED, job_type="shop.ChargeCard", correlation=saga.correlation)
    make_job(State.SUCCEEDED, job_type="shop.ReserveStock", correlation=saga.correlation)
    SagaTimeout.objects.create(saga=saga, name="late", job_id=7, due_at=timezone.now() + timedelta(hours=2))
    context = admin_client.get(page(saga)).context
    assert [job.pk for job in context["jobs"]] == [waits.pk]
    assert [timeout.name for timeout in context["timeouts"]] == ["late"]


def test_page_says_that_a_job_of_its_story_has_failed(admin_client: Client) -> None:
    saga = make_saga()
    failed = make_job(State.FAILED, job_type="shop.ChargeCard", correlation=saga.correlation)
    waits = make_job(State.ENQUEUED, job_type="shop.SendReceipt", correlation=saga.correlation)
    JobRecord.objects.update(error="PaymentGatewayError: answered 503")  # the other one is tried again
    response = admin_client.get(page(saga))
    assert [job.pk for job in response.context["jobs"]] == [failed.pk, waits.pk]
    assert "A job of its story has failed." in response.content.decode()
    assert response.content.decode().count("PaymentGatewayError: answered 503") == len(response.context["jobs"])


def test_page_of_a_saga_that_cannot_be_read_says_what_it_waits_for(admin_client: Client) -> None:
    saga, job = make_saga(unreadable="its state does not fit"), make_job(State.SCHEDULED)
    fail_delivery(saga, job, why="its state does not fit")
    shown = text(admin_client, page(saga))
    assert "What waits for code that reads it" in shown
    assert "Code that reads its state." in shown
    assert "the next event" not in shown


def plans(queries: Any, *having: str) -> list[str]:
    """How SQLite carries out those of ``queries`` whose SQL has all of these."""
    found = []
    with connection.cursor() as cursor:
        for query in queries:
            if all(part in query["sql"] for part in having):
                cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                found.append("\n".join(str(step) for step in cursor.fetchall()))
    return found


@pytest.mark.once
def test_jobs_of_a_story_are_read_through_their_index(admin_client: Client) -> None:
    saga = make_saga()
    make_job(State.ENQUEUED, correlation=saga.correlation)
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(page(saga))
    [plan] = plans(queries, '"correlation" =', "jobs_jobrecord")
    assert "jobs_by_correlation" in plan
    assert "TEMP B-TREE" not in plan


def failed_story(number: int, **fields: Any) -> SagaRecord:
    saga = make_saga(f"order_id {number}", **fields)
    make_job(State.FAILED, job_type="shop.ChargeCard", correlation=saga.correlation)
    return saga


@pytest.mark.parametrize("most", [1_000, 1])
def test_list_says_where_a_job_of_a_story_has_failed(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """However many jobs are failed besides."""
    some()
    failed_story(6)
    failed_story(7, stuck_at=timezone.now() - timedelta(hours=2))
    failed_story(8, stuck_at=None, completed_at=timezone.now())
    failed_story(9, error="ValueError: no such card")
    lively = make_saga("order_id 10")
    make_job(State.SUCCEEDED, correlation=lively.correlation)
    make_job(State.FAILED, correlation="")
    monkeypatch.setattr("dashboard.sagas.stories.MOST_FAILED", most)
    shown = {standing.row.label: standing.state for standing in admin_client.get(LIST).context["standings"]}
    assert {shown[f"order_id {number}"] for number in (6, 7)} == {"job"}
    assert [shown[f"order_id {number}"] for number in (8, 9, 10)] == ["completed", "failed", "open"]


def test_list_shows_sagas_of_failed_jobs_above_and_is_narrowed_to_them(admin_client: Client) -> None:
    made, saga = some(), failed_story(6)
    response = admin_client.get(LIST)
    assert [standing.state for standing in response.context["urgent"]] == ["unreadable", "failed", "job", "stuck"]
    assert "A job of its story has failed." in response.content.decode()
    assert titles(admin_client, "state=job") == [saga.label]
    assert titles(admin_client, f"state=job&type={made['open'].saga_type}") == [saga.label]
    assert admin_client.get(page(saga)).context["standing"].state == "job", "its page says the same"
    JobRecord.objects.filter(state=State.FAILED).update(state=State.ENQUEUED)
    assert titles(admin_client, "state=job") == []


def test_narrowed_to_failed_jobs_it_says_how_far_it_looks(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Only stories of the 1 jobs that failed last are looked at."
    assert said not in text(admin_client, f"{LIST}?state=job")
    monkeypatch.setattr("dashboard.sagas.stories.MOST_FAILED", 1)
    failed_story(6)
    failed_story(7)
    assert said in text(admin_client, f"{LIST}?state=job")


@pytest.mark.once
def test_failed_jobs_of_stories_are_read_through_indexes(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.sagas.stories.MOST_FAILED", 0)
    for number in (6, 7):
        failed_story(number)
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)
    [last] = plans(queries, "LEFT JOIN jobs_jobpayload")
    [of_stories] = plans(queries, "FROM story")
    assert "jobs_failed" in last
    assert "jobs_by_correlation" in of_stories
    assert "TEMP B-TREE" not in last + of_stories
    [sagas] = plans(queries, '"correlation" IN')
    assert "jobs_saga_correlation" in sagas


def test_timeline_goes_by_pages(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.sagas.turns.SIZE", 2)
    saga = make_saga()
    for number in range(3):
        SagaTurn.objects.create(saga=saga, at=timezone.now(), kind="timeout", name=f"t{number}", before={}, after={})
    turns = admin_client.get(page(saga)).context["turns"]
    assert [told.turn.name for told in turns.told] == ["t2", "t1"]
    older = admin_client.get(page(saga) + turns.older_url.partition("#")[0]).context["turns"]
    assert [told.turn.name for told in older.told] == ["t0", "shop.OrderPlaced"]
    assert older.newer_url
    assert not older.older_url


def test_state_is_masked_for_who_may_not_see_what_is_sensitive(
    operator_client: Client, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = make_saga(saga_type="gone.Saga", data={"order_id": 42, "card": "4111-1111", "former": "s3cret"})
    assert "4111-1111" not in text(operator_client, page(saga)), "a type that the code does not know"
    schema = {"properties": {"state": {"properties": {"card": {"sensitive": True}}}}}
    shape = SimpleNamespace(schema=lambda: schema, fields=("order_id", "card"))
    monkeypatch.setattr(catalogue, "find", lambda name: SimpleNamespace(shape=shape))
    monkeypatch.setattr("handlers.sensitive.paths", lambda schema: frozenset({"state.card"}))
    shown = text(operator_client, page(saga))
    assert "4111-1111" not in shown
    assert "s3cret" not in shown, "a name that the state has no more"
    assert "42" in shown
    assert "4111-1111" in text(admin_client, page(saga))


def test_fields_of_an_event_are_told_and_masked_as_those_of_the_state(
    viewer_client: Client, admin_client: Client
) -> None:
    with registry.isolated():

        class Trip(Saga[Gone], name="tests.Trip"):
            @starts(Booked, key="trip")
            def booked(self, event: Booked) -> None: ...

        for kind, hidden in (("tests.Trip", {"4111", "late"}), ("gone.Trip", {"4111", "late", "Rome"})):
            SagaKey.objects.all().delete()
            saga = make_saga("trip 7", saga_type=kind)
            data = {"trip": 7, "to": "Rome", "card": "4111", "former": "late"}
            event = EventRecord.objects.create(event_type="tests.Booked", data=data, published_at=timezone.now())
            SagaTurn.objects.filter(saga=saga).update(event_id=event.pk)
            masked, whole = (
                dict(client.get(page(saga)).context["turns"].told[0].fields) for client in (viewer_client, admin_client)
            )
            assert sorted(masked) == sorted(data)
            assert {"Rome", "4111", "late"} - {*masked.values()} == hidden
            assert whole == {**data, "trip": "7"}


def test_complete_by_hand_needs_a_reason_and_is_on_record(operator_client: Client) -> None:
    saga, timeout = make_saga(), make_job(State.SCHEDULED)
    SagaTimeout.objects.create(saga=saga, name="late", job_id=timeout.pk, due_at=timezone.now())
    form: dict[str, Any] = {"turns": "1"}
    assert operator_client.post(page(saga, "complete/"), form).status_code == 400
    assert SagaRecord.objects.get(pk=saga.pk).completed_at is None
    answer = operator_client.post(page(saga, "complete/"), form | {"reason": "paid in cash"}, follow=True)
    assert "Completed order_id 42 by hand." in answer.content.decode()
    row = SagaRecord.objects.get(pk=saga.pk)
    assert row.completed_at is not None
    assert (row.stuck_at, row.turns) == (None, 2)
    assert JobRecord.objects.get(pk=timeout.pk).state == State.DELETED
    assert not SagaTimeout.objects.exists()
    turn = SagaTurn.objects.filter(saga=saga).order_by("-pk")[0]
    assert (turn.kind, turn.reason, turn.after) == ("person", "paid in cash", row.data)
    entry = AuditEntry.objects.get(verb="complete_saga")
    assert (entry.target, entry.reason) == (f"saga {saga.pk}", "paid in cash")
    assert f"/admin/sagas/{saga.pk}/" in text(operator_client, "/admin/jobs/auditentry/")


def test_complete_of_a_saga_that_has_gone_on_changes_nothing(operator_client: Client) -> None:
    saga = make_saga(turns=2)
    answer = operator_client.post(page(saga, "complete/"), {"turns": "1", "reason": "x"}, follow=True)
    assert "has gone on since the page was made, or is over; nothing was done." in answer.content.decode()
    assert SagaRecord.objects.get(pk=saga.pk).completed_at is None
    assert not complete_saga(10**9)


def test_retry_of_a_failed_event_runs_its_job(operator_client: Client) -> None:
    saga, job = make_saga(), make_job(State.FAILED)
    fail_delivery(saga, job)
    assert "no such card" in text(operator_client, page(saga))
    answer = operator_client.post(page(saga, f"retry/{job.pk}/"), {"token": job.token}, follow=True)
    assert f"Retried: job {job.pk} brings it once more." in answer.content.decode()
    assert JobRecord.objects.get(pk=job.pk).state == State.ENQUEUED
    entry = AuditEntry.objects.get(verb="retry")
    assert (entry.target, entry.reason) == (f"job {job.pk}", "")


def test_retry_asks_for_a_reason_which_the_audit_keeps(operator_client: Client) -> None:
    saga, job = make_saga(), make_job(State.FAILED)
    fail_delivery(saga, job)
    fields = re.findall(r"<form [^>]*?/retry/.*?</form>", text(operator_client, page(saga)), re.DOTALL)
    assert [re.findall(r'name="reason" maxlength="(\d+)"', field) for field in fields] == [[str(MAX_REASON)]]
    sent = {"token": job.token, "reason": "the card was mended"}
    operator_client.post(page(saga, f"retry/{job.pk}/"), sent)
    assert JobRecord.objects.get(pk=job.pk).state == State.ENQUEUED
    assert AuditEntry.objects.get(verb="retry").reason == "the card was mended"


@pytest.mark.parametrize("retrying", [False, True], ids=["for good", "to be tried again"])
def test_retry_of_a_failed_timeout_runs_its_job(operator_client: Client, retrying: bool) -> None:
    saga = make_saga(error="ValueError: too late", failed_at=timezone.now())
    job = make_job(State.SCHEDULED, retrying=True) if retrying else make_job(State.FAILED)
    SagaTimeout.objects.create(saga=saga, name="pay", job_id=job.pk, due_at=timezone.now())
    failed = {"error": "ValueError: too late", "before": {}, "job_id": job.pk}
    SagaTurn.objects.create(saga=saga, at=timezone.now(), kind="timeout", name="pay", **failed)
    context = operator_client.get(page(saga)).context
    assert [(each.title, each.why) for each in context["failed"]] == [("Timeout pay", "ValueError: too late")]
    assert not context["timeouts"]
    answer = operator_client.post(page(saga, f"retry/{job.pk}/"), {"token": job.token}, follow=True)
    assert f"Retried: job {job.pk} brings it once more." in answer.content.decode()
    assert JobRecord.objects.get(pk=job.pk).state == State.ENQUEUED
    assert not answer.context["failed"]


def test_retry_of_a_job_that_is_no_event_of_the_saga_is_refused(operator_client: Client) -> None:
    saga, job = make_saga(), make_job(State.FAILED)
    assert operator_client.post(page(saga, f"retry/{job.pk}/"), {"token": job.token}).status_code == 404
    assert JobRecord.objects.get(pk=job.pk).state == State.FAILED


def test_buttons_are_there_for_who_may(viewer_client: Client, operator_client: Client) -> None:
    saga, job = make_saga(), make_job(State.FAILED)
    fail_delivery(saga, job)
    for client, may in ((viewer_client, False), (operator_client, True)):
        shown = text(client, page(saga))
        assert ("complete/" in shown, "verb-retry" in shown) == (may, may)


def test_job_page_says_which_saga_has_sent_it(admin_client: Client, django_user_model: type[User]) -> None:
    saga, brought = make_saga(), make_job(State.SUCCEEDED)
    sent, other = (make_job(State.SUCCEEDED, parent_id=brought.pk) for _ in range(2))
    asked = [{"do": "send", "type": "app.Note", "job": sent.pk}]
    SagaTurn.objects.create(
        saga=saga, at=timezone.now(), kind="event", job_id=brought.pk, asked=asked, before={}, after={}
    )
    assert "Sent by saga" in text(admin_client, f"/admin/jobs/jobrecord/{sent.pk}/change/")
    assert "Sent by saga" not in text(admin_client, f"/admin/jobs/jobrecord/{other.pk}/change/")


def test_page_of_a_saga_that_has_run_tells_what_it_did(operator_client: Client) -> None:
    event_bus.publish(Opened(7))
    event_bus.publish(Counted(7, 5, tells=True))
    run_due_jobs(check=True)
    [standing] = operator_client.get(f"{LIST}?q=7").context["standings"]
    response = operator_client.get(page(standing.row))
    assert standing.title == "number 7"
    assert response.context["keys"] == [("number", "7")]
    newest, oldest = response.context["turns"].told
    assert [(each.name, each.before, each.after) for each in newest.changed] == [
        ("events", "0", "1"),
        ("last", "-1", "5"),
    ]
    assert [asked.words for asked in newest.asked] == ["Sent app.Tell"]
    assert oldest.is_first
    sent = newest.asked[0].job_id
    assert "Sent by saga" in text(operator_client, f"/admin/jobs/jobrecord/{sent}/change/")
    brought = text(operator_client, f"/admin/jobs/jobrecord/{newest.turn.job_id}/change/")
    assert "Brought to saga" in brought
    assert complete_saga(standing.row.pk, expect=standing.row.turns)
    event_bus.publish(Counted(7, 6))
    run_due_jobs(check=True)
    assert SagaRecord.objects.get().data == {"events": 1, "last": 5}, "what comes later is ignored"


def test_saga_that_is_not_there_is_said_so(admin_client: Client) -> None:
    assert "There is no such saga" in text(admin_client, f"{LIST}999/", 404)
    assert text(admin_client, f"{LIST}{2**70}/", 404)
    assert "No saga yet." in text(admin_client, LIST)
