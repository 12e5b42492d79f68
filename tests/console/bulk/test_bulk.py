"""The bulk operations' pages."""

from __future__ import annotations

from dataclasses import fields

import pytest
from django.test import Client
from django.utils import timezone

from dashboard.bulk import new
from dashboard.kit.selection_words import in_words
from handlers import job_scheduler
from handlers.models import AttemptError, BulkItem, BulkOperation, JobRecord
from handlers.selection import WINDOW, Part, Selection
from handlers.states import State
from tests.console.conftest import OPERATES, MakeUser, logged_in
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db

NEW = "/admin/bulk/new/?verb=retry&state=failed"


@pytest.fixture
def runner(make_user: MakeUser) -> Client:
    """May start bulk operations."""
    return logged_in(make_user("rita", *OPERATES, "run_bulkoperation"))


def test_preview_says_what_would_happen_to_how_many(runner: Client) -> None:
    for _ in range(3):
        make_job(State.FAILED)
    html = runner.get(NEW).content.decode()
    assert "Retry 3 jobs</button>" in html
    assert "state:failed" in html
    assert "No index finds" not in html
    assert not BulkOperation.objects.exists()


def test_preview_has_safe_settings_filled_in_and_a_form_that_empties_them_has_none(runner: Client) -> None:
    make_job(State.FAILED)
    html = runner.get(NEW).content.decode()
    assert 'name="canary" value="5"' in html
    assert 'name="max_failed_percent" value="20"' in html
    html = runner.get(NEW.replace("retry", "delete")).content.decode()
    assert 'name="canary"' not in html
    runner.post(NEW, {"canary": "", "max_failed_percent": ""})
    made = BulkOperation.objects.get()
    assert (made.canary, made.max_failed_share) == (0, None)


def test_preview_says_the_selection_in_words_and_links_jobs_with_their_arguments(
    runner: Client, superuser: Client
) -> None:
    job = make_job(State.FAILED, job_type="app.Pay", payload={"order_id": 7, "token": "4111-1111"})
    url = f"{NEW}&type=app.Pay&since=24h&q=error:refused"
    html = runner.get(url).content.decode()
    assert "jobs of app.Pay that failed, created in the last 24 hours, whose error has “refused”" in html
    assert f'href="/admin/jobs/jobrecord/{job.pk}/change/"' in html
    assert "order_id=7" in html
    assert "4111-1111" not in html
    assert "4111-1111" in superuser.get(url).content.decode()


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("state:failed", "jobs that failed"),
        ("", "jobs"),
        ("id:7", "job 7"),
        ("id:7 id:8", "jobs 7 or 8"),
        ("queue:mail queue:default state:enqueued,succeeded", "jobs on queues mail or default that wait on a queue or"),
        ("state:scheduled,retrying", "jobs that are scheduled"),
        ("group:abc priority:5", "jobs, with the failure of group abc, with priority 5"),
        ("args.order_id:7 timeout", "jobs, whose order_id is 7, with “timeout” in type, error or arguments"),
        (
            "bulk:3 parent:4 workflow:5 correlation:x worker:w",
            "jobs, that bulk operation 3 moved, of workflow 5, that job",
        ),
        ("since:2026-11-24 until:2026-11-25", "jobs, created from 2026-11-24 00:00 UTC to 2026-11-26 00:00 UTC"),
        ("type:qa type:qb type:qc type:qd type:qe type:qf", "jobs of qa, qb, qc, qd, qe or 1 more"),
    ],
)
def test_selection_in_words(search: str, words: str) -> None:
    assert in_words(Selection.parse(search)).startswith(words)


def test_every_part_of_a_selection_is_in_its_words() -> None:
    now = timezone.now()
    given = {
        "states": ("failed",), "types": ("x",), "queues": ("mail",), "worker": "w", "error": "e", "fingerprint": "f",
        "arguments": (("*", 4711),), "ids": (7,), "tags": ("vip",), "correlation": "c", "priority": 5, "parent": 6,
        "since": now, "until": now, "text": ("t",), "operation": 3, "workflow": 4,
        "within": (Part(("x",), ("mail",)),),
    }  # fmt: skip
    unsaid = {"sensitive", "engine", "lowest", "highest", "own_tag"}  # how it is looked for, not for what
    assert set(given) | unsaid == {field.name for field in fields(Selection)}
    for name, value in given.items():
        assert in_words(Selection(**{name: value})) != "jobs", name  # type: ignore[arg-type]


def test_preview_counts_some_at_once_and_the_rest_when_the_page_asks(
    runner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new, "AT_ONCE", 2)
    for _ in range(3):
        make_job(State.FAILED)
    html = runner.get(NEW).content.decode()
    assert "Retry more than 2 jobs</button>" in html
    assert html.count('data-live="now"') == 2
    html = runner.get(NEW, headers={"X-Live": "bulk-title,bulk-start"}).content.decode()
    assert "Retry 3 jobs</button>" in html
    assert 'data-live="now"' not in html


def test_preview_keeps_to_what_it_said_where_counting_the_rest_takes_too_long(
    runner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.bulk.count_of", lambda *_, **__: None)
    html = runner.get(NEW, headers={"X-Live": "bulk-title,bulk-start"}).content.decode()
    assert "Retry more than 1,000 jobs</button>" in html
    assert 'data-live="now"' not in html
    assert "Retry all jobs that match</button>" in runner.get(NEW).content.decode()


def test_preview_says_that_it_is_about_the_newest_jobs_where_no_index_finds_them(runner: Client) -> None:
    make_job(State.FAILED)
    html = runner.get(f"{NEW}&q=error:refused").content.decode()
    assert "Retry 1 job</button>" in html
    assert f"looked for among the newest {WINDOW:,}" in html
    html = runner.get(f"{NEW}&q=error:lost").content.decode()
    assert "None of these matches: narrow the filter" in html


def test_preview_leaves_the_engines_own_jobs_out(runner: Client) -> None:
    make_job(State.FAILED)
    own = make_job(State.FAILED, job_type="jobs.RunBulk", queue="system")
    html = runner.get(NEW).content.decode()
    assert "Retry 1 job</button>" in html
    assert f"#{own.pk}" not in html


def test_post_starts_the_run_and_leads_to_it(runner: Client) -> None:
    make_job(State.FAILED)
    data = {"rate_per_second": "10", "canary": "1", "max_failed_percent": "50", "reason": "fixed <b>"}
    response = runner.post(NEW, data, follow=True)
    made = BulkOperation.objects.get()
    assert (made.rate_per_second, made.canary, made.max_failed_share, made.username) == (10, 1, 0.5, "rita")
    html = response.content.decode()
    assert "0 of 1" in html
    assert "fixed &lt;b&gt;" in html
    assert "Retry 1 job<" in runner.get("/admin/bulk/").content.decode()


@pytest.mark.parametrize(
    ("query", "data", "words"),
    [
        ("verb=explode", {}, "There is no verb"),
        ("verb=retry&q=nonsense:1:%00", {}, ""),
        ("verb=retry&state=succeeded", {}, "can be retried"),
        ("verb=retry&state=failed", {"rate_per_second": "x"}, "Enter a number"),
        ("verb=retry&state=failed", {"canary": "5000"}, "less than or equal to 1000"),
        ("verb=retry", {}, "exact number"),
    ],
)
def test_bad_input_is_a_page_that_says_so(runner: Client, query: str, data: dict[str, str], words: str) -> None:
    make_job(State.FAILED)
    response = runner.post(f"/admin/bulk/new/?{query}", data)
    assert response.status_code == 400
    assert words in response.content.decode()
    assert not BulkOperation.objects.exists()


def test_run_is_paused_resumed_and_stopped_from_its_page(runner: Client) -> None:
    make_job(State.FAILED)
    made = job_scheduler.start_bulk("retry", Selection(states=("failed",)))
    for what, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        assert runner.post(f"/admin/bulk/{made.pk}/{what}/").status_code == 302
        assert BulkOperation.objects.get().state == state


def paused_by_its_canary() -> BulkOperation:
    """Of 8 jobs 5 went first and failed again."""
    jobs = [make_job(State.FAILED) for _ in range(8)]
    made = job_scheduler.start_bulk("retry", Selection(states=("failed",)), canary=5)
    for job in jobs[:5]:
        BulkItem.objects.create(operation=made, job_id=job.pk, moved=True, attempt=0)
    changes = {"state": "paused", "held": True, "note": "5 of 5 canary jobs failed again.", "moved": 5}
    BulkOperation.objects.update(**changes, after_id=jobs[4].pk)
    return made


def test_run_that_its_canary_paused_goes_on_by_a_second_canary_or_when_that_is_confirmed(runner: Client) -> None:
    made = paused_by_its_canary()
    page = f"/admin/bulk/{made.pk}/"
    html = runner.get(page).content.decode()
    assert "Try 5 more</button>" in html
    assert 'class="button outlined" formaction="/admin/bulk/' in html
    assert "Run the other 3 anyway …" in html
    assert ">Resume<" not in html
    assert "Paused by itself" in html
    asked = runner.post(f"{page}resume/", {"reason": "seen"}).content.decode()
    assert "5 of 5 canary jobs failed again. So far: 5 failed again." in asked
    assert 'value="seen"' in asked
    assert BulkOperation.objects.get().state == "paused"
    assert runner.post(f"{page}try/").status_code == 302
    assert (BulkOperation.objects.get().state, BulkOperation.objects.get().canary) == ("canary", 5)
    html = runner.post(f"{page}try/", follow=True).content.decode()
    assert f"Nothing was done to bulk operation {made.pk}: it goes on." in html
    BulkOperation.objects.update(state="paused", held=True, canary_after=0)
    step = BulkOperation.objects.get().step
    runner.post(f"{page}resume/", {"confirmed": str(step - 1)})  # of a page from before
    assert BulkOperation.objects.get().state == "paused"
    runner.post(f"{page}resume/", {"confirmed": str(step)})
    assert BulkOperation.objects.get().state == "running"


def test_switch_that_is_sent_twice_counts_once_and_says_so(runner: Client) -> None:
    made = paused_by_its_canary()
    for words in ("Stopped bulk operation", "when this was sent before; nothing was done now"):
        html = runner.post(f"/admin/bulk/{made.pk}/stop/", {"form_key": "one"}, follow=True).content.decode()
        assert words in html


def test_done_never_stands_alone_over_jobs_that_failed_again(viewer: Client) -> None:
    made = paused_by_its_canary()
    BulkOperation.objects.update(state="done", held=False, note="", count=5)
    for url in (f"/admin/bulk/{made.pk}/", "/admin/bulk/"):
        html = viewer.get(url).content.decode()
        assert "tone-bad" in html
        assert "Done: 5 failed again" in html
    JobRecord.objects.update(state="succeeded", attempt=1)
    AttemptError.objects.all().delete()
    html = viewer.get("/admin/bulk/").content.decode()
    assert "tone-good" in html
    assert "5 succeeded" in html


def test_overview_shows_what_goes_on_and_what_waits_and_nothing_that_ended(viewer: Client) -> None:
    made = paused_by_its_canary()
    html = viewer.get("/admin/").content.decode()
    assert f'<a href="/admin/bulk/{made.pk}/">Retry 8 jobs</a>' in html
    assert "5 of 5 canary jobs failed again." in html
    BulkOperation.objects.update(state="done")
    assert "Retry 8 jobs" not in viewer.get("/admin/").content.decode()


def test_viewer_sees_runs_and_may_not_touch_them(viewer: Client, operator: Client) -> None:
    make_job(State.FAILED)
    made = job_scheduler.start_bulk("retry", Selection(states=("failed",)))
    html = viewer.get(f"/admin/bulk/{made.pk}/").content.decode()
    assert "Receipt" in html
    assert "Stop for good" not in html
    for client in (viewer, operator):
        assert client.get(NEW).status_code == 403
        assert client.post(f"/admin/bulk/{made.pk}/stop/").status_code == 403
    assert viewer.get("/admin/bulk/999999999999999999999/").status_code == 404
    assert BulkOperation.objects.get().state == "running"


def test_search_for_sensitive_arguments_is_shown_to_those_who_may_see_them(viewer: Client, superuser: Client) -> None:
    make_job(State.FAILED, payload={"text": "4111-1111"})
    made = job_scheduler.start_bulk("retry", Selection(states=("failed",), text=("4111-1111",)))
    page = f"/admin/bulk/{made.pk}/"
    assert "4111-1111" in superuser.get(page).content.decode()
    html = viewer.get(page).content.decode()
    assert "4111-1111" not in html
    assert "••••••" in html


def test_receipt_leads_to_the_jobs_and_to_those_that_failed_again(viewer: Client) -> None:
    job = make_job(State.FAILED)
    made = job_scheduler.start_bulk("retry", Selection(states=("failed",)))
    BulkItem.objects.create(operation=made, job_id=job.pk, moved=True, attempt=0)
    BulkOperation.objects.update(moved=1, state="done")
    html = viewer.get(f"/admin/bulk/{made.pk}/").content.decode()
    assert f"?q=bulk:{made.pk}&amp;state=failed" in html
    assert "Failed again" in html
    assert (
        f"/admin/jobs/jobrecord/{job.pk}/"
        in viewer.get(f"/admin/jobs/jobrecord/?q=bulk:{made.pk}&state=failed").content.decode()
    )


def test_run_that_was_not_counted_says_how_many_so_far(viewer: Client) -> None:
    make_job(State.FAILED)
    made = job_scheduler.start_bulk("retry", Selection(states=("failed",)))
    BulkOperation.objects.update(count=0, moved=2_000)
    assert "2,000 so far" in viewer.get(f"/admin/bulk/{made.pk}/").content.decode()
    assert "Retry all jobs that match" in viewer.get("/admin/bulk/").content.decode()
