"""What the verbs do from the pages: honest counts, stale pages told, everything on the audit."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.contrib.messages import get_messages
from django.test import Client

from handlers import job_scheduler
from handlers.models import AuditEntry, JobRecord, QueueSwitch
from handlers.selection import Selection
from handlers.states import State
from tests.console.factories import make_job

LIST = "/admin/jobs/jobrecord/"


def told(response: Any) -> list[str]:
    """The messages that the response carries to the next page."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def states(*jobs: JobRecord) -> list[str]:
    """The jobs' states now."""
    return [JobRecord.objects.values_list("state", flat=True).get(pk=job.pk) for job in jobs]


def act(client: Client, verb: str, jobs: list[JobRecord], query: str = "", **extra: str) -> Any:
    """Tick ``jobs`` and press the button of ``verb``."""
    data = {
        "action": verb,
        "index": "0",
        "_selected_action": [str(job.pk) for job in jobs],
        "expect": [f"{job.pk}:{job.token}" for job in jobs],
        **extra,
    }
    return client.post(LIST + query, data)


def test_retry_of_one_job_moves_it_and_says_so(operator: Client) -> None:
    job = make_job()
    url = f"{LIST}{job.pk}/retry/"
    response = operator.post(url, {"expect": f"{job.pk}:{job.token}", "reason": "gateway is back"})
    assert response.headers["Location"] == f"{LIST}{job.pk}/change/"
    assert told(response) == [f"Retried job {job.pk}."]
    assert states(job) == [State.ENQUEUED]
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.verb, entry.count, entry.reason) == ("olga", "retry", 1, "gateway is back")
    assert job.history.latest("pk").actor == "user:olga"


@pytest.mark.parametrize("expect", ["stale", "missing", "malformed"])
def test_stale_page_is_told_and_not_forced(operator: Client, expect: str) -> None:
    job = make_job()
    data = {"stale": {"expect": f"{job.pk}:{'0' * 16}"}, "missing": {}, "malformed": {"expect": "x:y"}}[expect]
    response = operator.post(f"{LIST}{job.pk}/retry/", data)
    now = "it failed on attempt 1: ConnectError: connection refused"
    assert told(response) == [f"Job {job.pk} has moved on since the page was made: {now}. Nothing was done now."]
    assert states(job) == [State.FAILED]


def test_retried_job_of_a_paused_queue_or_type_is_told_to_wait_for_that(operator: Client) -> None:
    queue, job_type = make_job(queue="mail"), make_job(job_type="app.Sleep")
    job_scheduler.pause_queue("mail")
    job_scheduler.pause_type("app.Sleep")
    for job, why in ((queue, "queue mail"), (job_type, "type app.Sleep")):
        answer = operator.post(f"{LIST}{job.pk}/retry/", {"expect": f"{job.pk}:{job.token}"}, follow=True)
        assert f"It waits, since {why} is paused." in answer.content.decode()


def test_second_press_on_the_same_page_changes_nothing(operator: Client) -> None:
    job = make_job()
    data = {"expect": f"{job.pk}:{job.token}"}
    operator.post(f"{LIST}{job.pk}/retry/", data)
    token = JobRecord.objects.get(pk=job.pk).token
    response = operator.post(f"{LIST}{job.pk}/delete/", data)
    assert told(response)[-1] == f"You retried job {job.pk} just now; it waits for a worker. Nothing was done now."
    assert JobRecord.objects.get(pk=job.pk).token == token


def test_verb_from_the_list_leads_back_to_the_same_list(operator: Client) -> None:
    job = make_job()
    url = f"{LIST}{job.pk}/retry/?back=state%3Dfailed%26queue%3Ddefault"
    response = operator.post(url, {"expect": f"{job.pk}:{job.token}"})
    assert response.headers["Location"] == f"{LIST}?state=failed&queue=default"
    hostile = operator.post(f"{LIST}{job.pk}/retry/?back=//evil.example/", {})
    assert hostile.headers["Location"].startswith(f"{LIST}?")


def test_verb_whose_way_back_cannot_be_read_is_refused_before_it_acts(operator: Client) -> None:
    job = make_job()
    back = quote("&".join(["state=failed"] * (settings.DATA_UPLOAD_MAX_NUMBER_FIELDS + 1)))
    response = operator.post(f"{LIST}{job.pk}/retry/?back={back}", {"expect": f"{job.pk}:{job.token}"})
    assert response.status_code == 400
    assert states(job) == [State.FAILED]


def test_part_of_a_bulk_operation_that_is_at_work_takes_no_verb(operator: Client) -> None:
    make_job()
    job_scheduler.start_bulk("retry", Selection(states=("failed",)))
    chunk = JobRecord.objects.get(job_type="jobs.RunBulk")
    page = operator.get(f"{LIST}{chunk.pk}/change/").content.decode()
    assert "/delete/" not in page
    one = operator.post(f"{LIST}{chunk.pk}/delete/", {"expect": f"{chunk.pk}:{chunk.token}"})
    ticked = act(operator, "delete", [chunk, make_job()], confirmed="yes")
    words = f"Job {chunk.pk} does a part of a bulk operation: pause or stop that. Nothing was done."
    assert told(one)[-1] == told(ticked)[-1] == words
    assert states(chunk) == [State.ENQUEUED]
    assert not AuditEntry.objects.filter(verb="delete").exists()


def test_part_of_a_bulk_operation_that_has_failed_is_like_any_job(operator: Client) -> None:
    chunk = make_job(job_type="jobs.RunBulk", queue="system")
    operator.post(f"{LIST}{chunk.pk}/delete/", {"expect": f"{chunk.pk}:{chunk.token}"})
    assert states(chunk) == [State.DELETED]


def test_row_buttons_send_the_row_they_stand_in(operator: Client) -> None:
    jobs = [make_job(), make_job()]
    html = operator.get(f"{LIST}?state=failed").content.decode()
    for job in jobs:
        assert f'name="expect" value="{job.pk}:{job.token}"' in html
        assert f'formaction="{LIST}{job.pk}/retry/?back=state%3Dfailed"' in html
    both = {"expect": [f"{job.pk}:{job.token}" for job in jobs]}  # a row's button sends the whole list's form
    operator.post(f"{LIST}{jobs[0].pk}/retry/", both)
    assert states(*jobs) == [State.ENQUEUED, State.FAILED]


def test_ticked_rows_are_retried_with_an_honest_count(operator: Client) -> None:
    jobs = [make_job() for _ in range(3)]
    untouched = make_job()
    operator.post(f"{LIST}{jobs[0].pk}/delete/", {"expect": f"{jobs[0].pk}:{jobs[0].token}"})
    response = act(operator, "retry", jobs, "?state=failed")
    assert told(response)[-1] == f"Retried 2 jobs. You deleted job {jobs[0].pk} just now; it is deleted."
    assert response.headers["Location"] == f"{LIST}?state=failed"
    assert states(*jobs, untouched) == [State.DELETED, State.ENQUEUED, State.ENQUEUED, State.FAILED]
    entry = AuditEntry.objects.filter(verb="retry").get()
    assert (entry.count, entry.data and entry.data["asked"]) == (2, 3)


@pytest.mark.parametrize(
    ("verb", "state", "after", "words"),
    [
        ("retry", State.SCHEDULED, State.ENQUEUED, "Retried 2 jobs."),
        ("requeue", State.SUCCEEDED, State.ENQUEUED, "Requeued 2 jobs."),
        ("restore", State.DELETED, State.ENQUEUED, "Restored 2 jobs."),
    ],
)
def test_ticked_rows_move(operator: Client, verb: str, state: State, after: State, words: str) -> None:
    jobs = [make_job(state), make_job(state)]
    assert told(act(operator, verb, jobs)) == [words]
    assert states(*jobs) == [after, after]
    assert AuditEntry.objects.get().verb == verb


def test_delete_of_ticked_rows_asks_first_and_shows_what_it_would_do(operator: Client) -> None:
    jobs = [make_job(State.ENQUEUED), make_job(State.FAILED), make_job(State.SUCCEEDED)]
    response = act(operator, "delete", jobs)
    html = response.content.decode()
    assert "Delete 2 jobs?" in html
    assert "1 of these jobs has moved on or ended" in html
    assert all(f'name="expect" value="{job.pk}:{job.token}"' in html for job in jobs)
    assert states(*jobs) == [State.ENQUEUED, State.FAILED, State.SUCCEEDED]
    assert not AuditEntry.objects.exists()

    response = act(operator, "delete", jobs, confirmed="yes", reason="duplicates")
    late = f"Job {jobs[2].pk} has moved on since the page was made: it succeeded on attempt 1."
    assert told(response) == [f"Deleted 2 jobs. {late}"]
    assert states(*jobs) == [State.DELETED, State.DELETED, State.SUCCEEDED]
    assert AuditEntry.objects.get().reason == "duplicates"


def test_nothing_ticked_is_told(operator: Client) -> None:
    assert "must be selected" in told(act(operator, "retry", []))[0]


def test_all_that_match_cannot_be_forced(operator: Client) -> None:
    jobs = [make_job(), make_job()]
    response = act(operator, "retry", jobs[:1], select_across="1")
    assert response.status_code == 403
    assert states(*jobs) == [State.FAILED, State.FAILED]


def test_too_many_at_once_are_refused(operator: Client) -> None:
    job = make_job()
    ids = [str(job.pk), *(str(10_000 + n) for n in range(600))]
    response = operator.post(
        LIST, {"action": "retry", "index": "0", "_selected_action": ids, "expect": f"{job.pk}:{job.token}"}
    )
    assert "At most 500 jobs" in told(response)[0]
    assert states(job) == [State.FAILED]


def test_ids_that_are_no_numbers_are_passed_over(operator: Client) -> None:
    job = make_job()
    data = {
        "action": "retry",
        "index": "0",
        "_selected_action": [str(job.pk), "9" * 30, "{}"],
        "expect": [f"{job.pk}:{job.token}", ":", "٣:x"],
    }
    assert told(operator.post(LIST, data)) == ["Retried 1 job."]


def test_job_page_offers_only_what_is_possible(operator: Client) -> None:
    offered = {
        State.FAILED: {"retry", "move", "delete"},
        State.SCHEDULED: {"retry", "move", "delete"},
        State.ENQUEUED: {"move", "delete"},
        State.PROCESSING: {"delete"},
        State.SUCCEEDED: {"requeue"},
        State.DELETED: {"restore"},
    }
    for state, verbs in offered.items():
        job = make_job(state)
        html = operator.get(f"{LIST}{job.pk}/change/").content.decode()
        assert {verb for verb in ("retry", "requeue", "move", "delete", "restore") if f"/{verb}/" in html} == verbs, (
            state
        )


def test_bulk_bar_offers_only_what_fits_the_state_shown(operator: Client) -> None:
    make_job(State.SUCCEEDED)
    html = operator.get(f"{LIST}?state=succeeded").content.decode()
    assert 'value="requeue"' in html
    assert 'value="retry"' not in html


def test_queue_is_paused_and_resumed_with_who_and_why(operator: Client) -> None:
    response = operator.post("/admin/queues/mail/pause/", {"reason": "SMTP moves"})
    assert "Paused queue mail" in told(response)[0]
    switch = QueueSwitch.objects.get()
    assert (switch.name, switch.reason) == ("mail", "SMTP moves")
    html = operator.get("/admin/queues/").content.decode()
    assert "by olga" in html
    assert "SMTP moves" in html
    operator.post("/admin/queues/mail/resume/")
    assert not QueueSwitch.objects.exists()
    assert [entry.verb for entry in AuditEntry.objects.order_by("pk")] == ["pause_queue", "resume_queue"]


def test_unknown_queue_cannot_be_paused(operator: Client) -> None:
    assert operator.post("/admin/queues/nowhere/pause/").status_code == 404
    assert not QueueSwitch.objects.exists()


def test_system_queue_cannot_be_paused_and_the_page_says_why(operator: Client) -> None:
    response = operator.post("/admin/queues/system/pause/")
    assert "cannot be paused" in told(response)[0]
    assert not QueueSwitch.objects.exists()
