"""Where there are too many job types or queues for a select one types, and a few of their names are suggested."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.test import Client

from dashboard.kit import filters
from handlers.states import State
from tests.console.conftest import logged_in
from tests.console.factories import make_job
from tests.console.reach.sides import FAR, NEAR, declared
from tests.console.reach.test_matrix import limited

pytestmark = [pytest.mark.django_db, pytest.mark.once]
LIST, NAMES = "/admin/jobs/jobrecord/", "/admin/jobs/names/"


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    with declared():
        yield


def field(html: str, name: str) -> str:
    """The control of the list's filter, with what it offers."""
    found = re.search(rf'<(select|input)[^>]*name="{name}".*?</(select|datalist)>', html, re.DOTALL)
    assert found is not None
    return found[0]


def named(client: Client, **asked: str) -> list[str]:
    """The names that are suggested."""
    answer = client.get(NAMES, asked)
    assert answer.status_code == 200
    assert "private" in answer.headers["Cache-Control"]
    found: list[str] = answer.json()["names"]
    return found


def test_a_few_choices_are_a_select_and_many_are_typed(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MOST", 1_000)
    html = viewer.get(LIST).content.decode()
    assert "data-names" not in html
    every = field(html, "type").count("<option") - 1
    monkeypatch.setattr(filters, "MOST", every)
    assert "data-names" not in field(viewer.get(LIST).content.decode(), "type")
    monkeypatch.setattr(filters, "MOST", every - 1)
    monkeypatch.setattr("dashboard.kit.changelist.FEW", 3)
    shown = field(viewer.get(LIST).content.decode(), "type")
    assert shown.startswith("<input")
    assert 'data-names="/admin/jobs/names/?of=type"' in shown
    assert 'placeholder="Any type"' in shown
    assert shown.count("<option") == 3


def test_what_is_typed_is_a_name_or_a_part_of_names(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MOST", 0)
    jobs = {side: make_job(State.FAILED, job_type=f"app.{side}", queue=side).pk for side in (NEAR, FAR)}
    for asked in ({"type": "zznea"}, {"type": f"app.{NEAR}"}, {"queue": NEAR}):
        html = viewer.get(LIST, asked).content.decode()
        ((name, value),) = asked.items()
        assert f'value="{value}"' in field(html, name)
        assert f"#{jobs[NEAR]}" in html
        assert f"#{jobs[FAR]}" not in html


def test_names_are_those_that_hold_what_is_typed_and_begin_with_it_first(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = [f"app.{side}{kind}" for side in (FAR, NEAR) for kind in ("", "Saga")]
    assert named(viewer, of="type", part="ZZ") == types
    assert named(viewer, of="queue", part=NEAR) == [NEAR]
    assert named(viewer, of="queue", part="no such") == named(viewer, of="worker") == []
    monkeypatch.setattr("dashboard.jobs.names.FEW", 1)
    assert len(named(viewer, of="type")) == 1


def test_names_are_those_that_a_limited_role_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    client = logged_in(limited({"queues": [NEAR]}))
    assert named(client, of="queue") == [NEAR]
    assert FAR not in str(named(client, of="type"))
    monkeypatch.setattr(filters, "MOST", 0)
    html = client.get(LIST).content.decode()
    assert FAR not in field(html, "type") + field(html, "queue")


def test_names_are_for_those_who_see_jobs(nobody: Client) -> None:
    assert nobody.get(NAMES).status_code == 403
