"""Journeys with jobs, each from signing in on: mend one, retry five hundred, look without acting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers import job_scheduler
from handlers.models import AuditEntry, BulkOperation, FailureGroup, JobPayload, JobRecord, QueueSwitch, WorkerProcess
from handlers.models.bulk import BulkState
from handlers.states import State
from tests.app.jobs import Ship
from tests.app.standing import StandAsync
from tests.browser.conftest import NewPage, sign_in
from tests.browser.people import someone
from tests.console.factories import make_job
from tests.faults.conftest import Start
from tests.faults.records import Notes, wait_state
from tests.processes import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

MANY = 500


def test_failed_job_is_found_by_an_argument_mended_and_succeeds(
    page: Page, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    wrong, _ = (int(job) for job in job_scheduler.enqueue_many([Ship(4711, "nowhere"), Ship(4712)]))
    start_worker("--processes", "1")
    wait_state("failed", wrong)

    sign_in(page, live_server.url, "olga")
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.locator("#searchbar").fill("args.order_id:4711")
    page.locator("#searchbar").press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.get_by_role("link", name=f"app.Ship #{wrong}").click()
    expect(page.locator(".failure .exception")).to_have_text("ValueError")
    expect(page.locator(".failure .message")).to_have_text("order 4711: no such address: nowhere")
    expect(page.locator(".failure .traceback")).to_contain_text("raise ValueError(")
    page.get_by_role("link", name="Edit and retry").click()
    page.get_by_label("address").fill("Side Street 2")
    page.get_by_label("Reason").fill("asked the customer")
    page.get_by_role("button", name="Check and show the call").click()
    expect(page.locator("#preview")).to_contain_text("Side Street 2")
    expect(page.get_by_label("Reason")).to_have_value("asked the customer")
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text(f"Retried job {wrong} with these arguments")
    wait_state("succeeded", wrong)
    page.reload()
    expect(page.locator("h1 .state")).to_have_text("Succeeded")
    expect(page.locator(".timeline")).to_contain_text("asked the customer")
    assert "shipped 4711 to Side Street 2" in notes.lines()


def test_of_two_who_enqueue_the_same_job_by_hand_the_second_finds_that_of_the_first(
    new_page: NewPage, live_server: Any
) -> None:
    told: list[str] = []
    for name in ("olga", "omar"):
        someone(name, "Operator")
        page = new_page()
        sign_in(page, live_server.url, name)
        page.get_by_role("navigation", name="Console").get_by_role("link", name="Job types").click()
        page.get_by_role("link", name="app.Note", exact=True).click()
        page.get_by_role("link", name="Enqueue one").click()
        page.get_by_role("textbox", name="text *").fill("the shop is closed")
        page.get_by_label("When").select_option("After a delay")
        page.get_by_label("Delay").fill("1 h")
        page.get_by_label("Expires after").fill("30 min")
        page.get_by_label("If there is one already").select_option("Keep one with the same arguments")
        page.get_by_role("button", name="Enqueue", exact=True).click()
        expect(page.locator(".form-line.errors .error-line")).to_have_text(re.compile("before the job is due"))
        page.get_by_label("Expires after").fill("2 h")
        page.get_by_role("button", name="Enqueue", exact=True).click()
        told.append(page.locator(".messagelist").inner_text())
        page.locator(".messagelist").get_by_role("link").click()
        expect(page.locator("h1 .state")).to_have_text("Scheduled")
        expect(page.locator("#job-facts")).to_contain_text("with the same arguments, until it has ended")
        expect(page.locator("#job-facts")).to_contain_text("unless it was started")
    job = JobRecord.objects.get()
    assert told[0].strip() == f"Enqueued job {job.pk}."
    assert told[1].strip() == f"Job {job.pk} holds the key already: nothing new was enqueued."


def test_job_that_hangs_is_asked_where_it_is_and_stopped(
    page: Page, live_server: Any, start_worker: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    hangs = int(job_scheduler.enqueue(StandAsync("hangs")))
    start_worker("--processes", "1")
    notes.wait("stands hangs")
    sign_in(page, live_server.url, "olga")
    wait_for("its worker says so", lambda: WorkerProcess.objects.filter(job_id=hangs).exists())
    page.get_by_role("link", name=re.compile("^Workers")).first.click()  # with a mark: there is no scheduler
    expect(page.locator("table.workers")).to_contain_text("1 of 100 async")
    page.get_by_role("link", name=f"job {hangs}").click()
    page.get_by_label("Reason").fill("does it hang?")
    page.get_by_role("button", name="Show live stack").click()
    stack = page.locator("#job-stack")
    expect(stack).to_contain_text('await made["stand_async"](token)')
    expect(stack).to_contain_text("which it has started")
    expect(stack).not_to_contain_text("s3cret")
    page.get_by_role("button", name="Stop and delete").click()
    expect(page.locator("h1 .state")).to_have_text("Deleted")
    expect(stack).to_contain_text("while it ran")
    assert AuditEntry.objects.get(verb="show_stack").reason == "does it hang?"


def test_500_failures_are_retried_with_a_canary_paused_resumed_and_accounted_for(
    page: Page, live_server: Any, start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    down = Path(f"{notes.path}.down")
    down.touch()
    ids = [int(job) for job in job_scheduler.enqueue_many([Ship(number) for number in range(MANY)])]
    start_worker("--processes", "2")
    start_scheduler()
    wait_state("failed", *ids)
    wait_for("the failures are one group", lambda: FailureGroup.objects.filter(count=MANY).count() == 1)
    down.unlink()  # the carrier is back

    sign_in(page, live_server.url, "olga")
    page.get_by_role("link", name=re.compile("^Failures")).first.click()
    group = page.get_by_role("row", name="ConnectionError")
    expect(group).to_contain_text("carrier is down")
    expect(group.locator("[data-label='failed now']")).to_have_text(str(MANY))
    group.get_by_role("link", name="ConnectionError").click()
    expect(page.locator("#group-facts")).to_contain_text(re.compile(rf"Jobs failed now\s*{MANY}"))
    expect(page.locator("#group-sample")).to_contain_text("carrier is down")
    page.get_by_role("link", name=f"Retry {MANY} jobs").click()
    expect(page.get_by_role("heading", name=f"Retry {MANY} jobs?")).to_be_visible()
    page.get_by_label("At most, jobs a second").fill("50")
    page.get_by_label("Canary jobs").fill("5")
    page.get_by_label("Reason").fill("the carrier is back")
    page.get_by_role("button", name=f"Retry {MANY} jobs").click()
    expect(page.locator(".messagelist")).to_contain_text(f"in the background: Retry {MANY} jobs")
    run = BulkOperation.objects.get()
    assert run.canary == 5

    # The canary came through: the rest goes, until someone stops it for a moment.
    expect(page.locator("#bulk-progress .lead")).to_contain_text("Running")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Paused bulk operation {run.pk}.")
    expect(page.locator("#bulk-progress")).to_contain_text("Paused by olga.")
    run.refresh_from_db()
    assert run.state == BulkState.PAUSED
    assert 5 < run.moved < MANY
    assert JobRecord.objects.filter(pk__in=ids, state=State.FAILED).count() == MANY - run.moved

    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Resumed bulk operation {run.pk}.")
    BulkOperation.objects.update(rate_per_second=None)  # it was only to leave the time to pause
    wait_state("succeeded", *ids)
    expect(page.locator("#bulk-progress .lead")).to_contain_text(f"all {MANY}")
    expect(page.locator("#bulk-progress .lead")).to_contain_text("Done")
    page.reload()
    expect(page.locator("#bulk-receipt")).to_contain_text(re.compile(rf"Succeeded\s*{MANY}"))
    expect(page.get_by_role("button", name="Stop for good")).to_have_count(0)
    page.get_by_role("link", name=f"{MANY} jobs").click()
    expect(page.locator("#result_list tbody tr").first).to_contain_text("Succeeded")
    assert len(notes.starting("shipped ")) == MANY
    did = AuditEntry.objects.filter(target__contains=str(run.pk)).order_by("pk").values_list("verb", flat=True)
    assert list(did) == ["start_bulk", "pause_bulk", "resume_bulk", "finish_bulk"]


SEND = """async ([url, fields]) => {
  const token = document.querySelector("input[name=csrfmiddlewaretoken]").value;
  const body = new URLSearchParams({csrfmiddlewaretoken: token, ...fields});
  const answer = await fetch(url, {method: "POST", body, redirect: "manual"});
  return answer.status;
}"""


def test_viewer_sees_everything_and_changes_nothing_even_by_forged_request(new_page: NewPage, live_server: Any) -> None:
    someone("vera", "Viewer")
    job = make_job(fingerprint="00000000000000aa")
    page = new_page(refusals=True)
    sign_in(page, live_server.url, "vera")
    jobs = "/admin/jobs/jobrecord/"
    for url in (
        "/admin/", f"{jobs}?state=failed", f"{jobs}{job.pk}/change/", "/admin/failures/", "/admin/bulk/",
        "/admin/queues/", "/admin/workers/", "/admin/job-types/", "/admin/job-types/app.Note/",
        "/admin/retry-policies/", "/admin/jobs/auditentry/",
    ):  # fmt: skip
        response = page.goto(live_server.url + url)
        assert response
        assert response.status == 200, url
        words = re.compile("retry|requeue|delete|pause|resume|stop|enqueue|new policy", re.IGNORECASE)
        expect(page.locator("#content").get_by_role("button", name=words), url).to_have_count(0)
    for url in ("/admin/auth/user/", f"{jobs}{job.pk}/edit/", "/admin/bulk/new/?verb=retry&state=failed"):
        response = page.goto(live_server.url + url)
        assert response
        assert response.status == 403, url
        expect(page.get_by_role("heading", name=re.compile("Not permitted|403"))).to_be_visible()

    page.goto(f"{live_server.url}{jobs}")
    one = {"expect": f"{job.pk}:{job.token}"}
    forged: list[tuple[str, dict[str, str]]] = [
        *((f"{jobs}{job.pk}/{verb}/", one) for verb in ("retry", "requeue", "delete", "restore")),
        (jobs, one | {"action": "retry", "_selected_action": str(job.pk), "index": "0"}),
        (f"{jobs}{job.pk}/edit/", {"expect": job.token, "text": "changed"}),
        ("/admin/bulk/new/?verb=retry&state=failed", {"reason": "mine"}),
        ("/admin/queues/default/pause/", {}),
        ("/admin/job-types/app.Note/pause/", {}),
        ("/admin/job-types/app.Note/enqueue/", {"text": "hello", "when": "now", "queue": "default"}),
        ("/admin/workers/stop/", {"name": "host-1.4411.0"}),
        ("/admin/retry-policies/new/", {"name": "mine", "do": "save"}),
        ("/admin/auth/user/add/", {"username": "mine"}),
    ]
    before = JobRecord.objects.values().get(pk=job.pk)
    for url, fields in forged:
        assert page.evaluate(SEND, [live_server.url + url, fields]) == 403, url
    assert JobRecord.objects.values().get() == before
    assert not AuditEntry.objects.exclude(verb="sign_in").exists()
    assert not QueueSwitch.objects.exists()
    assert not BulkOperation.objects.exists()
    assert JobPayload.objects.get(pk=job.pk).data == {"text": "hello"}


def test_without_javascript_jobs_are_browsed_and_retried_one_by_one_and_in_bulk(
    new_page: NewPage, live_server: Any, start_worker: Start, start_scheduler: Start, notes: Notes
) -> None:
    someone("olga", "Operator")
    ids = [make_job(payload={"text": f"number {number}"}).pk for number in range(12)]
    page = new_page(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    sign_in(page, live_server.url, "olga")
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_label("Search").fill('args.text:"number 3"')
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.get_by_role("link", name=f"#{ids[3]}").click()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".messagelist")).to_contain_text(f"Retried job {ids[3]}. It waits for a worker.")
    expect(page.locator(".messagelist").get_by_role("link", name="Look again")).to_be_visible()

    page.get_by_role("navigation", name="Console").get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("navigation", name="State").get_by_role("link", name="Failed").click()
    page.get_by_role("link", name=re.compile("Retry all")).click()
    page.get_by_label("Reason").fill("no scripts here")
    page.get_by_role("button", name="Retry 11 jobs").click()
    expect(page.locator(".messagelist")).to_contain_text("in the background: Retry 11 jobs")
    start_worker("--processes", "1")
    start_scheduler()  # the canary is looked at again after a moment
    wait_state("succeeded", *ids)
    wait_for("the run is done", lambda: BulkOperation.objects.get().state == BulkState.DONE)
    page.reload()
    expect(page.locator("#bulk-receipt")).to_contain_text(re.compile(r"Succeeded\s*11"))
    assert sorted(notes.lines()) == sorted(f"number {number}" for number in range(12))
