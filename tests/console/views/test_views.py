"""Saved views: kept, shared, found again at their address, bounded, and read as far as they still mean anything."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from dashboard.models import SavedView
from dashboard.views import saved
from handlers.models import AuditEntry
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job

LIST = "/admin/jobs/jobrecord/"
VIEWS = "/admin/jobs/views/"


@pytest.fixture
def sharer(make_user: MakeUser) -> Client:
    """May see jobs and share views."""
    return logged_in(may(make_user("sue", "view_jobrecord"), "share_savedview"))


def may(user: User, *codenames: str) -> User:
    """``user`` with permissions of saved views."""
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return user


def save(client: Client, query: str, name: str = "mine", **fields: Any) -> SavedView:
    """What the form beside the list saves."""
    response = client.post(f"{VIEWS}new/", {"query": query, "name": name, **fields})
    assert response.status_code == 302, unescape(response.content.decode())
    made: SavedView = SavedView.objects.latest("pk")
    return made


def refused(client: Client, query: str, name: str = "mine", **fields: Any) -> str:
    """Why the form is not taken."""
    before = SavedView.objects.count()
    response = client.post(f"{VIEWS}new/", {"query": query, "name": name, **fields})
    assert response.status_code == 400
    assert SavedView.objects.count() == before
    return unescape(" ".join(re.findall(r'class="error-line"[^>]*>([^<]*)<', response.content.decode())))


def opened(client: Client, view: SavedView) -> tuple[str, str]:
    """The address that the view leads to, and the page there."""
    response = client.get(f"{VIEWS}{view.pk}/", follow=True)
    return response.redirect_chain[-1][0], unescape(response.content.decode())


def test_view_keeps_the_list_under_an_address_and_in_the_navigation(viewer: Client) -> None:
    wanted, other = make_job(queue="mail"), make_job(State.SUCCEEDED, queue="mail")
    html = viewer.get(LIST, {"state": "failed", "q": "queue:mail since:2h"}).content.decode()
    query = unescape(re.findall(r'name="query" value="([^"]+)"', html)[0])
    view = save(viewer, query, "  Mail that\nfailed ")
    assert (view.name, view.is_shared, view.query) == ("Mail that failed", False, query)
    address, html = opened(viewer, view)
    assert f"/{wanted.pk}/change/" in html
    assert f"/{other.pk}/change/" not in html
    assert "View: Mail that failed" in html
    assert 'name="query"' not in html, "it is saved already"
    link = rf'href="{VIEWS}{view.pk}/" aria-current="page"[^>]*>Mail that failed</a>'
    assert re.search(link, html.partition('aria-label="Console"')[2]), "it is in the navigation"
    assert "since%3A2h" in address, "it goes with the time"
    assert f'href="{VIEWS}{view.pk}/"' in viewer.get("/admin/").content.decode()
    assert not AuditEntry.objects.exists()


def test_view_is_its_persons_alone_until_it_is_shared(viewer: Client, sharer: Client) -> None:
    own = save(viewer, "state=failed")
    assert 'name="shared"' not in viewer.get(LIST, {"state": "failed"}).content.decode()
    address, html = opened(sharer, own)
    assert address == VIEWS
    assert "There is no such view" in html
    shared = save(sharer, "state=failed&queue=mail", "ours", shared="on")
    assert opened(viewer, shared)[0] == f"{LIST}?state=failed&queue=mail"
    assert "everybody, from sue" in viewer.get(VIEWS).content.decode()
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.verb, entry.target) == ("sue", "share_view", "view ours")
    assert entry.data == {"search": "state:failed queue:mail"}


def test_shared_view_is_changed_by_its_person_and_removed_by_an_administrator_too(
    viewer: Client, sharer: Client, make_user: MakeUser
) -> None:
    view = save(sharer, "state=failed", "ours", shared="on")
    for client in (viewer, logged_in(may(make_user("shelly", "view_jobrecord"), "share_savedview"))):
        assert client.post(f"{VIEWS}{view.pk}/delete/").status_code == 403
        client.post(f"{VIEWS}{view.pk}/edit/", {"name": "theirs"})
    assert SavedView.objects.get().name == "ours"
    sharer.post(f"{VIEWS}{view.pk}/edit/", {"name": "all of ours", "shared": "on"})
    administrator = logged_in(may(make_user("ada", "view_jobrecord"), "delete_savedview"))
    assert "Remove all of ours" in administrator.get(VIEWS).content.decode()
    assert administrator.post(f"{VIEWS}{view.pk}/delete/").status_code == 302
    assert not SavedView.objects.exists()
    assert list(AuditEntry.objects.order_by("pk").values_list("username", "verb", "target")) == [
        ("sue", "share_view", "view ours"),
        ("sue", "change_view", "view all of ours"),
        ("ada", "remove_view", "view all of ours"),
    ]


def test_view_that_is_shared_no_longer_is_its_persons_again(viewer: Client, sharer: Client) -> None:
    view = save(sharer, "state=failed", "ours", shared="on")
    assert 'name="shared" id="id_shared" checked' in sharer.get(f"{VIEWS}{view.pk}/edit/").content.decode()
    sharer.post(f"{VIEWS}{view.pk}/edit/", {"name": "ours"})
    assert opened(viewer, view)[0] == VIEWS
    assert opened(sharer, view)[0] == f"{LIST}?state=failed"
    assert AuditEntry.objects.latest("pk").verb == "unshare_view"
    assert sharer.post(f"{VIEWS}{view.pk}/delete/").status_code == 302
    assert not SavedView.objects.exists()


def test_view_of_a_name_that_is_there_takes_its_place_where_that_is_said(sharer: Client) -> None:
    view = save(sharer, "state=failed", shared="on")
    assert "You have a view of this name" in refused(sharer, "state=deleted")
    save(sharer, "state=deleted", replace="on")
    changed = SavedView.objects.get()
    assert (changed.pk, changed.query, changed.is_shared) == (view.pk, "state=deleted", True)


def test_form_that_is_sent_twice_saves_once(viewer: Client) -> None:
    for _ in range(2):
        save(viewer, "state=failed", form_key="abc")
    assert SavedView.objects.count() == 1


@pytest.mark.parametrize(
    ("query", "name", "why"),
    [
        ("state=failed", " ", "Give the view a name."),
        ("state=failed", "x" * 61, "at most 60 characters"),
        ("state=failed", "a\u202eb", "characters that nobody sees"),
        ("", "mine", "This list has no filter"),
        ("before=7", "mine", "This list has no filter"),
        ("state=gone", "mine", "there is no state"),
        ("q=" + "+".join(["%C3%A4" * 280] * 3), "mine", "too long"),
        ("q=" + "%C3%A4" * 301, "mine", "at most 300 characters"),
    ],
)
def test_view_that_would_mean_nothing_is_refused(viewer: Client, query: str, name: str, why: str) -> None:
    assert why in refused(viewer, query, name)


def test_views_are_bounded(viewer: Client, sharer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "EACH", 2)
    monkeypatch.setattr(saved, "SHARED", 1)
    for number in range(2):
        save(viewer, "state=failed", str(number))
    assert "You have 2 views already" in refused(viewer, "state=failed", "2")
    save(sharer, "state=failed", "ours", shared="on")
    assert "1 views are shared already" in refused(sharer, "state=failed", "more", shared="on")


def test_view_of_a_sensitive_argument_is_not_shared(make_user: MakeUser) -> None:
    trusted = logged_in(may(make_user("tina", "view_jobrecord", "view_sensitive"), "share_savedview"))
    assert "args.card.number is sensitive" in refused(trusted, "q=args.card.number:4111", shared="on")
    view = save(trusted, "q=args.card.number:4111")
    trusted.post(f"{VIEWS}{view.pk}/edit/", {"name": "mine", "shared": "on"})
    assert not SavedView.objects.get().is_shared
    User.objects.get(username="tina").user_permissions.remove(Permission.objects.get(codename="view_sensitive"))
    address, html = opened(trusted, view)
    assert address == VIEWS
    assert "args.card.number:4111 was left out: args.card.number: this argument is sensitive" in html


@pytest.mark.parametrize(
    ("query", "address", "told"),
    [
        ("type=old.Gone&state=failed", f"{LIST}?type=old.Gone&state=failed", "No job type is called old.Gone here"),
        ("worker=gone-1.2.0", f"{LIST}?worker=gone-1.2.0", "No worker gone-1.2.0 is known"),
        (
            "state=gone&queue=mail",
            f"{LIST}?queue=mail",
            "The view “old”: state:gone was left out: state: there is no state",
        ),
        ("q=since:soon+refused&queue=mail", f"{LIST}?q=refused&queue=mail", "since:soon was left out"),
        ("q=since:soon", VIEWS, "Nothing of the view “old” can be read any more"),
        ("q=state:failed&state=deleted", VIEWS, "no job is both"),
        ("colour=red&queue=mail", f"{LIST}?queue=mail", "colour:red was left out: there is no filter"),
    ],
)
def test_view_that_means_less_than_it_did_says_so_and_shows_the_rest(
    make_user: MakeUser, query: str, address: str, told: str
) -> None:
    user = make_user("vera", "view_jobrecord")
    view = SavedView.objects.create(person=str(user.pk), name="old", query=query, saved_at=user.date_joined)
    client = logged_in(user)
    assert opened(client, view)[0] == address
    assert told in opened(client, view)[1]
    assert client.get(VIEWS).status_code == 200


def test_views_need_the_permission_to_see_jobs(nobody: Client) -> None:
    for path in (VIEWS, f"{VIEWS}1/", f"{VIEWS}new/"):
        assert nobody.get(path).status_code == 403
    assert nobody.post(f"{VIEWS}new/", {"name": "mine", "query": "state=failed"}).status_code == 403
