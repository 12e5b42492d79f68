"""What the job list's search says of what it did: numbers, pasted errors, names that nobody knows, and old ones."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.test import Client

from handlers.models import JobRecord
from handlers.selection import looking
from handlers.states import State
from tests.console.conftest import OPERATES, MakeUser, logged_in
from tests.console.factories import make_job

LIST = "/admin/jobs/jobrecord/"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 42, in handle
    raise Refused("card")
shop.errors.Refused: card of order 4711: "declined"
See https://pay.example.com/why?code=51
"""


def html_of(client: Client, **query: str) -> str:
    """The list's page."""
    response = client.get(LIST, query)
    assert response.status_code == 200, response.content.decode()
    return response.content.decode()


def ids_in(html: str) -> list[int]:
    """The jobs to which the page leads, in its order."""
    return [int(pk) for pk in re.findall(r'href="/admin/jobs/jobrecord/(\d+)/change/', html)]


def meant(html: str) -> list[str]:
    """The searches that the page offers for a name that is no qualifier."""
    links = re.findall(r'<a href="\?([^"]+)"><code>', html)
    return [parse_qs(unescape(link))["q"][0] for link in links]


@pytest.fixture
def order(transactional_db: Any) -> tuple[JobRecord, JobRecord]:
    """A job whose id is the number of an order, and the failed job of that order."""
    by_id = make_job(State.SUCCEEDED, payload={"text": "x"})
    return by_id, make_job(payload={"order_id": by_id.pk}, message=f"no order {by_id.pk}", job_type="app.Stubborn")


def test_number_alone_finds_the_job_with_this_id_and_offers_those_with_it_in_an_argument(
    order: tuple[JobRecord, JobRecord], make_user: MakeUser
) -> None:
    by_id, failed = order
    for _ in range(6):
        make_job(State.SUCCEEDED, payload={"text": str(by_id.pk)})
    make_job(payload={"text": f"{by_id.pk}0"})  # another number
    html = html_of(logged_in(make_user("olga", *OPERATES)), q=str(by_id.pk))
    table, _, section = html.partition(f"7 jobs with {by_id.pk} in an argument")
    assert f"By id: job {by_id.pk}</h2>" in table
    assert ids_in(table) == [by_id.pk]
    assert len(ids_in(section)) == 5
    assert f"<code>text={by_id.pk}</code>" in section
    all_of_them = unescape(re.findall(r'href="\?([^"]+)">All 7, to filter, retry or export', section)[0])
    assert parse_qs(all_of_them) == {"q": [f"args:{by_id.pk}"]}
    assert failed.pk in ids_in(html_of(logged_in(make_user("vera", "view_jobrecord")), q=f"args:{by_id.pk}"))


def test_number_alone_keeps_the_tab_and_leads_to_where_the_argument_is_mended(
    order: tuple[JobRecord, JobRecord], operator: Client, make_user: MakeUser
) -> None:
    by_id, failed = order
    html = html_of(operator, q=str(by_id.pk), state="failed")
    assert "None of these has this id." in html
    assert ids_in(html) == [failed.pk]
    assert f"1 job with {by_id.pk} in an argument" in html
    assert f'href="/admin/jobs/jobrecord/{failed.pk}/edit/"' in html
    assert "/edit/" not in html_of(logged_in(make_user("vera", "view_jobrecord")), q=str(by_id.pk), state="failed")


def test_number_that_nobody_has_is_said_to_be_nowhere(viewer: Client) -> None:
    html = html_of(viewer, q="4711")
    assert "There is no job with this id." in html
    assert "0 jobs with 4711 in an argument" in html
    assert "Look for it in errors and arguments" in html


def test_number_in_a_sensitive_argument_is_not_counted_without_permission(make_user: MakeUser) -> None:
    make_job(payload={"card": {"number": 4711}})
    assert "0 jobs with 4711" in html_of(logged_in(make_user("vera", "view_jobrecord")), q="4711")
    assert "1 job with 4711" in html_of(logged_in(make_user("tina", "view_jobrecord", "view_sensitive")), q="4711")


@pytest.mark.once  # where no index finds arguments
def test_number_says_how_far_it_was_looked_for(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FIRST", 2), ("SECONDS", 0)):
        monkeypatch.setattr(looking, name, value)
    monkeypatch.setattr("dashboard.jobs.searched.SECONDS", 0)
    make_job(State.SUCCEEDED, payload={"order_id": 4711})
    failed = make_job(payload={"order_id": 4712})
    for _ in range(3):
        make_job(State.SUCCEEDED)
    html = html_of(viewer, q="4711")
    assert "None among the newest 2 jobs." in html
    assert "<h2" in html.partition("Jobs with 4711 in an argument")[0]
    html = html_of(viewer, q="4712")
    assert "1+ job with 4712 in an argument" in html
    assert ids_in(html) == [failed.pk]


@pytest.mark.parametrize(
    "pasted",
    [
        TRACEBACK,
        TRACEBACK.strip().replace("\n", ""),  # as a text field joins it
        'shop.errors.Refused: card of order 4711: "declined"',
        'Refused: card of order 4711: "decl',
        'card of order 4711: "declined"',
    ],
)
def test_pasted_error_finds_the_jobs_with_it(viewer: Client, pasted: str) -> None:
    wanted = make_job(exception="shop.errors.Refused", message='card of order 4711: "declined"')
    make_job(exception="shop.errors.Refused", message='card of order 4712: "declined"')
    if "why?code=51" in pasted and "\n" not in pasted:
        pasted = pasted.partition("See https")[0]  # what is joined to it cannot be told apart
    assert ids_in(html_of(viewer, q=pasted)) == [wanted.pk]


@pytest.mark.parametrize(
    "message",
    [
        "'order_id'",
        "localhost:6379 refused",
        "GET http://pay.example.com/?a=1&b=2",
        "[Errno 2] x=1; {y: 2}",
        "50% of a_b",
    ],
)
def test_any_error_is_found_by_its_own_line(viewer: Client, message: str) -> None:
    wanted = make_job(exception="KeyError", message=message)
    make_job(exception="KeyError", message="other")
    assert ids_in(html_of(viewer, q=wanted.error)) == [wanted.pk]
    assert wanted.pk in ids_in(html_of(viewer, q=message))


def test_unknown_name_is_looked_for_as_words_and_offers_the_argument(viewer: Client) -> None:
    wanted = make_job(payload={"order_id": 4711})
    make_job(payload={"order_id": 4712})
    html = html_of(viewer, q="order_id:4711", state="failed")
    assert ids_in(html) == [wanted.pk]
    assert "<code>order_id:</code> is no part of the search" in html
    assert meant(html) == ["args.order_id:4711"]
    assert "q=args.order_id%3A4711&amp;state=failed" in html
    assert ids_in(html_of(viewer, q="args.order_id=4711")) == [wanted.pk]


def test_unknown_name_offers_the_qualifier_that_was_misspelt(viewer: Client) -> None:
    assert meant(html_of(viewer, q="typ:Note state:failed")) == ["type:Note state:failed"]
    assert meant(html_of(viewer, q="<b>:x")) == []


def test_unknown_name_offers_no_sensitive_argument_without_permission(make_user: MakeUser) -> None:
    assert meant(html_of(logged_in(make_user("vera", "view_jobrecord")), q="number:4711")) == ["args.number:4711"]
    trusted = logged_in(make_user("tina", "view_jobrecord", "view_sensitive"))
    assert meant(html_of(trusted, q="number:4711")) == ["args.number:4711", "args.card.number:4711"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"type": "old.Gone"}, "No job type is called old.Gone here"),
        ({"q": "queue:gone"}, "No queue is called gone here"),
        ({"worker": "host-9.1.0"}, "No worker host-9.1.0 is known"),
    ],
)
def test_names_that_nobody_has_any_more_are_told(viewer: Client, query: dict[str, str], words: str) -> None:
    assert words in html_of(viewer, **query)
    assert "any more" not in html_of(viewer, type="app.Note", queue="mail")


def test_selects_say_that_the_search_box_chooses_for_them(viewer: Client) -> None:
    make_job(queue="mail")
    html = html_of(viewer, q="type:app.Note since:2h", queue="mail")
    assert re.findall(r'<option value="">([^<]*)<', html) == [
        "As searched: type", "Any queue", "Any worker", "As searched: time",
    ]  # fmt: skip
    assert '<option value="mail" selected>' in html
