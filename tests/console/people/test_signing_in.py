"""Signing in and out: on to where one was going, if that is here."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LOGIN = "/admin/login/"
ELSEWHERE = ["https://evil.example/", "//evil.example/x", "javascript:alert(1)", "http:///evil.example", ""]


@pytest.fixture
def known(make_user: object) -> dict[str, str]:
    """What somebody signs in with."""
    User.objects.create_superuser("admin", password="secret")
    return {"username": "admin", "password": "secret"}


@pytest.mark.parametrize("address", ELSEWHERE)
def test_sign_in_on_the_way_to_another_site_leads_to_the_start_page(
    client: Client, known: dict[str, str], address: str
) -> None:
    form = client.get(LOGIN, {"next": address})
    assert 'name="next" value="/admin/"' in form.content.decode()
    for sent in ({"next": "/admin/"}, {"next": address}, {}):
        answer = Client().post(LOGIN, known | sent, query_params={"next": address})
        assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")


def test_sign_in_without_anywhere_to_go_leads_to_the_start_page(client: Client, known: dict[str, str]) -> None:
    assert client.post(LOGIN, known).headers["Location"] == "/admin/"


def test_sign_in_leads_on_to_where_one_was_going(client: Client, known: dict[str, str]) -> None:
    wanted = "/admin/jobs/jobrecord/?state=failed"
    asked = client.get(wanted)
    assert asked.headers["Location"].startswith(LOGIN)
    assert client.post(asked.headers["Location"], known | {"next": wanted}).headers["Location"] == wanted


@pytest.mark.parametrize("address", ELSEWHERE)
def test_sign_out_on_the_way_to_another_site_leads_to_the_start_page(superuser: Client, address: str) -> None:
    answer = superuser.post("/admin/logout/", query_params={"next": address})
    assert answer.headers["Location"] == "/admin/"
    assert "_auth_user_id" not in superuser.session


def test_sign_out_says_so(superuser: Client) -> None:
    answer = superuser.post("/admin/logout/")
    assert answer.status_code == 200
    assert "_auth_user_id" not in superuser.session
