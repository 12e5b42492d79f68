"""Moving jobs to another queue from the pages: one, ticked ones, all that match; asked first, told honestly."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from handlers import job_scheduler
from handlers.bulk import run_chunk
from handlers.models import AuditEntry, BulkOperation, JobRecord
from handlers.states import State
from tests.console.conftest import OPERATES, MakeUser, logged_in
from tests.console.factories import make_job
from tests.console.jobs.test_verbs import LIST, act, told

pytestmark = pytest.mark.django_db

OLD = "gone-queue"
NEW = f"/admin/bulk/new/?verb=move&queue={OLD}"


@pytest.fixture
def runner(make_user: MakeUser) -> Client:
    """May start bulk operations."""
    return logged_in(make_user("rita", *OPERATES, "run_bulkoperation"))


def queues(*jobs: JobRecord) -> list[str]:
    """The jobs' queues now."""
    return [JobRecord.objects.values_list("queue", flat=True).get(pk=job.pk) for job in jobs]


def options(html: str) -> list[str]:
    """The queues that the page offers."""
    select = html.partition('<select name="queue"')[2].partition("</select>")[0]
    return re.findall(r'<option value="([^"]+)"', select)


def test_one_job_is_moved_after_the_page_has_asked_where_to(operator: Client) -> None:
    job = make_job(State.ENQUEUED, queue=OLD)
    page = operator.get(f"{LIST}{job.pk}/change/?_changelist_filters=queue%3Dgone-queue").content.decode()
    assert "Move to another queue …" in page
    url = f"{LIST}{job.pk}/move/?_changelist_filters=queue%3Dgone-queue"
    assert f'formaction="{url}"' in page
    form = {"expect": f"{job.pk}:{job.token}", "reason": "nobody there"}
    asked = operator.post(url, form)
    html = asked.content.decode()
    assert asked.status_code == 200
    assert "Move 1 job to another queue?" in html
    assert 'value="nobody there"' in html
    assert "mail (no live worker)" in html
    assert {"default", "mail"} <= set(options(html))
    assert not {"system", OLD} & set(options(html))
    assert queues(job) == [OLD]

    answer = operator.post(url, form | {"confirmed": "yes", "queue": "mail"})
    assert answer.headers["Location"] == f"{LIST}{job.pk}/change/?_changelist_filters=queue%3Dgone-queue"
    assert told(answer)[-1] == f"Moved job {job.pk} to queue mail."
    assert queues(job) == ["mail"]
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.count, entry.reason, entry.username) == ("move", 1, "nobody there", "olga")
    shown = operator.get("/admin/jobs/auditentry/").content.decode()
    assert ">Move<" in shown
    assert OLD in shown
    timeline = operator.get(f"{LIST}{job.pk}/change/").content.decode().partition('class="timeline"')[2]
    assert f"moved from queue {OLD} to mail: nobody there" in timeline


def test_job_that_waits_for_its_retry_is_still_told_so_after_the_move(operator: Client) -> None:
    job = make_job(State.SCHEDULED, retrying=True)
    assert job_scheduler.move(job.pk, "mail")
    timeline = operator.get(f"{LIST}{job.pk}/change/").content.decode().partition('class="timeline"')[2]
    last = timeline.partition("</ol>")[0].rpartition('<li class="step')[2]
    assert "moved from queue default to mail" in last
    assert "state-retrying" in last


@pytest.mark.parametrize("queue", ["", OLD, "system", "<b>evil</b>", "mail\x00", "x" * 10_000])
def test_queue_that_is_none_is_refused_with_a_word_and_nothing_is_done(operator: Client, queue: str) -> None:
    job = make_job(State.FAILED)
    form = {"expect": f"{job.pk}:{job.token}", "confirmed": "yes", "queue": queue}
    for answer in (operator.post(f"{LIST}{job.pk}/move/", form), act(operator, "move", [job], **form)):
        html = answer.content.decode()
        assert answer.status_code == 400
        assert ("There is no queue" if queue else "Choose the queue") in html
        assert "<b>evil" not in html
        assert "x" * 100 not in html
    assert queues(job) == ["default"]
    assert not AuditEntry.objects.exists()


def test_page_that_is_out_of_date_moves_nothing(operator: Client) -> None:
    job = make_job(State.ENQUEUED)
    form = {"expect": f"{job.pk}:{'0' * 16}", "confirmed": "yes", "queue": "mail"}
    assert "moved on" in told(operator.post(f"{LIST}{job.pk}/move/", form))[0]
    assert queues(job) == ["default"]
    assert "can be moved any more" in operator.post(f"{LIST}{job.pk}/move/", {}).content.decode()


def test_move_pressed_twice_moves_once_and_says_so(operator: Client) -> None:
    job = make_job(State.ENQUEUED)
    html = operator.post(f"{LIST}{job.pk}/move/", {"expect": f"{job.pk}:{job.token}"}).content.decode()
    key = re.search(r'name="form_key" value="([^"]+)"', html)
    assert key
    form = {"expect": f"{job.pk}:{job.token}", "confirmed": "yes", "queue": "mail", "form_key": key[1]}
    for _ in range(2):
        answer = operator.post(f"{LIST}{job.pk}/move/", form)
    assert told(answer)[-1] == f"You moved job {job.pk} just now; it waits for a worker. Nothing was done now."
    assert AuditEntry.objects.count() == 1


def test_ticked_jobs_are_moved_with_an_honest_count(operator: Client) -> None:
    jobs = [make_job(State.ENQUEUED, queue=OLD), make_job(State.FAILED, queue=OLD), make_job(State.SUCCEEDED)]
    asked = act(operator, "move", jobs, "?queue=gone-queue")
    html = asked.content.decode()
    assert "Move 2 jobs to another queue?" in html
    assert "1 of these jobs has moved on or ended" in html
    assert OLD not in options(html)
    assert 'href="/admin/jobs/jobrecord/?queue=gone-queue"' in html
    answer = act(operator, "move", jobs, "?queue=gone-queue", confirmed="yes", queue="mail", reason="clean up")
    late = f"Job {jobs[2].pk} has moved on since the page was made: it succeeded on attempt 1."
    assert told(answer) == [f"Moved 2 jobs to queue mail. {late}"]
    assert queues(*jobs) == ["mail", "mail", "default"]
    assert [JobRecord.objects.get(pk=job.pk).state for job in jobs] == [job.state for job in jobs]


def test_the_engines_own_jobs_cannot_be_moved(operator: Client) -> None:
    chunk = make_job(State.FAILED, job_type="jobs.RunBulk", queue="system")
    assert "/move/" not in operator.get(f"{LIST}{chunk.pk}/change/").content.decode()
    form = {"expect": f"{chunk.pk}:{chunk.token}", "confirmed": "yes", "queue": "mail"}
    operator.post(f"{LIST}{chunk.pk}/move/", form)
    assert queues(chunk) == ["system"]


def test_all_that_match_are_moved_by_a_run(runner: Client) -> None:
    jobs = [make_job(state, queue=OLD) for state in (State.ENQUEUED, State.FAILED, State.SCHEDULED)]
    other = make_job(State.ENQUEUED)
    listed = runner.get(f"{LIST}?queue={OLD}").content.decode()
    assert f'<a href="{NEW.replace("&", "&amp;")}" class="bulk-move">Move all that match …</a>' in listed
    html = runner.get(NEW).content.decode()
    assert "Move 3 jobs</button>" in html
    assert "Moves to another queue all" in html
    assert "Canary" not in html
    assert OLD not in options(html)

    refused = runner.post(NEW, {"queue": ""})
    assert refused.status_code == 400
    assert "Choose the queue" in refused.content.decode()
    assert not BulkOperation.objects.exists()

    page = runner.post(NEW, {"queue": "mail", "reason": "old is gone"}, follow=True).content.decode()
    operation = BulkOperation.objects.get()
    assert "Started in the background: Move 3 jobs to queue mail." in page
    assert "<dt>To queue</dt><dd>mail</dd>" in page
    assert "First attempt after the move" not in page
    while run_chunk(operation.pk, BulkOperation.objects.get().step):
        pass
    assert queues(*jobs, other) == ["mail", "mail", "mail", "default"]
    assert "Move 3 jobs to queue mail" in runner.get("/admin/bulk/").content.decode()


def test_run_that_moves_needs_both_permissions(make_user: MakeUser) -> None:
    make_job(State.ENQUEUED, queue=OLD)
    for name, codenames in (("a", ("move_jobrecord",)), ("b", ("run_bulkoperation", "retry_jobrecord"))):
        client = logged_in(make_user(name, "view_jobrecord", *codenames))
        assert client.post(NEW, {"queue": "mail"}).status_code == 403
        assert "bulk-move" not in client.get(LIST).content.decode()
    assert not BulkOperation.objects.exists()
