"""A failure group's page, and what people do there."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from handlers import deploys, job_scheduler
from handlers.folding import periods
from handlers.models import AttemptError, AuditEntry, Deploy, FailureGroup, GroupEvent, JobCount
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job

NAME = "3f2a9c0011223344"
URL = f"/admin/failures/{NAME}/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def group() -> FailureGroup:
    at = timezone.now() - timedelta(minutes=5)
    return FailureGroup.objects.create(
        pk=NAME, exception="httpx.ConnectError", frame="shop/jobs.py:42 in handle", message="connection refused",
        first_at=at - timedelta(days=3), last_at=at, count=7, first_version="1", last_version="2",
        versions=[["1", 3], ["2", 4]],
    )  # fmt: skip


@pytest.fixture
def changer(make_user: MakeUser) -> Client:
    held = ("view_jobrecord", "change_failuregroup", "retry_jobrecord", "delete_jobrecord", "run_bulkoperation")
    return logged_in(make_user("chris", *held))


def page(client: Client) -> str:
    answer = client.get(URL)
    assert answer.status_code == 200
    return answer.content.decode()


def post(client: Client, verb: str, **fields: Any) -> str:
    """What the page says after a form was sent."""
    answer = client.post(f"{URL}{verb}/", fields, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def told(html: str) -> str:
    """The messages, as text."""
    found = re.search(r'<ul class="messagelist">(.*?)</ul>', html, re.DOTALL)
    return text(found[1]) if found else ""


def text(html: str) -> str:
    """What a reader sees of it."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).replace(" ,", ",").strip()


def undo(client: Client, html: str) -> str:
    """What the page says after the button in its message."""
    form = re.search(r'<form method="post" action="([^"]+)" class="inline undo">(.*?)</form>', html, re.DOTALL)
    assert form
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[2])) | {"form_key": secrets.token_hex(4)}
    return client.post(form[1], fields, follow=True).content.decode()


def test_page_says_what_broke_since_when_for_whom(changer: Client, group: FailureGroup) -> None:
    for number in range(4):
        queue = "mail" if number else "default"
        make_job(fingerprint=NAME, queue=queue, payload={"country": "DE", "order": number})
    make_job(State.SUCCEEDED, fingerprint=NAME, payload={"country": "FR"})
    AttemptError.objects.update(version="2")
    for period, at in periods(timezone.now().replace(second=0, microsecond=0)):
        for outcome, number in (("failed", 4), ("retried", 3)):
            JobCount.objects.create(
                period=period, at=at, job_type="app.Note", outcome=outcome, fingerprint=NAME, count=number
            )
    deploys.mark("2")
    html, words = page(changer), text(page(changer))
    for told in (
        "httpx.ConnectError in app.Note", "connection refused", "shop/jobs.py:42 in handle", "gateway.charge(order)",
        "7 failed attempts in 24 hours", "4 failed for good, 3 failed and run again", "deployed 2",
        "7 in 1 hour, 7 in 24 hours (3 of these run again), 7 in 7 days, 7 ever", "in version 1",
        "app.Note on mail 3", "app.Note on default 1", 'country="DE" 4 of 4', "Retry 4 jobs …",
        "2 (4), 1 (3)", "1 library frame",
    ):  # fmt: skip
        assert told in words, told
    assert f"verb=retry&amp;q=group%3A{NAME}&amp;state=failed" in html
    assert f"?q=group%3A{NAME}%20args.country%3ADE&amp;state=failed" in html.replace("group:", "group%3A")
    assert "order=" not in re.findall(r'id="group-shared".*?</section>', html, re.DOTALL)[0]
    thirty = text(changer.get(f"{URL}?span=30d").content.decode())
    assert "7 failed attempts in 30 days" in thirty


def test_page_of_a_group_whose_attempts_are_erased_says_so(viewer: Client, group: FailureGroup) -> None:
    words = text(page(viewer))
    assert "verb=retry" not in page(viewer)
    assert "Its failed attempts are erased" in words
    assert "None is left" in words
    assert viewer.get("/admin/failures/0000000000000000/").status_code == 404
    assert viewer.get(f"/admin/failures/{'x' * 60}/").status_code == 404


def test_shared_arguments_hide_what_is_sensitive(
    make_user: Callable[..., User], viewer: Client, group: FailureGroup
) -> None:
    for _ in range(3):
        make_job(job_type="app.Pay", fingerprint=NAME, payload={"order_id": 7, "token": "tok-secret-1"})
    seen = page(viewer)
    assert "order_id=7" in seen
    assert "tok-secret-1" not in seen
    assert "token=" not in re.findall(r'id="group-shared".*?</section>', seen, re.DOTALL)[0]
    assert "tok-secret-1" in page(logged_in(make_user("paula", "view_jobrecord", "view_sensitive")))


def test_group_is_resolved_and_that_undone(changer: Client, group: FailureGroup) -> None:
    html = post(changer, "resolve", reason="mended", expect=group.mark)
    assert told(html) == "Resolved. The next failure opens it again. Undo"
    assert AuditEntry.objects.get().reason == "mended"
    assert told(undo(changer, html)) == "Undone: the failure group is as it was."
    assert FailureGroup.objects.get().state == "open"
    assert told(undo(changer, html)) == "It has changed since: nothing to undo."
    assert list(GroupEvent.objects.order_by("pk").values_list("kind", flat=True)) == ["resolved", "reopened"]


def test_group_is_resolved_in_a_version_that_the_page_offers(changer: Client, group: FailureGroup) -> None:
    deploys.mark("3")
    offered = re.findall(r'<option value="([^"]*)">([^<]*)</option>', page(changer).split('name="version"')[1])[:5]
    assert [value for value, _ in offered] == ["", "next", "3", "2", "1"]
    words = told(post(changer, "resolve", version="3"))
    assert words == "Resolved. A failure of version 3, or of a later one, opens it again. Undo"
    post(changer, "reopen")
    assert "not in use yet opens it again" in told(post(changer, "resolve", version="next"))
    assert "Nothing was done. Must be one line" in told(post(changer, "resolve", version="x" * 65))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Ignored. It stays so until somebody opens it again."),
        ({"for": "1d"}, "Ignored. It stays so until 20"),
        ({"times": "5"}, "Ignored. It stays so until 5 more attempts fail."),
    ],
)
def test_group_is_ignored_for_so_long(changer: Client, group: FailureGroup, fields: dict[str, str], words: str) -> None:
    html = post(changer, "ignore", **fields)
    assert words in told(html)
    assert "Open again" in html
    before = FailureGroup.objects.get()
    # What opened it can be undone as well: it is ignored as it was.
    assert "is as it was" in told(undo(changer, post(changer, "reopen")))
    after = FailureGroup.objects.get()
    for name in ("state", "ignored_until", "ignored_to"):
        assert getattr(after, name) == getattr(before, name)


@pytest.mark.parametrize(
    ("verb", "fields", "words"),
    [
        ("ignore", {"for": "9y"}, "There is no span"),
        ("ignore", {"times": "-1"}, "Must be a whole number"),
        ("note", {"text": " "}, "A note has from 1 to 2,000 characters"),
        ("assign", {"user": "nobody"}, "There is no such account"),
        ("assign", {"user": ""}, "Nothing was done: that was so already."),
    ],
)
def test_nonsense_is_told_and_nothing_done(
    changer: Client, group: FailureGroup, verb: str, fields: dict[str, str], words: str
) -> None:
    assert words in told(post(changer, verb, **fields))
    assert not GroupEvent.objects.exists()


def test_a_page_that_is_outdated_changes_nothing(changer: Client, group: FailureGroup) -> None:
    job_scheduler.ignore_group(NAME, by="ann")
    said = told(post(changer, "resolve", expect=group.mark))
    assert said == "Nothing was done: it has changed since the page was made. It is ignored, by ann."


def test_assignee_and_notes(changer: Client, group: FailureGroup, make_user: MakeUser) -> None:
    olga, customer = make_user("olga"), make_user("carl", is_staff=False)
    html = page(changer)
    assert ">olga</option>" in html
    assert ">carl</option>" not in html
    assert told(post(changer, "assign", user=str(olga.pk))) == "Assigned to olga."
    assert "There is no such account" in told(post(changer, "assign", user=str(customer.pk)))
    html = post(changer, "note", text="<b>The certificate</b>\r\nis over.", form_key="k")
    assert "&lt;b&gt;The certificate&lt;/b&gt;<br>is over." in html
    assert "was sent before" in told(post(changer, "note", text="<b>The certificate</b>\r\nis over.", form_key="k"))
    assert "assigned it to olga" in html
    assert GroupEvent.objects.filter(kind="note").count() == 1
    assert told(post(changer, "assign", user="")) == "It is nobody's now."


def test_who_may_only_look_is_shown_no_forms(viewer: Client, group: FailureGroup) -> None:
    FailureGroup.objects.update(assignee=User.objects.create_user("ann", is_staff=True))
    html = page(viewer)
    assert "Assigned to ann." in html
    assert "/resolve/" not in html
    assert "/note/" not in html


def test_text_of_a_group_cannot_break_its_page(changer: Client, group: FailureGroup) -> None:
    evil = "<script>alert(1)</script>\u202e"
    make_job(job_type=evil, queue="q", payload={evil: evil}, fingerprint=NAME, message=evil, traceback=evil)
    FailureGroup.objects.update(
        exception=evil, frame=evil, message=evil, first_version=evil, last_version=evil, versions=[[evil, 1]],
        state="resolved", state_by=evil, state_at=timezone.now(), fixed_in=evil,
    )  # fmt: skip
    GroupEvent.objects.create(group=group, kind="note", at=timezone.now(), actor=evil, text=evil)
    Deploy.objects.create(version=evil, at=timezone.now())
    for url in (URL, "/admin/failures/?state=all"):
        html = changer.get(url).content.decode()
        assert "<script>alert(1)" not in html
        assert "\u202e" not in html


def test_page_needs_few_statements(
    changer: Client, group: FailureGroup, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(30):
        make_job(fingerprint=NAME)
    page(changer)
    with django_assert_max_num_queries(33):
        page(changer)


def test_other_pages_lead_to_the_group(superuser: Client, group: FailureGroup) -> None:
    job = make_job(fingerprint=NAME)
    FailureGroup.objects.update(first_at=timezone.now())
    for url in ("/admin/", f"/admin/jobs/jobrecord/{job.pk}/change/"):
        assert f'href="{URL}"' in superuser.get(url).content.decode(), url
    post(superuser, "resolve")
    assert f'href="{URL}"' in superuser.get("/admin/jobs/auditentry/").content.decode()
    assert f'href="{URL}"' not in superuser.get("/admin/").content.decode(), "it is nobody's business now"
