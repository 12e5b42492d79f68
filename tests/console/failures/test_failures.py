"""The page of failure groups."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from handlers.folding import periods
from handlers.models import FailureGroup, JobCount, JobRecord
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job

URL = "/admin/failures/"

pytestmark = pytest.mark.django_db


def group(name: str = "abc123", age: timedelta = timedelta(minutes=1), **fields: Any) -> FailureGroup:
    """A group whose last failure was so long ago."""
    at = timezone.now() - age
    made = {"exception": "shop.CardDeclined", "frame": "shop/jobs.py:42 in charge", "message": "declined", "count": 3}
    return FailureGroup.objects.create(fingerprint=name, **({"first_at": at, "last_at": at} | made | fields))


def listed(client: Client, query: str = "") -> list[str]:
    """The groups of all pages, in their order."""
    seen: list[str] = []
    url: str | None = f"{URL}?{query}"
    while url:
        html = client.get(url).content.decode()
        seen += re.findall(r'<tr id="group-(\w+)"', html)
        more = re.search(r'href="(\?[^"]*)" rel="next"', html)
        url = URL + more[1].replace("&amp;", "&") if more else None
    return seen


def test_page_says_what_it_means_when_nothing_failed(viewer: Client) -> None:
    assert "No attempt has failed" in viewer.get(URL).content.decode()


def test_group_shows_what_broke_where_and_how_many_are_failed_now(viewer: Client) -> None:
    group()
    make_job(State.FAILED, fingerprint="abc123")
    make_job(State.FAILED, fingerprint="other")
    for period, at in periods(timezone.now().replace(second=0, microsecond=0)):
        JobCount.objects.create(
            period=period, at=at, job_type="app.Note", outcome="failed", fingerprint="abc123", count=7
        )
    html = viewer.get(URL).content.decode()
    for words in ("CardDeclined in app.Note", "shop/jobs.py:42 in charge", "declined", "sparkline", "New"):
        assert words in html
    assert re.search(r"q=group:abc123&amp;state=failed\">1<", html)
    assert 'href="/admin/failures/abc123/"' in html


def test_group_counts_what_is_failed_now_up_to_a_cap(viewer: Client) -> None:
    group()
    JobRecord.objects.bulk_create(
        JobRecord(
            state=State.FAILED, token="t", job_type="x", queue="q", fingerprint="abc123", created_at=timezone.now()
        )
        for _ in range(1_001)
    )
    group("few")
    make_job(fingerprint="few")
    html = viewer.get(URL).content.decode()
    assert 'q=group:abc123&amp;state=failed">1,000+<' in html
    assert 'q=group:few&amp;state=failed">1<' in html
    tabs = (
        viewer.get("/admin/jobs/jobrecord/?q=group:abc123").content.decode().split("state-tabs")[1].split("</nav>")[0]
    )
    assert 'Failed <span class="count">1,000+</span>' in tabs  # the same number where its link leads


def test_group_tells_what_failed_for_good_from_what_runs_again_as_the_chart_does(viewer: Client) -> None:
    group()
    make_job()
    for period, at in periods(timezone.now().replace(second=0, microsecond=0)):
        for outcome, number in (("failed", 417), ("retried", 427)):
            JobCount.objects.create(
                period=period, at=at, job_type="app.Note", outcome=outcome, fingerprint="abc123", count=number
            )
            JobCount.objects.create(period=period, at=at, outcome=outcome, count=number)
    html = viewer.get(URL).content.decode()
    assert re.search(r">844 <span class=\"quiet again\">\(427 again\)</span>", html)
    chart = viewer.get("/admin/?span=24h").content.decode()
    assert "0 succeeded, 417 failed, 427 failed and run again" in chart


def test_group_first_seen_long_ago_is_not_new(viewer: Client) -> None:
    group(first_at=timezone.now() - timedelta(days=3))
    assert "state-new" not in viewer.get(URL).content.decode()


def test_pages_follow_each_other_without_gap_or_repetition(viewer: Client) -> None:
    for number in range(60):
        group(f"g{number:03}", age=timedelta(minutes=number // 3))
    seen = listed(viewer)
    assert len(seen) == 60
    assert len(set(seen)) == 60
    assert seen[0] == "g002"


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "after=2026-99-99T00:00~abc",
        "after=~",
        "after=1~~",
        "after=9~2026-01-01T00:00~abc",
        "type=%00",
        "type=" + "x" * 500,
        "state=x",
        "sort=x",
        "assignee=x",
        "sort=day&after=x~~abc",
    ],
)
def test_garbage_in_the_address_is_told_and_the_first_page_shown(viewer: Client, query: str) -> None:
    group()
    answer = viewer.get(f"{URL}?{query}")
    assert answer.status_code == 200
    assert "There is no such" in answer.content.decode()
    assert "shop.CardDeclined" in answer.content.decode()


def test_type_narrows_to_the_groups_that_it_failed_in(viewer: Client) -> None:
    group("aaa")
    group("bbb", exception="shop.OutOfStock")
    JobCount.objects.create(
        period="day", at=timezone.now(), job_type="app.Note", outcome="failed", fingerprint="bbb", count=1
    )
    html = viewer.get(f"{URL}?type=app.Note").content.decode()
    assert "shop.OutOfStock" in html
    assert "shop.CardDeclined" not in html


def test_text_of_a_failure_cannot_break_the_page(viewer: Client) -> None:
    group(message="<script>alert(1)</script>\u202e", exception="<b>x", frame="<i>y")
    html = viewer.get(URL).content.decode()
    assert "<script>alert(1)" not in html
    assert "\u202e" not in html
    assert "<b>x" not in html


def test_verbs_are_offered_to_who_may_start_them_on_all_that_match(make_user: MakeUser) -> None:
    group()
    make_job(State.FAILED, fingerprint="abc123")
    for missing in ("view_jobrecord", "retry_jobrecord", "run_bulkoperation", ""):
        held = {"view_jobrecord", "retry_jobrecord", "run_bulkoperation"} - {missing}
        html = logged_in(make_user(f"no-{missing}", *held)).get(URL).content.decode()
        assert ("Retry …" in html) == (not missing)


def test_page_is_refused_without_permission(nobody: Client) -> None:
    assert nobody.get(URL).status_code == 403


def test_page_needs_few_statements(viewer: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(30):
        group(f"g{number}")
    viewer.get(URL)
    with django_assert_max_num_queries(17):
        viewer.get(URL)


def test_trouble_comes_first_and_what_is_put_away_is_behind_a_filter(viewer: Client, make_user: MakeUser) -> None:
    old = timezone.now() - timedelta(days=9)
    hour, day = timedelta(hours=1), timedelta(days=1)
    group("open", first_at=old)
    group("new", age=hour)
    group("back", age=day, state="regressed", first_at=old)
    group("ignored", age=hour, state="ignored")
    group("resolved", age=hour, state="resolved")
    assert listed(viewer) == ["back", "new", "open"]
    assert listed(viewer, "state=all") == ["back", "new", "open", "ignored", "resolved"]
    for state, names in {
        "regressed": ["back"],
        "new": ["new"],
        "ignored": ["ignored"],
        "resolved": ["resolved"],
    }.items():
        assert listed(viewer, f"state={state}") == names
    html = viewer.get(URL).content.decode()
    tabs = re.findall(r">(\w+) <span class=\"count\">(\d+)</span>", html)
    assert tabs == [
        ("Open", "3"), ("Regressed", "1"), ("New", "1"), ("Ignored", "1"), ("Resolved", "1"), ("All", "5"),
    ]  # fmt: skip
    ann = make_user("ann", "view_jobrecord")
    FailureGroup.objects.filter(pk="open").update(assignee=ann)
    assert listed(logged_in(ann), "assignee=me") == ["open"]
    assert listed(viewer, "assignee=nobody") == ["back", "new"]
    assert '<td class="assignee">ann</td>' in viewer.get(URL).content.decode()


@pytest.mark.parametrize("sort", ["trouble", "last", "first", "day", "failed"])
def test_each_order_goes_through_all_groups_once(viewer: Client, sort: str) -> None:
    at = timezone.now().replace(minute=0, second=0, microsecond=0)
    for number in range(70):
        name = f"g{number:03}"
        group(name, age=timedelta(minutes=number // 3), first_at=timezone.now() - timedelta(days=number % 5))
        JobCount.objects.create(
            period="hour", at=at, job_type="app.Note", outcome="failed", fingerprint=name, count=number % 7
        )
        for _ in range(number % 3):
            make_job(fingerprint=name)
    seen = listed(viewer, f"sort={sort}")
    assert len(seen) == len(set(seen)) == 70
    numbers = [int(name[1:]) for name in seen]
    if sort == "day":
        assert [number % 7 for number in numbers] == sorted((number % 7 for number in numbers), reverse=True)
    if sort == "failed":
        assert [number % 3 for number in numbers] == sorted((number % 3 for number in numbers), reverse=True)
    if sort == "first":
        assert [number % 5 for number in numbers] == sorted(number % 5 for number in numbers)


def test_groups_of_one_exception_are_told_apart_by_their_types(viewer: Client) -> None:
    for number in range(4):
        name = f"g{number}"
        job = make_job(job_type=f"shop.Send{number}", fingerprint=name)
        frame = "" if number == 0 else f"shop/jobs.py:{number} in handle"
        own = "shop.Send0" if number == 0 else ""
        group(name, exception="httpx.ConnectError", frame=frame, job_type=own, last_job_id=job.pk)
    JobCount.objects.bulk_create(
        JobCount(period="day", at=timezone.now(), job_type=f"shop.Send{n}", outcome="failed", fingerprint="g2", count=n)
        for n in (2, 5)
    )
    html = viewer.get(URL).content.decode()
    headings = re.findall(r'href="/admin/failures/g\d/" title="httpx.ConnectError">([^<]+)</a>', html)
    assert sorted(headings) == [
        "ConnectError in shop.Send0", "ConnectError in shop.Send1", "ConnectError in shop.Send3",
        "ConnectError in shop.Send5 and 1 more",
    ]  # fmt: skip


def test_addresses_of_before_still_lead_to_their_page(viewer: Client) -> None:
    at = group("aaa").last_at
    group("bbb", age=timedelta(hours=1), first_at=timezone.now() - timedelta(days=9))
    old = f"{URL}?after={at.isoformat().replace('+', '%2B')}~aaa"
    html = viewer.get(old).content.decode()
    assert "There is no such page" not in html
