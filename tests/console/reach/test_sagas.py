"""Sagas for people whose role is limited: those whose own type it names, and of their stories the jobs within."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from handlers.models import SagaKey, SagaRecord, SagaTurn
from handlers.states import State
from tests.console.conftest import logged_in
from tests.console.factories import make_job, make_saga
from tests.console.reach.sides import FAR, NEAR, declared
from tests.console.reach.test_matrix import all_permitted, limited, person

pytestmark = pytest.mark.django_db

LIST = "/admin/sagas/"


@pytest.fixture(autouse=True)
def _sides() -> Iterator[None]:
    with declared():
        yield


@pytest.fixture
def client() -> Client:
    """Reaches the jobs and the sagas of the near side."""
    return logged_in(limited({"types": [f"app.{NEAR}", f"app.{NEAR}Saga"]}))


def saga_of(side: str, **fields: Any) -> SagaRecord:
    made = make_saga(f"name {side}", saga_type=f"app.{side}Saga", correlation="both", data={"name": side}, **fields)
    SagaKey.objects.filter(saga=made).update(value=f'"{side}"')  # as JSON
    return made


def labels(client: Client, query: str = "") -> list[str]:
    context = client.get(f"{LIST}?{query}").context
    return [standing.row.label for standing in (*context["urgent"], *context["standings"])]


def said(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return str(response.content.decode())


@pytest.mark.parametrize(
    "query", ["", "state=open", "state=stuck", "state=trouble", f"q={NEAR}", f"type=app.{NEAR}Saga", "q=both"]
)
def test_list_and_search_find_the_sagas_of_the_types_that_a_role_names(client: Client, query: str) -> None:
    for side in (NEAR, FAR):
        saga_of(side, stuck_at=timezone.now(), error="" if "stuck" in query else "refused")
    assert set(labels(client, query)) == {f"name {NEAR}"}
    assert client.get(LIST).context["types"] == [f"app.{NEAR}Saga"]


@pytest.mark.parametrize("query", [f"q={FAR}", f"type=app.{FAR}Saga", f"q=name:{FAR}"])
def test_search_finds_none_beyond(client: Client, query: str) -> None:
    saga_of(NEAR)
    saga_of(FAR)
    assert labels(client, query) == []


def test_those_beyond_take_no_place_of_what_a_search_finds(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for side in (NEAR, FAR):
        SagaKey.objects.filter(saga=saga_of(side)).update(value="42")
    monkeypatch.setattr("dashboard.sagas.listing.FOUND", 1)
    assert labels(client, "q=42") == [f"name {NEAR}"]


def test_that_a_job_beyond_failed_is_told_nowhere(client: Client) -> None:
    near = saga_of(NEAR)
    make_job(State.FAILED, job_type=f"app.{FAR}", queue=FAR, correlation="both")
    assert labels(client, "state=job") == []
    assert 'value="job"' not in said(client, LIST)
    text = said(client, f"{LIST}{near.pk}/")
    assert FAR not in text
    assert "A job failed" not in text
    make_job(State.FAILED, job_type=f"app.{NEAR}", queue=NEAR, correlation="both")
    assert "A job failed" in said(client, f"{LIST}{near.pk}/")


def test_timeline_names_jobs_within_and_of_others_says_that_they_were_sent(client: Client) -> None:
    near = saga_of(NEAR)
    jobs = {side: make_job(State.SUCCEEDED, job_type=f"app.{side}", queue=side) for side in (NEAR, FAR)}
    gone = {"do": "send", "type": f"app.{FAR}", "job": 10**9}
    asked = [*({"do": "send", "type": job.job_type, "job": job.pk} for job in jobs.values()), gone]
    asked.append({"do": "cancel", "job": jobs[FAR].pk})
    SagaTurn.objects.filter(saga=near).update(asked=asked)
    text = said(client, f"{LIST}{near.pk}/")
    assert f"/{jobs[NEAR].pk}/change/" in text
    assert f"Sent app.{NEAR}" in text
    assert text.count("<li>Sent a job</li>") == 2
    assert FAR not in text
    assert f"/{jobs[FAR].pk}/change/" not in text


def test_job_leads_to_its_saga_where_that_is_within(client: Client) -> None:
    for side in (NEAR, FAR):
        parent = make_job(State.SUCCEEDED, job_type=f"app.{side}Saga", queue=side)
        sent = make_job(State.SUCCEEDED, job_type=f"app.{NEAR}", queue=NEAR, parent_id=parent.pk)
        saga = saga_of(side)
        SagaTurn.objects.filter(saga=saga).update(
            job_id=parent.pk, asked=[{"do": "send", "type": sent.job_type, "job": sent.pk}]
        )
        text = said(client, f"/admin/jobs/jobrecord/{sent.pk}/change/")
        assert (f"{LIST}{saga.pk}/" in text) is (side == NEAR)
        assert FAR not in text


@pytest.mark.parametrize("limit", [{"queues": [NEAR]}, {"types": [f"app.{NEAR}Saga"], "queues": [NEAR]}])
def test_role_of_a_queue_sees_no_saga_and_is_told_why(limit: dict[str, list[str]]) -> None:
    near, client = saga_of(NEAR), logged_in(limited(limit))
    assert labels(client) == []
    assert "It sees the sagas whose own type it names, for all queues." in said(client, LIST)
    assert client.get(f"{LIST}{near.pk}/").status_code == 404


def test_whoever_sees_all_and_operates_one_type_completes_those_alone() -> None:
    viewer = Group.objects.create(name="sees")
    viewer.permissions.set(Permission.objects.filter(codename__in=["view_jobrecord", "view_sagarecord"]))
    client = logged_in(person("lena", viewer, all_permitted("operates", types=[f"app.{NEAR}Saga"])))
    for side, status in ((NEAR, 200), (FAR, 403)):
        saga = saga_of(side)
        assert ("complete/" in said(client, f"{LIST}{saga.pk}/")) is (side == NEAR)
        assert client.get(f"{LIST}{saga.pk}/complete/").status_code == status
        client.post(f"{LIST}{saga.pk}/complete/", {"turns": "1", "reason": "by hand"})
        saga.refresh_from_db()
        assert (saga.completed_at is not None) is (side == NEAR)
