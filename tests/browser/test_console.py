"""What an operator does in a browser: look, tick, retry, delete; with a keyboard's and a phone's means too."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from playwright.sync_api import Page, expect

from handlers.models import AuditEntry, JobRecord
from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _people() -> None:
    User.objects.create_superuser("admin", password="secret")
    viewer = User.objects.create_user("vera", password="secret", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_jobrecord"))


def state_of(job: JobRecord) -> str:
    """The job's state now."""
    return JobRecord.objects.values_list("state", flat=True).get(pk=job.pk)


def test_operator_finds_a_failed_job_understands_it_and_retries_it(page: Page, live_server: Any) -> None:
    job = make_job(message="gateway is down")
    sign_in(page, live_server.url, "admin")
    page.get_by_role("link", name=re.compile("Failed")).first.click()
    page.get_by_role("link", name=f"app.Note #{job.pk}").click()
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    expect(page.locator(".failure .message")).to_have_text("gateway is down")
    expect(page.locator(".failure .frame")).to_contain_text("srv/shop/jobs.py:42")
    page.get_by_label("Reason").fill("gateway is back")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Retried job {job.pk}.")
    expect(page.locator("h1 .state")).to_have_text("Enqueued")
    expect(page.locator(".timeline")).to_contain_text("gateway is back")
    assert state_of(job) == State.ENQUEUED


def test_operator_retries_ticked_rows_and_is_told_what_moved_on(page: Page, live_server: Any) -> None:
    jobs = [make_job() for _ in range(3)]
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/?state=failed")
    for place in range(3):
        page.locator(".action-select").nth(place).check()
    expect(page.locator(".action-counter")).to_have_text("3 of 3 selected")
    JobRecord.objects.filter(pk=jobs[0].pk).update(token="0" * 16)  # someone else was quicker
    page.locator(".actions").get_by_role("button", name="Retry").click()
    expect(page.locator(".messagelist")).to_contain_text("Retried 2 jobs. ")
    expect(page).to_have_url(re.compile(r"\?state=failed$"))
    assert [state_of(job) for job in jobs] == [State.FAILED, State.ENQUEUED, State.ENQUEUED]


def test_row_button_retries_its_own_row_and_stays_on_the_list(page: Page, live_server: Any) -> None:
    jobs = [make_job() for _ in range(3)]
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/?state=failed")
    page.get_by_role("button", name=f"Retry job {jobs[1].pk}", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text(f"Retried job {jobs[1].pk}.")
    expect(page).to_have_url(re.compile(r"\?state=failed$"))
    assert [state_of(job) for job in jobs] == [State.FAILED, State.ENQUEUED, State.FAILED]


def test_delete_of_ticked_rows_asks_first(page: Page, live_server: Any) -> None:
    jobs = [make_job(State.ENQUEUED), make_job()]
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    page.get_by_text("Select all", exact=True).click()
    page.locator(".actions").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete 2 jobs?")).to_be_visible()
    page.get_by_role("link", name="Back to the list").click()
    assert [state_of(job) for job in jobs] == [State.ENQUEUED, State.FAILED]
    page.get_by_text("Select all", exact=True).click()
    page.get_by_label("Reason").fill("ordered twice")
    page.get_by_label("Reason").press("Enter")  # does nothing: nobody said which verb
    page.locator(".actions").get_by_role("button", name="Delete").click()
    expect(page.get_by_label("Reason")).to_have_value("ordered twice")
    page.get_by_role("button", name="Delete 2 jobs").click()
    expect(page.locator(".messagelist")).to_contain_text("Deleted 2 jobs.")
    assert AuditEntry.objects.exclude(verb="sign_in").get().reason == "ordered twice"
    assert [state_of(job) for job in jobs] == [State.DELETED, State.DELETED]


def test_filters_take_effect_when_chosen(page: Page, live_server: Any) -> None:
    wanted, other = make_job(queue="mail"), make_job()
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/?state=failed")
    page.locator("select[name='queue']").select_option("mail")
    expect(page.get_by_role("link", name=f"#{other.pk}")).to_have_count(0)
    expect(page.get_by_role("link", name=f"#{wanted.pk}")).to_be_visible()
    expect(page).to_have_url(re.compile("state=failed"))


def test_viewer_sees_no_button(page: Page, live_server: Any) -> None:
    job = make_job()
    sign_in(page, live_server.url, "vera")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/{job.pk}/change/")
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    expect(page.locator(".action-select")).to_have_count(0)


def test_console_works_without_javascript(new_page: NewPage, live_server: Any) -> None:
    jobs = [make_job(), make_job()]
    page = new_page(java_script_enabled=False)
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/?state=failed")
    page.locator(".action-select").first.check()
    page.locator(".actions").get_by_role("button", name="Retry").click()
    expect(page.locator(".messagelist")).to_contain_text("Retried 1 job.")
    page.get_by_role("link", name=f"#{jobs[0].pk}").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Deleted job {jobs[0].pk}.")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Restored job {jobs[0].pk}.")


def test_confirmation_fits_a_phone(new_page: NewPage, live_server: Any) -> None:
    make_job(job_type="some_application.AnUnusuallyLongNameOfAJobType", queue="a-rather-long-queue-name")
    page = new_page(viewport={"width": 390, "height": 844})
    sign_in(page, live_server.url, "admin")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    page.locator(".action-select").check()
    page.locator(".actions").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete 1 job?")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_hostile_text_runs_nothing(page: Page, live_server: Any) -> None:
    script = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    job = make_job(job_type=script, payload={script: script}, message=script, exception=script, traceback=script)
    sign_in(page, live_server.url, "admin")
    for url in ("/admin/", "/admin/jobs/jobrecord/", f"/admin/jobs/jobrecord/{job.pk}/change/"):
        page.goto(live_server.url + url)
        assert "owned" not in page.title() or "<script>" in page.title()
        expect(page.locator("img[src=x]")).to_have_count(0)
