"""Journeys around jobs, each from signing in on: a policy, a pause, a new operator, and Redis away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers import job_scheduler
from handlers.models import AuditEntry, JobRecord, LimitOverride, LimitWaiter, RecurringJob, StoredPolicy, WorkerProcess
from handlers.states import State
from tests import servers
from tests.app.jobs import Charge, Note, Ship
from tests.browser.conftest import NewPage, sign_in
from tests.browser.people import someone
from tests.console.factories import make_job
from tests.faults.conftest import Start
from tests.faults.records import Notes, record, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]


def test_administrator_changes_a_retry_policy_and_the_next_failure_follows_it(
    new_page: NewPage, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    page = new_page(refusals=True)  # a form that does not fit is answered so
    someone("ada", "Administrator")
    start_worker("--processes", "1")
    before = int(job_scheduler.enqueue(Ship(1, "nowhere")))
    wait_state("failed", before)  # the code says one attempt

    sign_in(page, live_server.url, "ada")
    page.get_by_role("link", name="Retry policies", exact=True).click()
    page.get_by_role("link", name="New policy").click()
    page.get_by_label("Name").fill("shipping")
    page.get_by_label("Attempts").fill("0")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("alert").filter(has_text="Nothing was saved.")).to_be_visible()
    page.get_by_label("Attempts").fill("4")
    page.get_by_label("Backoff").select_option("fixed")
    page.get_by_label("Delay, in seconds").fill("3600")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_contain_text("Preview, not saved")
    expect(page.locator("#preview tbody tr").filter(has_text=re.compile("1 h")).first).to_be_visible()
    assert not StoredPolicy.objects.exists()
    page.get_by_label("Reason").first.fill("the carrier is down at night")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".messagelist")).to_contain_text("Saved shipping.")
    page.get_by_role("searchbox", name="Filter types").fill("app.Ship")  # types come by pages
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_role("checkbox", name="app.Ship").check()
    page.get_by_role("button", name="Assign").click()
    expect(page.locator(".messagelist")).to_contain_text("1 job type changed. It holds from the next failure on.")

    after = int(job_scheduler.enqueue(Ship(2, "nowhere")))  # the worker is still the one from before
    wait_state("scheduled", after)
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/{after}/change/")
    expect(page.locator("h1 .state")).to_have_text("Retrying")
    expect(page.get_by_text("Attempt 2 runs")).to_contain_text("in ")
    expect(page.locator("#content-main")).to_contain_text("From the stored policy shipping.")
    assert record(before).state == State.FAILED
    assert list(AuditEntry.objects.exclude(verb="sign_in").order_by("pk").values_list("username", "verb")) == [
        ("ada", "save_policy"),
        ("ada", "assign_policy"),
    ]


def test_administrator_raises_a_limit_while_a_job_waits_for_it_and_that_starts(
    page: Page, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    someone("ada", "Administrator")
    start_worker("--processes", "2")
    job_scheduler.enqueue(Charge(25, tenant=17, text="first"))
    notes.wait("start 17 first")
    second = int(job_scheduler.enqueue(Charge(0.1, tenant=17, text="second")))
    wait_for("it waits in the line", LimitWaiter.objects.filter(pk=second).exists)

    sign_in(page, live_server.url, "ada")
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/{second}/change/")
    expect(page.locator("#job-plan")).to_contain_text("Waits: limit tills, place 1. Key: 17.")
    page.locator("#job-plan").get_by_role("link", name="tills").click()
    expect(page.locator("#standing")).to_contain_text("Busiest keys")
    page.get_by_label("At once").fill("2")
    page.get_by_label("Reason").first.fill("a second till")
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator("#changes")).to_contain_text("1 waits now")
    assert not LimitOverride.objects.exists()
    page.get_by_role("button", name="Change tills").click()
    expect(page.locator(".messagelist")).to_contain_text("Changed tills.")
    wait_state("succeeded", second)
    expect(page.locator(".policy-history")).to_contain_text("a second till")
    page.get_by_role("button", name="Back to the code's values").click()
    expect(page.locator(".messagelist")).to_contain_text("has the code's values again")
    assert list(AuditEntry.objects.exclude(verb="sign_in").order_by("pk").values_list("username", "verb")) == [
        ("ada", "change_limit"),
        ("ada", "reset_limit"),
    ]


def test_paused_queue_is_said_on_every_page_and_runs_again_when_resumed(
    page: Page, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    start_worker("--processes", "1")
    done = int(job_scheduler.enqueue(Note("before")))
    wait_state("succeeded", done)

    sign_in(page, live_server.url, "olga")
    page.get_by_role("link", name="Queues", exact=True).click()
    page.locator("#queue-default").get_by_text("Pause …").click()
    page.get_by_label("Reason to pause default").fill("the gateway is being moved")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="default", exact=True))
    row.get_by_role("button", name="Pause").click()
    expect(page.locator(".messagelist")).to_contain_text("Paused queue default")
    expect(row).to_contain_text("by olga: the gateway is being moved")
    waiting = int(job_scheduler.enqueue(Note("after")))
    for url in ("/admin/", "/admin/jobs/jobrecord/", f"/admin/jobs/jobrecord/{waiting}/change/", "/admin/queues/"):
        page.goto(live_server.url + url)
        expect(page.locator(".banner").filter(has_text="Queue default is paused")).to_be_visible()
    assert record(waiting).state == State.ENQUEUED

    row.get_by_role("button", name="Resume").click()
    expect(page.locator(".messagelist")).to_contain_text("Queue default runs again.")
    expect(page.locator(".banner").filter(has_text="paused")).to_have_count(0)
    wait_state("succeeded", waiting)
    assert notes.lines() == ["before", "after"]


def test_administrator_makes_a_viewer_an_operator_who_then_retries(new_page: NewPage, live_server: Any) -> None:
    someone("ada", "Administrator")
    someone("vera", "Viewer")
    job = make_job()
    hers = new_page()
    sign_in(hers, live_server.url, "vera")
    hers.goto(f"{live_server.url}/admin/jobs/jobrecord/{job.pk}/change/")
    expect(hers.get_by_role("heading", name="Why it failed")).to_be_visible()
    expect(hers.get_by_role("button", name="Retry")).to_have_count(0)

    page = new_page()
    sign_in(page, live_server.url, "ada")
    page.get_by_role("link", name="Users", exact=True).click()
    page.get_by_role("row").filter(has_text="vera").get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option("make_operator")
    page.get_by_role("button", name=re.compile("Go|Run")).click()
    expect(page.locator(".messagelist")).to_contain_text("1 user now in Operator.")
    expect(page.get_by_role("row").filter(has_text="vera")).to_contain_text("Operator")

    hers.reload()
    hers.get_by_role("button", name="Retry").click()
    expect(hers.locator(".messagelist")).to_contain_text(f"Retried job {job.pk}.")
    assert record(job.pk).state == State.ENQUEUED
    assert list(AuditEntry.objects.exclude(verb="sign_in").order_by("pk").values_list("username", flat=True)) == [
        "ada",
        "vera",
    ]


def test_administrator_makes_a_recurring_job_sees_when_it_runs_triggers_and_pauses_it(
    new_page: NewPage, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    page = new_page(refusals=True)  # a form that does not fit is answered so
    someone("ada", "Administrator")
    start_worker("--processes", "1")
    sign_in(page, live_server.url, "ada")
    page.get_by_role("link", name="Recurring jobs", exact=True).click()
    page.get_by_role("link", name="New recurring job").click()
    page.get_by_label("Type").select_option("app.Note")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("nightly report")
    page.get_by_label("text").fill("the report")
    page.get_by_label("Cron line").fill("30 25 * * *")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("Start (UTC)").fill("2031-03-28T00:00:00")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("alert").filter(has_text="Nothing was saved.")).to_be_visible()
    expect(page.locator(".form-line.errors")).to_contain_text("Hour: '25' is out of range: write 0 to 23")
    page.get_by_label("Cron line").fill("30 2 * * *")
    page.get_by_role("button", name="Preview").click()
    preview = page.locator("#preview")
    expect(preview).to_contain_text("At 02:30 every day, Europe/Berlin time")
    expect(preview.locator("tbody tr")).to_have_count(5)
    # The clocks skip 02:30 on the 30th.
    expect(preview.locator("tbody tr").nth(2)).to_contain_text("Sun 2031-03-30 03:00:00 CEST")
    expect(preview.locator("tbody tr").nth(2)).to_contain_text("Sun 2031-03-30 01:00:00")
    assert not RecurringJob.objects.exists()
    preview.get_by_role("button", name="Save").click()
    expect(page.locator(".messagelist")).to_contain_text("Saved nightly report.")
    expect(page.locator("#coming")).to_contain_text("Sun 2031-03-30 03:00:00 CEST")

    page.get_by_label("Reason to trigger it").fill("to see it")
    page.get_by_role("button", name="Trigger now").click()
    expect(page.locator(".messagelist")).to_contain_text("Triggered nightly report: job")
    job_id = RecurringJob.objects.values_list("last_job_id", flat=True).get()
    assert job_id
    wait_state("succeeded", job_id)
    assert notes.lines() == ["the report"]
    expect(page.locator("#occurrences tbody tr")).to_contain_text("Succeeded")
    page.locator("#occurrences").get_by_role("link", name="Succeeded").click()
    page.get_by_role("link", name="nightly report").click()

    page.locator("form[action$='/pause/']").get_by_label("Reason").fill("nobody reads it")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#recurring-standing")).to_contain_text("by ada: nobody reads it")
    expect(page.get_by_role("heading", name="Next, if it were resumed now")).to_be_visible()
    page.get_by_role("link", name="Recurring jobs", exact=True).first.click()
    row = page.get_by_role("row").filter(has_text="nightly report")
    expect(row).to_contain_text("Paused")
    expect(row.get_by_role("img", name="The last one: 1 succeeded")).to_be_visible()
    assert list(AuditEntry.objects.exclude(verb="sign_in").order_by("pk").values_list("username", "verb")) == [
        ("ada", "add_recurring"),
        ("ada", "trigger_recurring"),
        ("ada", "pause_recurring"),
    ]


def test_history_is_readable_while_redis_is_away_and_all_goes_on_when_it_is_back(
    page: Page, live_server: Any, start_worker: Start, start_scheduler: Start, private_valkey: Path, notes: Notes
) -> None:
    someone("olga", "Operator")
    job = make_job(payload={"text": "at last"}, message="gateway is down")
    away = page.locator(".banner").filter(has_text="Redis is away")
    with servers.valkey(private_valkey):
        start_worker("--processes", "1")
        start_scheduler()
        first = int(job_scheduler.enqueue(Note("first")))
        wait_state("succeeded", first)
        sign_in(page, live_server.url, "olga")
        expect(away).to_have_count(0)
    expect(away).to_be_visible()  # the page says so by itself
    expect(away).to_contain_text("Live data as of")

    page.goto(f"{live_server.url}/admin/jobs/jobrecord/")
    expect(page.locator("#result_list tbody tr")).to_have_count(JobRecord.objects.count())
    page.get_by_role("link", name=f"#{job.pk}").click()
    expect(page.locator(".failure .message")).to_have_text("gateway is down")
    expect(away).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Retried job {job.pk}.")
    expect(page.locator("h1 .state")).to_have_text("Enqueued")

    page.goto(f"{live_server.url}/admin/")
    expect(away).to_be_visible()
    with servers.valkey(private_valkey):
        expect(away).to_have_count(0)
        wait_state("succeeded", job.pk)
        page.goto(f"{live_server.url}/admin/jobs/jobrecord/{job.pk}/change/")
        expect(page.locator("h1 .state")).to_have_text("Succeeded")
    assert notes.lines() == ["first", "at last"]


def test_jobs_on_a_queue_that_nobody_serves_are_moved_one_and_all_and_run(
    page: Page, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    jobs = [make_job(State.ENQUEUED, queue="gone-queue", payload={"text": f"job {n}"}) for n in range(4)]
    failed = make_job(State.FAILED, queue="gone-queue", payload={"text": "again"})
    start_worker("--queues", "mail", "--processes", "1")
    wait_for("the worker is known", lambda: WorkerProcess.objects.filter(kind="worker").exists())

    sign_in(page, live_server.url, "olga")
    banner = page.locator(".banner").filter(has_text="No live worker serves queue gone-queue")
    expect(banner).to_contain_text("which the code no longer names: 4 jobs wait there, the first since")
    banner.get_by_role("link", name="Its jobs").click()
    page.get_by_role("link", name=f"#{jobs[0].pk}").click()
    expect(page.locator("#job-plan")).to_contain_text("It waits. No live worker serves queue gone-queue")
    page.get_by_label("Reason").fill("nobody is there")
    page.get_by_role("button", name="Move to another queue").click()
    expect(page.get_by_role("heading", name="Move 1 job to another queue?")).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_value("nobody is there")
    page.get_by_label("To queue").select_option("mail")
    page.get_by_role("button", name="Move 1 job").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Moved job {jobs[0].pk} to queue mail.")
    wait_state("succeeded", jobs[0].pk)
    expect(page.locator(".timeline")).to_contain_text("moved from queue gone-queue to mail: nobody is there")

    page.get_by_role("link", name="Queues", exact=True).click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="gone-queue", exact=True))
    expect(row).to_contain_text("No live worker serves it: 3 wait")
    row.get_by_role("link", name="Move all of these").click()
    expect(page.get_by_role("heading", name="Move 4 jobs?")).to_be_visible()
    page.get_by_label("To queue").select_option("mail")
    page.get_by_label("Reason").fill("the queue is gone")
    page.get_by_role("button", name="Move 4 jobs").click()
    expect(page.locator(".messagelist")).to_contain_text("Started in the background: Move 4 jobs to queue mail.")
    wait_state("succeeded", *(job.pk for job in jobs))
    page.goto(f"{live_server.url}/admin/")
    expect(banner).to_have_count(0)
    page.goto(f"{live_server.url}/admin/jobs/jobrecord/{failed.pk}/change/")
    page.get_by_role("button", name="Retry").click()
    wait_state("succeeded", failed.pk)
    assert sorted(notes.lines()) == ["again", "job 0", "job 1", "job 2", "job 3"]
    assert set(JobRecord.objects.exclude(queue="system").values_list("queue", flat=True)) == {"mail"}
    assert [(entry.username, entry.verb) for entry in AuditEntry.objects.order_by("pk")] == [
        ("olga", "move"), ("olga", "start_bulk"), ("olga", "finish_bulk"), ("olga", "retry"),
    ]  # fmt: skip
