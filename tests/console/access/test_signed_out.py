"""A form that is sent when the session is over: told that nothing was done, and given back as it was sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import set_script_prefix

from handlers.models import AuditEntry, BulkOperation, JobRecord, StoredPolicy
from handlers.policy_edits import save_policy
from handlers.states import State
from tests.console.conftest import MakeUser
from tests.console.factories import make_job

pytestmark = [pytest.mark.django_db, pytest.mark.once]
ENQUEUE = "/admin/job-types/app.Sleep/enqueue/"
SENT = {"arg-seconds": "1.5", "arg-text": 'zzz "<ü>"\r\nnext', "when": "delay", "delay": "5", "queue": "default"}
SENT |= {"reason": "a try"}


class Person(Client):
    """A browser that keeps the rules: it sends the tokens of the page that it is on, and where it was."""

    def __init__(self) -> None:
        super().__init__(enforce_csrf_checks=True)
        self.at = ""
        self.html = ""

    def look(self, url: str) -> str:
        """Open a page."""
        return self._seen(url, self.get(url))

    def send(self, url: str, fields: dict[str, Any], **headers: str) -> Any:
        """Send a form of the page that was opened last."""
        token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.html)
        came = {"Referer": f"http://testserver{self.at}", "Origin": "http://testserver"} | headers
        answer = self.post(url, {"csrfmiddlewaretoken": token[0] if token else "", **fields}, headers=came)
        self._seen(self.at, answer)
        return answer

    def sign_in(self, **more: str) -> None:
        """Fill in the login that is shown."""
        (action,) = re.findall(r'<form action="([^"]*)" method="post" id="login-form"', self.html)
        hidden = {
            name: unescape(value) for name, value in re.findall(r'name="(_asked|next)" value="([^"]*)"', self.html)
        }
        self.send(unescape(action), {"username": "olga", "password": "secret", **hidden, **more})

    def given_back(self) -> tuple[str, dict[str, list[str]]]:
        """The address and the fields of the form that is given back."""
        (form,) = re.findall(r'<form method="post" action="([^"]*)"(?: id="resume")?>.*?</form>', self.html, re.DOTALL)
        fields: dict[str, list[str]] = {}
        for name, value in re.findall(r'<textarea name="([^"]*)" hidden>\n(.*?)</textarea>', self.html, re.DOTALL):
            fields.setdefault(name, []).append(unescape(value))
        return unescape(form), fields

    def _seen(self, url: str, answer: Any) -> str:
        self.at, self.html = url, answer.content.decode()
        return self.html


@pytest.fixture
def olga(make_user: MakeUser) -> Person:
    """Signed in, and may do everything."""
    make_user("olga", is_superuser=True)
    person = Person()
    person.look("/admin/login/")
    person.sign_in()
    return person


def drafted(person: Person) -> str:
    """What the page shows that the form is given back to."""
    url, fields = person.given_back()
    assert 'id="resume"' in person.html
    person.send(url, fields)
    assert "Nothing was done. This is the form as you sent it" in person.html
    return person.html


def kept_nowhere(text: str) -> bool:
    """Whether no session holds ``text``."""
    return all(text not in json.dumps(session.get_decoded()) for session in Session.objects.all())


def test_enqueue_form_is_given_back_after_the_login(olga: Person) -> None:
    olga.look(ENQUEUE)
    Session.objects.all().delete()
    answer = olga.send(ENQUEUE, SENT)
    assert answer.status_code == 403
    assert "nothing was done. Sign in, and you get back what you sent" in olga.html
    olga.sign_in(password="wrong")
    assert "you get back what you sent" in olga.html, "a slip does not lose it"
    olga.sign_in()
    assert "You had been signed out when you sent this, so nothing was done." in olga.html
    html = drafted(olga)
    assert f'value="{"zzz &quot;&lt;ü&gt;&quot;"}' in html or "zzz &quot;&lt;ü&gt;&quot;" in html
    assert 'name="reason" value="a try"' in html
    assert '<option value="delay" selected>' in html
    assert not JobRecord.objects.exists()
    assert kept_nowhere("zzz")
    assert "zzz" not in "".join(header for answer in [olga.get("/admin/")] for header in answer.headers.values())
    olga.look(ENQUEUE)
    olga.send(ENQUEUE, SENT)
    assert JobRecord.objects.count() == 1


@pytest.fixture
def prefix() -> Iterator[str]:
    """The site lies under a prefix."""
    set_script_prefix("/ops/")  # as the WSGI handler does
    yield "/ops"
    set_script_prefix("/")


def test_form_is_given_back_under_a_prefix(olga: Person, prefix: str) -> None:
    olga.defaults["SCRIPT_NAME"] = prefix
    olga.look(ENQUEUE)
    Session.objects.all().delete()
    olga.at = f"/ops{ENQUEUE}"
    olga.send(ENQUEUE, SENT)
    olga.html = olga.html.replace('action="/ops', 'action="')  # the server in front takes it off
    olga.sign_in()
    assert olga.given_back()[0] == f"/ops{ENQUEUE}"
    assert 'id="resume"' in olga.html


def test_every_form_is_given_back_as_it_was_sent(olga: Person) -> None:
    job, done = make_job(), make_job(State.SUCCEEDED)
    policy = save_policy(None, {"name": "mail-slow", "max_attempts": 3})
    viewer, user = Group.objects.get_or_create(name="Viewer")[0], User.objects.create(username="vera")
    edited = f"/admin/jobs/jobrecord/{job.pk}/edit/"
    forms: list[tuple[str, dict[str, str], str]] = [
        (edited, {"arg-text": "mended", "expect": job.token, "reason": "typed"}, "mended"),
        (f"{edited}?raw=1", {"raw": '{"text": "mended"}', "expect": job.token}, "mended"),
        ("/admin/bulk/new/?verb=requeue&state=succeeded", {"reason": "again", "rate_per_second": "7.5"}, "7.5"),
        ("/admin/retry-policies/new/", {"name": "other", "do": "save", "backoff": "fixed"}, "other"),
        (f"/admin/retry-policies/{policy.pk}/", {"name": "renamed", "do": "save", "version": "1"}, "renamed"),
        ("/admin/auth/user/add/", {"username": "newbie", "password1": "hidden-word", "password2": "x"}, "newbie"),
        (f"/admin/auth/user/{user.pk}/change/", {"username": "veronica"}, "veronica"),
        (f"/admin/auth/group/{viewer.pk}/change/", {"name": "Watcher"}, "Watcher"),
    ]
    for url, fields, typed in forms:
        olga.look(url)
        Session.objects.all().delete()
        olga.send(url, fields)
        assert "hidden-word" not in olga.html, "no password is carried"
        olga.sign_in()
        assert typed in drafted(olga), url
        assert kept_nowhere(typed)
    job.refresh_from_db()
    assert job.state == State.FAILED
    assert [*StoredPolicy.objects.values_list("name", flat=True)] == ["mail-slow"]
    assert {*User.objects.values_list("username", flat=True)} == {"olga", "vera"}
    assert not BulkOperation.objects.exists()
    assert not AuditEntry.objects.exclude(verb="sign_in").exists()
    assert JobRecord.objects.get(pk=done.pk).state == State.SUCCEEDED


def test_button_is_given_back_with_what_was_typed_beside_it(olga: Person) -> None:
    job = make_job()
    here = f"/admin/jobs/jobrecord/{job.pk}/change/?_changelist_filters=state%3Dfailed"
    olga.look(here)
    Session.objects.all().delete()
    olga.send(f"/admin/jobs/jobrecord/{job.pk}/retry/", {"expect": f"{job.pk}:{job.token}", "reason": "the gateway"})
    olga.sign_in()
    assert told(olga) == {"What you sent": f"Retry job {job.pk}", "Reason": "the gateway"}
    assert f'href="{here}"' in unescape(olga.html)
    job.refresh_from_db()
    assert job.state == State.FAILED
    url, fields = olga.given_back()
    assert "Retried job" in olga.get(olga.send(url, fields).headers["Location"]).content.decode()
    assert AuditEntry.objects.exclude(verb="sign_in").get().reason == "the gateway"


def told(person: Person) -> dict[str, str]:
    """What the page says was sent."""
    return dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", person.html))


def test_what_a_button_would_have_done_is_said_in_words(olga: Person) -> None:
    ids = [make_job().pk, make_job().pk]
    buttons: list[tuple[str, dict[str, Any], dict[str, str]]] = [
        ("/admin/queues/mail/pause/", {"until": "2h"}, {"What you sent": "Pause queue mail", "Until": "2h"}),
        (
            "/admin/jobs/jobrecord/?state=failed",
            {"action": "delete", "index": "0", "select_across": "0", "_selected_action": ids, "expect": "7:x"},
            {"What you sent": "Delete, 2 ticked"},
        ),
        ("/admin/bulk/7/stop/", {"reason": ""}, {"What you sent": "Bulk stop operation 7"}),
    ]
    for url, fields, said in buttons:
        olga.look("/admin/")
        Session.objects.all().delete()
        olga.send(url, fields)
        olga.sign_in()
        assert told(olga) == said


def test_log_out_when_the_session_is_over_leads_to_the_login_and_is_not_given_back(olga: Person) -> None:
    olga.look("/admin/")
    Session.objects.all().delete()
    answer = olga.send("/admin/logout/", {})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")
    olga.look("/admin/login/?next=/admin/")
    assert "nothing was done" not in olga.html
    olga.sign_in()
    assert "nothing was done" not in olga.html.lower()


def test_form_of_another_tab_is_given_back_after_a_new_login(olga: Person) -> None:
    olga.look(ENQUEUE)
    stale = olga.html
    olga.look("/admin/login/?next=/admin/")
    other = Person()
    other.cookies = olga.cookies
    other.look("/admin/")
    other.send("/admin/logout/", {})
    other.look("/admin/login/")
    other.sign_in()
    olga.at, olga.html = ENQUEUE, stale
    answer = olga.send(ENQUEUE, SENT)
    assert "You signed in anew after this page was made, so nothing was done." in olga.html
    assert answer.status_code in (200, 403)
    assert "zzz" in drafted(olga)
    assert not JobRecord.objects.exists()


def test_login_form_of_another_tab_leads_on(olga: Person) -> None:
    person = Person()
    person.cookies = olga.cookies
    person.html = '<input name="csrfmiddlewaretoken" value="%s">' % ("x" * 64)
    answer = person.send("/admin/login/", {"username": "olga", "password": "secret", "next": "/admin/queues/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/queues/")
    answer = person.send("/admin/login/", {"username": "olga", "next": "https://evil.example/"})
    assert answer.headers["Location"] == "/admin/"


def test_old_login_form_comes_again_and_says_why(make_user: MakeUser) -> None:
    make_user("olga", is_superuser=True)
    person = Person()
    person.look("/admin/login/?next=/admin/queues/")
    assert "errornote" not in person.html
    person.cookies.clear()  # the browser keeps none, or another login came between
    person.sign_in()
    assert "the form was an old one, or the browser keeps no cookies" in person.html
    person.sign_in()
    assert person.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example", "Referer": "https://evil.example/"}, {"Origin": "null"}]
)
def test_form_of_another_site_is_given_back_to_nobody(olga: Person, headers: dict[str, str]) -> None:
    olga.html = ""
    answer = olga.send(ENQUEUE, SENT, **headers)
    assert answer.status_code == 403
    assert "zzz" not in olga.html
    assert "CSRF verification failed" in olga.html


@pytest.mark.parametrize(
    "asked",
    [
        "{}",
        "[1,2]",
        "[[",
        '["https://evil.example/", [], "/admin/"]',
        '["/admin/queues/", [], "//evil.example"]',
        "[" * 9000,
    ],
)
def test_nothing_is_given_back_that_no_page_of_ours_made(olga: Person, asked: str) -> None:
    olga.look("/admin/")
    olga.send("/admin/logout/", {})
    olga.look("/admin/login/")
    olga.sign_in(_asked=asked)
    assert "nothing was done" not in olga.html.lower()
    assert "evil" not in olga.html


def test_form_that_is_too_long_is_said_to_be_lost(olga: Person) -> None:
    olga.look(ENQUEUE)
    Session.objects.all().delete()
    olga.send(ENQUEUE, SENT | {"arg-text": "z" * 600_000})
    assert len(olga.html) < 50_000
    olga.sign_in()
    assert "too long to be kept" in olga.html


def test_address_of_a_button_opened_as_a_page_says_what_it_is(olga: Person) -> None:
    answer = olga.get(f"/admin/jobs/jobrecord/{make_job().pk}/retry/")
    assert answer.status_code == 405
    assert "Nothing was done" in answer.content.decode()
