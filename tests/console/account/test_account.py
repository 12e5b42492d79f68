"""One's own account: who one is here, and whether single keys act, which is kept for each person."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.models import Preferences
from tests.console.conftest import MakeUser, logged_in

pytestmark = [pytest.mark.django_db, pytest.mark.once]

ACCOUNT = "/admin/account/"


def keys_act(client: Client, url: str = "/admin/") -> bool:
    """As the scripts read it off a page."""
    return 'data-keys="on"' in client.get(url).content.decode()


def test_single_keys_are_each_persons_own_choice_and_it_comes_back_with_them(make_user: MakeUser) -> None:
    olga, other = make_user("olga", "view_jobrecord"), make_user("other", "view_jobrecord")
    client = logged_in(olga)
    assert keys_act(client)
    answer = client.post(ACCOUNT, {"single_keys": "off", "back": "/admin/queues/?q=mail"})
    assert answer.headers["Location"] == "/admin/queues/?q=mail"
    again = logged_in(olga)
    assert [keys_act(again, url) for url in ("/admin/", "/admin/jobs/jobrecord/", ACCOUNT)] == [False, False, False]
    assert keys_act(logged_in(other))
    again.post(ACCOUNT, {"single_keys": "on"})
    assert keys_act(client)
    assert Preferences.objects.count() == 1


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_switch_leads_to_no_other_site(make_user: MakeUser, back: str) -> None:
    answer = logged_in(make_user("olga", "view_jobrecord")).post(ACCOUNT, {"single_keys": "off", "back": back})
    assert answer.headers["Location"] == ACCOUNT


def test_what_is_no_choice_changes_nothing(make_user: MakeUser) -> None:
    client = logged_in(make_user("olga", "view_jobrecord"))
    assert client.post(ACCOUNT, {"single_keys": "maybe"}).status_code == 302
    assert not Preferences.objects.exists()


def test_page_names_the_roles_and_the_keys(make_user: MakeUser) -> None:
    user = make_user("olga", "view_jobrecord")
    user.groups.add(Group.objects.create(name="Night shift"))
    page = logged_in(user).get(ACCOUNT).content.decode()
    assert "Night shift" in page
    assert "<kbd>Shift</kbd> <kbd>r</kbd>" in page
    assert "Turn single keys off" in page


def test_who_is_not_signed_in_is_asked_to(client: Client) -> None:
    assert client.get(ACCOUNT).headers["Location"].startswith("/admin/login/")


def test_what_is_kept_for_a_person_is_one_statement_of_a_page(make_user: MakeUser) -> None:
    client = logged_in(make_user("olga", "view_jobrecord"))
    client.post("/admin/jobs/views/new/", {"name": "failed", "query": "state=failed"})
    client.post(ACCOUNT, {"single_keys": "off"})
    with CaptureQueriesContext(connection) as asked:
        page = client.get("/admin/jobs/jobrecord/").content.decode()
    assert 'data-keys="off"' in page
    assert "/admin/jobs/views/" in page
    told = [query["sql"] for query in asked if "jobs_preferences" in query["sql"] or "jobs_savedview" in query["sql"]]
    assert len(told) == 1
