"""The job page: log lines, relations, Markdown, and bounds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dashboard.jobs import relations
from dashboard.jobs.tracebacks import parts
from dashboard.kit import health
from handlers.models import (
    AttemptError,
    AttemptLog,
    FailureGroup,
    JobPayload,
    JobRecord,
    JobResult,
    JobStep,
    QueueSwitch,
    RunState,
    StrandedJob,
    TypeSwitch,
    WorkerProcess,
)
from handlers.states import State
from tests.console.factories import TRACEBACK, make_job

pytestmark = pytest.mark.django_db


def page(client: Client, job: JobRecord, query: str = "") -> str:
    response = client.get(reverse("admin:jobsite_jobs_jobrecord_change", args=[job.pk]) + query)
    assert response.status_code == 200
    return response.content.decode()


def test_log_lines_are_shown_inert(viewer: Client) -> None:
    job = make_job()
    AttemptLog.objects.create(
        job=job, attempt=1, lines=[["2026-01-01T00:00:00+00:00", "ERROR", "shop", "<script>\u202ex"], "garbage"]
    )
    html = page(viewer, job)
    assert "log-error" in html
    assert "&lt;script&gt;\\u202ex" in html


def test_parent_children_and_correlation_are_linked(viewer: Client) -> None:
    parent = make_job(State.SUCCEEDED)
    job = make_job(parent_id=parent.pk, correlation="order 7")
    child = make_job(parent_id=job.pk)
    html = page(viewer, job)
    for other in (parent, child):
        assert reverse("admin:jobsite_jobs_jobrecord_change", args=[other.pk]) in html
    assert "?q=correlation%3A%22order%207%22" in html


def test_a_priority_is_shown_where_there_is_one(viewer: Client) -> None:
    job = make_job(State.ENQUEUED)
    assert "<dt>Priority</dt>" not in page(viewer, job)
    JobRecord.objects.filter(pk=job.pk).update(priority=-3)
    assert "<dt>Priority</dt><dd>-3, as if enqueued 18 s later</dd>" in page(viewer, job)


@pytest.mark.once
def test_markdown_fence_cannot_be_broken_out_of(viewer: Client) -> None:
    html = page(viewer, make_job(message="````` [x](http://evil)"))
    assert "``````\n" in html


def test_old_attempt_links_to_its_traceback_and_logs(viewer: Client) -> None:
    job = make_job()
    first = job.history.get(to_state=State.FAILED)
    AttemptError.objects.filter(job=job).update(traceback="the very first")
    AttemptLog.objects.create(job=job, attempt=1, lines=[["2026-01-01T00:00:00+00:00", "INFO", "shop", "hello log"]])
    for attempt in range(2, 9):
        AttemptError.objects.create(job=job, attempt=attempt, at=job.created_at, exception="E", traceback="later")
        first.pk, first.attempt = None, attempt
        first.save()
    JobRecord.objects.filter(pk=job.pk).update(attempt=8)
    html = page(viewer, job)
    assert "?attempt=1" in html
    assert "the very first" not in html
    assert "hello log" not in html
    html = page(viewer, job, "?attempt=1")
    assert "the very first" in html
    assert "hello log" in html


@pytest.mark.parametrize("nonsense", ["%00x", "-1", "99999999999999999999", "2147483647"])
def test_attempt_that_is_none_shows_the_page(viewer: Client, nonsense: str) -> None:
    assert page(viewer, make_job(), f"?attempt={nonsense}")


def test_last_success_is_set_beside_the_failure_differing_arguments_first(viewer: Client) -> None:
    good = make_job(State.SUCCEEDED, payload={"same": 1, "text": "good"})
    html = page(viewer, make_job(payload={"same": 1, "text": "bad"}))
    table = html[html.index("side-by-side") :]
    assert reverse("admin:jobsite_jobs_jobrecord_change", args=[good.pk]) in table
    assert table.index("differs-word") < table.index("same")
    assert "&quot;bad&quot;" in table
    assert "&quot;good&quot;" in table


def test_job_that_succeeds_while_the_page_is_made_is_not_compared_with_itself(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = make_job(State.SUCCEEDED)
    job = make_job(payload={"text": "just retried"})
    read = relations.payload_of

    def succeeds(request: HttpRequest, record: JobRecord) -> Any:
        JobRecord.objects.filter(pk=record.pk).update(state=State.SUCCEEDED)
        return read(request, record)

    monkeypatch.setattr("dashboard.jobs.page.payload_of", succeeds)
    html = page(viewer, job)
    table = html[html.index("side-by-side") :].split("</table>")[0]
    assert reverse("admin:jobsite_jobs_jobrecord_change", args=[good.pk]) in table
    assert reverse("admin:jobsite_jobs_jobrecord_change", args=[job.pk]) not in table


def test_comparison_without_any_success_says_so(viewer: Client) -> None:
    make_job(State.SUCCEEDED, job_type="app.Nothing", payload={})
    assert "None of the newest jobs of this type has succeeded" in page(viewer, make_job())


def test_comparison_masks_sensitive_arguments_and_does_not_tell_whether_they_differ(viewer: Client) -> None:
    secrets = ("4111111111111111", "5500000000000004")
    for state, number in zip((State.SUCCEEDED, State.FAILED), secrets, strict=True):
        job = make_job(
            state, job_type="app.Pay", payload={"order_id": 7, "card": {"number": number}}, message="declined"
        )
    html = page(viewer, job)
    assert "side-by-side" in html
    assert not [number for number in secrets if number in html]
    assert "differs-word" not in html


def test_edited_arguments_are_told_with_their_differences(viewer: Client) -> None:
    job = make_job(payload={"text": "new", "kept": 1})
    move = job.history.get(to_state=State.FAILED)
    move.pk, move.from_state, move.to_state, move.actor = None, State.FAILED, State.ENQUEUED, "user:olga"
    move.data = {"old_payload": {"text": "old", "kept": 1}}
    move.save()
    edit = page(viewer, job).split('class="edit"')[1].split("</section>")[0]
    assert "<strong>olga</strong>" in edit
    assert "&quot;old&quot;" in edit
    assert "&quot;new&quot;" in edit
    assert "kept" not in edit


@pytest.mark.once
def test_chained_traceback_keeps_its_order_and_folds_library_frames(viewer: Client) -> None:
    chain = "During handling of the above exception, another exception occurred:"
    html = page(viewer, make_job(traceback=f"{TRACEBACK}\n{chain}\n\n{TRACEBACK.replace('httpx.', 'shop.')}"))
    read = html[html.index('<div class="traceback">') :]
    places = [
        read.index(part) for part in ("jobs.py", "1 library frame<", "httpx.ConnectError", chain, "shop.ConnectError")
    ]
    assert places == sorted(places)


def test_attempt_whose_worker_was_lost_says_why_it_has_no_log(viewer: Client) -> None:
    job = make_job()
    job.history.filter(to_state=State.FAILED).update(
        to_state=State.ENQUEUED, reason="worker lost while running it (1 of 3)"
    )
    AttemptError.objects.filter(job=job).delete()
    assert "its worker was lost." in page(viewer, job)


def test_older_attempt_and_verbs_keep_the_way_back_to_the_list(operator: Client) -> None:
    job = make_job()
    first = job.history.get(to_state=State.FAILED)
    for attempt in range(2, 9):
        AttemptError.objects.create(job=job, attempt=attempt, at=job.created_at, exception="E", traceback="later")
        first.pk, first.attempt = None, attempt
        first.save()
    JobRecord.objects.filter(pk=job.pk).update(attempt=8)
    html = page(operator, job, "?_changelist_filters=state%3Dfailed")
    assert "?attempt=1&amp;_changelist_filters=state%3Dfailed#attempt-1" in html
    assert "/retry/?_changelist_filters=state%3Dfailed" in html
    url = reverse("admin:jobsite_jobs_jobrecord_change", args=[job.pk])
    stale = operator.post(
        url.replace("/change/", "/retry/?_changelist_filters=state%3Dfailed"), {"expect": f"{job.pk}:x"}
    )
    assert stale.headers["Location"] == f"{url}?_changelist_filters=state%3Dfailed"


def test_running_job_is_stopped_and_deleted_by_its_button(operator: Client) -> None:
    html = page(operator, make_job(State.PROCESSING))
    assert ">Stop and delete</button>" in html
    assert "no outcome is kept" in html
    assert ">Delete</button>" in page(operator, make_job())


def test_unfinished_job_refreshes_its_parts_but_never_the_reason_that_is_typed(operator: Client) -> None:
    html = page(operator, make_job(State.SCHEDULED, retrying=True))
    for part in ("heading", "sentence", "verbs", "failure", "attempts", "timeline", "plan", "facts", "relations"):
        assert f'id="job-{part}"' in html
    verbs = html.split('id="job-verbs"')[1].split("</div>")[0]
    assert "data-live" in verbs
    assert 'name="expect"' in verbs
    assert 'name="reason"' not in verbs
    assert "data-live" not in page(operator, make_job()).split("<main")[-1].split('id="job-verbs"')[1]


def test_page_of_a_job_with_a_long_life_is_bounded(viewer: Client) -> None:
    make_job(State.SUCCEEDED)
    big = ("Traceback (most recent call last):\n" + '  File "/srv/a.py", line 1, in f\n    <&>\n' * 2_000)[:65_536]
    parent = make_job(State.SUCCEEDED)
    job = make_job(message="m" * 65_536, traceback=big, parent_id=parent.pk, correlation="c", fingerprint="a" * 16)
    FailureGroup.objects.create(fingerprint="a" * 16, first_at=job.created_at, last_at=job.created_at)
    for _ in range(60):
        make_job(State.ENQUEUED, parent_id=job.pk)
    move, error = job.history.get(to_state=State.FAILED), job.errors.get()
    for attempt in range(2, 51):
        error.pk, error.attempt = None, attempt
        error.save()
    for number in range(200):
        move.pk, move.attempt = None, number // 4 + 1
        move.save()
    JobRecord.objects.filter(pk=job.pk).update(attempt=50)
    line = ["2026-01-01T00:00:00.000+00:00", "INFO", "shop", "x" * 2_000]
    for attempt in range(1, 51):
        AttemptLog.objects.create(job=job, attempt=attempt, lines=[line] * 201)
    RunState.objects.create(job=job, attempt=50, done=1, at=job.created_at)
    for attempt in range(1, 201):
        JobStep.objects.create(job=job, name=f"{attempt} {'s' * 90}", attempt=50, started_at=job.created_at)
    with CaptureQueriesContext(connection) as captured:
        html = page(viewer, job, "?attempt=3&_changelist_filters=state%3Dfailed")
    asked = [query["sql"] for query in captured if " FROM " in query["sql"]]  # savepoints and time limits ask nothing
    assert len(asked) <= 24  # of them one for the saved views, one for the person's keys, two for what the run tells
    assert len(html) < 1_200_000
    assert "0 failed attempts like this" in html
    assert f"?q=parent:{job.pk}" in html
    assert 100_000 < sum(len(text) for text in re.findall("x{200,}", html)) <= 300_000


@pytest.mark.once
@pytest.mark.parametrize(
    "hostile",
    [
        '  File "' * 8_000,
        "\n" * 65_536,
        '  File "a", line 1\n  File "/lib/python3/b", line 2\n' * 1_200,
        '  File "a", line ' + "9" * 60_000,
    ],
)
def test_hostile_traceback_is_shown_whole_and_bounded(viewer: Client, hostile: str) -> None:
    html = page(viewer, make_job(traceback=hostile))
    assert len(html) < 1_000_000


@pytest.mark.parametrize(
    "text",
    [TRACEBACK, f"a\n{TRACEBACK}\n\nb", '  File "a", line 1\n    x\n    ^\n  [Previous line repeated 3 more times]'],
)
def test_parts_of_a_traceback_hold_every_line(text: str) -> None:
    told = "\n".join(part.text for part in parts(text)).splitlines()
    assert [line for line in told if line] == [line for line in text.splitlines() if line]


def plan(client: Client, job: JobRecord) -> str:
    """What the page says that comes next, in plain words."""
    health.forget()
    html = client.get(f"/admin/jobs/jobrecord/{job.pk}/change/").content.decode()
    part = html.partition('id="job-plan"')[2].partition("</section>")[0].partition(">")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", part).split())


def serve(*queues: str) -> None:
    """A live worker of these queues."""
    now = timezone.now()
    WorkerProcess.objects.update_or_create(
        name="w",
        defaults={
            "host": "h", "pid": 1, "kind": "worker", "started_at": now, "heartbeat_at": now, "queues": list(queues),
        },
    )  # fmt: skip


def test_page_tells_whether_anybody_comes_for_the_job(viewer: Client) -> None:
    job = make_job(State.ENQUEUED, queue="mail")
    assert "It waits. No live worker serves queue mail." in plan(viewer, job)
    assert "python manage.py worker --queues mail" in plan(viewer, job)
    serve("default")
    assert "It waits. No live worker serves queue mail." in plan(viewer, job)
    serve("default", "mail")
    assert "The next free worker of queue mail runs it: 1 serves it." in plan(viewer, job)
    QueueSwitch.objects.create(name="mail", paused_at=timezone.now())
    assert "It waits. Queue mail is paused." in plan(viewer, job)
    assert "next free worker" not in plan(viewer, job)


@pytest.mark.parametrize(
    ("state", "retrying", "words"),
    [
        (State.ENQUEUED, False, "It waits."),
        (State.SCHEDULED, False, "It would wait there."),
        (State.SCHEDULED, True, "It would wait then."),
        (State.FAILED, False, "A retry would wait."),
    ],
)
def test_page_tells_of_every_job_that_would_run_that_the_code_forgot_its_queue(
    viewer: Client, state: State, retrying: bool, words: str
) -> None:
    job = make_job(state, queue="gone-queue", retrying=retrying)
    said = f"{words} No live worker serves queue gone-queue, and the code no longer names it."
    assert said in plan(viewer, job)
    serve("gone-queue")
    assert "No live worker" not in plan(viewer, job)


def test_page_tells_that_the_type_is_paused_or_that_no_worker_could_run_the_job(viewer: Client) -> None:
    job = make_job(State.ENQUEUED)
    serve("default")
    TypeSwitch.objects.create(name="app.Note", paused_at=timezone.now())
    assert "It waits. Its type is paused" in plan(viewer, job)
    TypeSwitch.objects.all().delete()
    stranded = StrandedJob.objects.create(
        job_id=job.pk, token=job.token, job_type="app.Note", queue="default", since=timezone.now(),
        refused_by="a", exception="x.Y", reason="no handler is <b>registered",
    )  # fmt: skip
    assert "for a worker whose code can run it. no handler is" in plan(viewer, job)
    StrandedJob.objects.filter(pk=stranded.pk).update(token="0" * 16)  # it was moved or retried since
    assert "The next free worker of queue default runs it" in plan(viewer, job)


def test_the_result_is_shown_and_masked_like_arguments(viewer: Client, superuser: Client) -> None:
    arguments = {"order_id": 7, "token": "tok-4111", "pins": [90210]}
    job = make_job(State.SUCCEEDED, job_type="app.Pay", payload=arguments)
    result = {"receipt": "tok-4111 was charged", "pin": 90210, "n": [1]}
    JobResult.objects.create(job=job, attempt=job.attempt, at=timezone.now(), data=result)
    assert "tok-4111 was charged" in page(superuser, job)
    html = page(viewer, job)
    assert "was charged" in html
    assert "tok-4111" not in html
    assert "90210" not in html
    failed = make_job()
    JobResult.objects.create(job=failed, attempt=failed.attempt, at=timezone.now(), data="stale")
    assert "stale" not in page(superuser, failed)


def test_a_deadline_is_shown_while_it_counts(viewer: Client) -> None:
    job = make_job(State.ENQUEUED)
    assert "<dt>Expires</dt>" not in page(viewer, job)
    JobPayload.objects.filter(pk=job.pk).update(expires_at=timezone.now())
    assert "<dt>Expires</dt>" in page(viewer, job)
