"""Live parts, times and keys in a real browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from dashboard.bulk import new as bulk
from handlers.folding import periods
from handlers.models import JobCount, JobRecord
from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]

ASKS = "/admin/"


@pytest.fixture
def overview(live_server: LiveServer, new_page: NewPage) -> Page:
    """The Overview of someone five hours behind UTC, whose clock the test moves; ten jobs wait."""
    User.objects.create_superuser("admin", password="secret")
    for _ in range(10):
        make_job(State.ENQUEUED)
    make_job(age=timedelta(minutes=3, seconds=5))
    page = new_page(viewport={"width": 1280, "height": 900}, timezone_id="America/Bogota")
    page.clock.install()
    sign_in(page, live_server.url, "admin")
    return page


def test_tiles_follow_without_a_reload(overview: Page) -> None:
    tile = overview.locator(".tile-enqueued .tile-count")
    expect(tile).to_have_text("10")
    make_job(State.ENQUEUED)
    overview.clock.fast_forward(8_000)
    expect(tile).to_have_text("11")


def test_nothing_moves_under_the_focus(overview: Page) -> None:
    overview.locator(".tile-enqueued").focus()
    make_job(State.ENQUEUED)
    with overview.expect_response(lambda response: response.url.endswith(ASKS)):
        overview.clock.fast_forward(8_000)
    expect(overview.locator(".tile-enqueued .tile-count")).to_have_text("10")


def test_opened_table_stays_open(overview: Page) -> None:
    overview.locator(".chart-table summary").evaluate_all("them => them.forEach(one => one.click())")
    make_job(State.ENQUEUED)
    overview.clock.fast_forward(8_000)
    expect(overview.locator(".tile-enqueued .tile-count")).to_have_text("11")


def test_chart_is_called_by_the_operators_clock(overview: Page) -> None:
    called = re.compile(r"Attempts that ended from \d\d:\d\d to \d\d:\d\d America/Bogota: ")
    expect(overview.locator(".throughput svg.plot")).to_have_attribute("aria-label", called)
    assert "UTC" not in (overview.locator(".throughput svg.plot").get_attribute("aria-label") or "")


def test_server_that_does_not_answer_is_said_with_the_time_of_the_data(overview: Page) -> None:
    overview.evaluate("() => { window.reach = window.fetch; window.fetch = async () => { throw TypeError('away') } }")
    overview.clock.fast_forward(8_000)
    expect(overview.locator("#live-status")).to_contain_text("Live data as of")
    overview.evaluate("() => { window.fetch = window.reach }")
    overview.clock.fast_forward(20_000)
    expect(overview.locator("#live-status")).to_be_hidden()


def test_count_of_a_bulk_operation_follows_by_itself_and_is_asked_for_once(
    overview: Page, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    asked: list[str] = []
    overview.on("request", lambda request: asked.append(request.headers.get("x-live", "")))
    overview.goto(f"{live_server.url}/admin/bulk/new/?verb=delete&state=enqueued")
    expect(overview.locator("#bulk-start")).to_have_text("Delete 10 jobs")
    expect(overview.locator("#bulk-title")).to_have_text("Delete 10 jobs?")
    overview.clock.fast_forward(60_000)
    with overview.expect_response("**/admin/jsi18n/"):  # one that is sure to come after any other
        overview.evaluate("() => fetch('/admin/jsi18n/')")
    assert [parts for parts in asked if parts] == ["banners,bulk-title,bulk-start"]


def test_page_of_a_job_that_has_ended_stops_asking(overview: Page, live_server: LiveServer) -> None:
    job = make_job(State.PROCESSING)
    overview.goto(f"{live_server.url}/admin/jobs/jobrecord/{job.pk}/change/")
    JobRecord.objects.filter(pk=job.pk).update(state=State.SUCCEEDED, finished_at=timezone.now())
    overview.clock.fast_forward(8_000)
    overview.locator("h1 .state-succeeded").wait_for()
    asked: list[str] = []
    overview.on("request", lambda request: asked.append(request.url))
    overview.clock.fast_forward(60_000)
    with overview.expect_response("**/admin/jsi18n/"):  # one that is sure to come after any other
        overview.evaluate("() => fetch('/admin/jsi18n/')")
    assert asked == [f"{live_server.url}/admin/jsi18n/"]


def test_times_show_the_operators_zone_and_utc(overview: Page) -> None:
    title = overview.locator("#last-failures time").first.get_attribute("title") or ""
    assert "America/Bogota" in title
    assert "UTC" in title


def test_question_mark_shows_the_keys_and_slash_finds_the_search(overview: Page) -> None:
    overview.keyboard.press("?")
    expect(overview.get_by_role("dialog", name="Keys")).to_be_visible()
    overview.keyboard.press("Escape")
    overview.keyboard.press("/")
    expect(overview.get_by_role("searchbox", name="Search jobs")).to_be_focused()
    overview.keyboard.type("id:7")
    overview.keyboard.press("Enter")
    overview.wait_for_url("**/admin/jobs/jobrecord/?q=id%3A7")


@pytest.mark.parametrize("where", ["/admin/failures/", "/admin/job-types/", "/admin/queues/"])
def test_slash_searches_jobs_wherever_no_list_has_a_search_of_its_own(
    overview: Page, live_server: LiveServer, where: str
) -> None:
    overview.goto(live_server.url + where)
    overview.keyboard.press("/")
    expect(overview.get_by_role("searchbox", name="Search jobs")).to_be_focused()
    overview.set_viewport_size({"width": 390, "height": 844})  # where there is room for a glass only
    overview.locator("h1").click()
    overview.keyboard.press("/")
    overview.wait_for_url("**/admin/jobs/jobrecord/")
    expect(overview.locator("#searchbar")).to_be_focused()


def test_slash_searches_the_list_that_has_a_search_also_from_a_tick_box(
    overview: Page, live_server: LiveServer
) -> None:
    for where in ("/admin/auth/user/", "/admin/jobs/jobrecord/"):
        overview.goto(live_server.url + where)
        overview.locator("input.action-select").first.focus()
        overview.keyboard.press("/")
        expect(overview.locator("#searchbar")).to_be_focused()
        assert overview.url == live_server.url + where


@pytest.mark.parametrize("span", ["1h", "7d"])
def test_chart_says_its_times_in_one_zone(overview: Page, live_server: LiveServer, span: str) -> None:
    minute = timezone.now().replace(second=0, microsecond=0)
    for period, at in periods(minute):
        JobCount.objects.create(period=period, at=at, outcome="failed", count=3)
    overview.goto(f"{live_server.url}/admin/?span={span}")
    chart = overview.locator("#throughput .chart")
    expect(chart.locator("figcaption")).to_contain_text("times in America/Bogota")
    row = chart.locator(".chart-table tbody tr")
    begins = minute if span == "1h" else minute.replace(minute=0)
    began = row.locator("th").get_attribute("data-at") or ""
    local = datetime.fromisoformat(began).astimezone(ZoneInfo("America/Bogota"))
    assert abs(datetime.fromisoformat(began) - begins) < timedelta(hours=2)
    form = "%H:%M" if span == "1h" else "%a %d %b %H:%M"
    expect(row.locator("th")).to_have_text(f"{local:{form}}")
    expect(chart.locator(".chart-table thead th").first).to_have_text("From (America/Bogota)")
    said = chart.locator("title", has_text="3 failed").text_content() or ""
    assert said.startswith(f"{local:{form}} here, ")
    assert f"{local.astimezone(UTC):{form}} UTC: 0 succeeded, 3 failed" in said


def test_moment_is_typed_in_ones_own_zone_and_comes_back_so(overview: Page, live_server: LiveServer) -> None:
    overview.goto(f"{live_server.url}/admin/job-types/app.Note/enqueue/")
    at = overview.get_by_label("Time (America/Bogota)")
    overview.get_by_label("text").fill("soon")
    overview.get_by_label("When", exact=True).select_option("at")
    at.fill("2998-03-28T20:00:05")
    expect(at).to_have_attribute("title", "2998-03-29 01:00:05 UTC")
    overview.get_by_role("button", name="Check and show the call").click()
    expect(overview.locator("#preview")).to_contain_text("at=datetime(2998, 3, 29, 1, 0, 5, tzinfo=UTC)")
    expect(at).to_have_value("2998-03-28T20:00:05")
    overview.get_by_role("button", name="Enqueue", exact=True).click()
    expect(overview.locator(".messagelist")).to_contain_text("Enqueued job")
    job = JobRecord.objects.latest("pk")
    assert job.run_at == datetime(2998, 3, 29, 1, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("box", ["#find-jobs, #searchbar", "#changelist-search #searchbar"], ids=["header", "list"])
def test_days_that_are_searched_for_are_those_of_ones_own_zone(
    overview: Page, live_server: LiveServer, box: str
) -> None:
    JobRecord.objects.all().delete()
    midnight = datetime(2025, 11, 24, 5, tzinfo=UTC)  # in Bogota
    made = [make_job(payload={"text": "since:2025-11-24"}).pk for _ in range(4)]
    second, day = timedelta(seconds=1), timedelta(days=1)
    for pk, at in zip(made, (midnight - second, midnight, midnight + day - second, midnight + day), strict=True):
        JobRecord.objects.filter(pk=pk).update(created_at=at)
    if "list" in box:
        overview.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    search = overview.locator(box).last
    search.fill('since:2025-11-24 until:2025-11-24 "since:2025-11-24"')
    search.press("Enter")
    expect(overview.locator("h1")).to_contain_text("created from 2025-11-24 00:00 to 2025-11-25 00:00")
    expect(overview.locator("#searchbar")).to_have_value(
        'since:2025-11-24-05:00 until:2025-11-24-05:00 "since:2025-11-24"'
    )
    found = [
        str(row.locator(".action-select").get_attribute("value"))
        for row in overview.locator("#result_list tbody tr").all()
    ]
    assert found == [str(made[2]), str(made[1])]
    overview.locator("#searchbar").fill("until:2025-11-24T00:00")
    overview.get_by_role("button", name="Filter").click()
    expect(overview.locator("#result_list tbody tr")).to_have_count(1)
