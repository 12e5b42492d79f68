"""The pages of the API's clients: a token is shown once, gives no more than its maker has, and can be revoked."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from handlers.api.clients import create_client, find_client
from handlers.models import ApiClient, AuditEntry
from tests.console.conftest import MakeUser, logged_in

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LIST, NEW = "/admin/clients/", "/admin/clients/new/"
TOKEN = re.compile(r"jobs_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
FORM = {"name": "billing", "verbs": ["read", "enqueue"], "rate_per_minute": "60", "expires_at": "", "reason": "order 7"}


def make(client: Client, **values: Any) -> str:
    return client.post(NEW, FORM | values).content.decode()


def test_token_is_shown_once_and_opens_what_was_chosen(superuser: Client) -> None:
    response = superuser.post(NEW, {**FORM, "types": ["app.Note"], "queues": ["mail", "default"]})
    [token] = {*TOKEN.findall(response.content.decode())}
    assert "no-store" in response.headers["Cache-Control"]
    made = find_client(token)
    assert made is not None
    assert (made.name, made.verbs, made.types, made.queues, made.rate_per_minute, made.expires_at) == (
        "billing", ["read", "enqueue"], ["app.Note"], ["default", "mail"], 60, None,
    )  # fmt: skip
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.verb, entry.target, entry.reason) == (
        "admin", "create_client", "client billing", "order 7",
    )  # fmt: skip
    pages = LIST, f"{LIST}{made.pk}/", "/admin/jobs/auditentry/", f"/admin/jobs/auditentry/{entry.pk}/change/"
    for url in pages:
        html = superuser.get(url).content.decode()
        assert "billing" in html
        assert not TOKEN.search(html)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "Billing!"}, "use 1 to 60 of a-z"),
        ({"verbs": []}, "Choose at least one"),
        ({"verbs": ["everything"]}, "Select a valid choice"),
        ({"types": ["app.Nobody"]}, "Select a valid choice"),
        ({"queues": ["nobodys"]}, "Select a valid choice"),
        ({"rate_per_minute": "0"}, "must be from 1"),
        ({"rate_per_minute": "9" * 30}, "must be from 1"),
        ({"expires_at": "2020-01-01T00:00"}, "has passed"),
        ({"expires_at": "soon"}, "Enter a valid date/time"),
        ({"name": "taken"}, "There is a client"),
    ],
)
def test_what_does_not_fit_is_named_beside_its_field(superuser: Client, values: dict[str, Any], words: str) -> None:
    create_client("taken", verbs=["read"])
    html = make(superuser, **values)
    assert words.lower() in html.lower()
    assert "Nothing was made" in html
    assert not TOKEN.search(html)
    assert ApiClient.objects.count() == 1


def test_nobody_gives_more_than_they_may_do(make_user: MakeUser) -> None:
    maker = logged_in(make_user("maker", "view_jobrecord", "view_apiclient", "add_apiclient", "enqueue_jobrecord"))
    html = maker.get(NEW).content.decode()
    assert 'value="enqueue"' in html
    for verb in ("read", "delete", "sensitive", "bulk", "recurring"):
        assert f'value="{verb}"' not in html
        assert "Nothing was made" in make(maker, verbs=["enqueue", verb])
    assert not ApiClient.objects.exists()
    assert TOKEN.search(make(maker, verbs=["enqueue"]))


def test_revoked_token_opens_nothing_and_the_page_says_so(superuser: Client) -> None:
    row, _ = create_client("billing", verbs=["read"])
    page = f"{LIST}{row.pk}/"
    assert superuser.get(f"{page}revoke/").status_code == 405
    html = superuser.post(f"{page}revoke/", {"reason": "it leaked"}, follow=True).content.decode()
    assert "Revoked the token of billing" in html
    row.refresh_from_db()
    assert row.revoked_at is not None
    assert row.revoked_by == "user:admin"
    assert AuditEntry.objects.get().reason == "it leaked"
    assert 'name="reason"' not in superuser.get(page).content.decode()
    assert "revoked already" in superuser.post(f"{page}revoke/", follow=True).content.decode()
    assert "revoked" in superuser.get(LIST).content.decode()


def test_each_needs_its_permission(viewer: Client, operator: Client, make_user: MakeUser) -> None:
    row, _ = create_client("billing", verbs=["read"])
    page = f"{LIST}{row.pk}/"
    for client in (viewer, operator):
        for url in (LIST, NEW, page):
            assert client.get(url).status_code == 403
        assert client.post(NEW, FORM).status_code == client.post(f"{page}revoke/").status_code == 403
        assert LIST not in client.get("/admin/").content.decode()
    reader = logged_in(make_user("reader", "view_jobrecord", "view_apiclient"))
    assert reader.get(LIST).status_code == reader.get(page).status_code == 200
    assert NEW not in reader.get(LIST).content.decode()
    assert "Revoke" not in reader.get(page).content.decode()
    assert reader.get(NEW).status_code == reader.post(NEW, FORM).status_code == 403
    assert reader.post(f"{page}revoke/").status_code == 403
    row.refresh_from_db()
    assert (row.revoked_at, ApiClient.objects.count()) == (None, 1)


def test_page_leads_to_what_the_client_did(superuser: Client) -> None:
    row, _ = create_client("billing", verbs=["read"])
    AuditEntry.objects.create(at=timezone.now(), username="api:billing", verb="enqueue", target="job 17", count=1)
    AuditEntry.objects.create(at=timezone.now(), username="bob", verb="retry", target="job 18", count=1)
    url = re.search(
        r'href="(/admin/jobs/auditentry/[^"]*)">api:billing', superuser.get(f"{LIST}{row.pk}/").content.decode()
    )
    assert url
    html = superuser.get(url[1]).content.decode()
    assert "job 17" in html
    assert "job 18" not in html


def test_client_that_is_none_leads_back_with_words(superuser: Client) -> None:
    for number in (7, 10**20):
        assert "no such client" in superuser.get(f"{LIST}{number}/", follow=True).content.decode()
        assert superuser.post(f"{LIST}{number}/revoke/").status_code == 302


def test_expired_token_is_told(superuser: Client) -> None:
    row, _ = create_client("billing", verbs=["read"], expires_at=timezone.now() + timedelta(hours=1))
    assert "Its token is valid until" in superuser.get(f"{LIST}{row.pk}/").content.decode()
    ApiClient.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    assert "Its token expired" in superuser.get(f"{LIST}{row.pk}/").content.decode()
