"""Each page answers, says what it should, and carries nothing that a strict Content-Security-Policy forbids."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.kit import health, statements
from handlers import bounded
from handlers.models import AuditEntry, JobRecord
from handlers.states import State
from tests.console.factories import make_job, one_of_each
from tests.console.policy import breaches

PAGES = (
    "/admin/",
    "/admin/jobs/",
    "/admin/jobs/jobrecord/",
    "/admin/jobs/auditentry/",
    "/admin/recurring/",
    "/admin/workflows/",
    "/admin/queues/",
    "/admin/job-types/",
    "/admin/limits/",
    "/admin/alerts/",
    "/admin/clients/",
    "/admin/retry-policies/",
    "/admin/auth/user/",
    "/admin/auth/group/",
    "/admin/auth/user/add/",
)
STATES = ("failed", "retrying", "scheduled", "enqueued", "processing", "succeeded", "deleted")


def text_of(client: Client, url: str, status: int = 200) -> str:
    """The page's HTML."""
    response = client.get(url)
    assert response.status_code == status, url
    return response.content.decode()


@pytest.mark.parametrize("state", STATES)
def test_job_list_shows_only_the_state_asked_for(viewer: Client, state: str) -> None:
    one_of_each()
    html = text_of(viewer, f"/admin/jobs/jobrecord/?state={state}")
    badges = set(re.findall(r'class="state state-([a-z]+)"', html))
    assert badges == ({"scheduled", "retrying"} if state == "scheduled" else {state})


def test_job_list_filters_by_type_and_queue_together(viewer: Client) -> None:
    wanted = make_job(job_type="app.Greet", queue="mail")
    others = [make_job(job_type="app.Greet"), make_job(queue="mail")]
    html = text_of(viewer, "/admin/jobs/jobrecord/?type=app.Greet&queue=mail")
    assert f"/{wanted.pk}/change/" in html
    assert not any(f"/{job.pk}/change/" in html for job in others)


def test_job_list_keeps_an_unknown_type_of_an_old_link_as_a_choice(viewer: Client) -> None:
    job = make_job(job_type="old.Gone")
    html = text_of(viewer, "/admin/jobs/jobrecord/?type=old.Gone")
    assert f"/{job.pk}/change/" in html
    assert '<option value="old.Gone" selected>' in html


@pytest.mark.parametrize("asked", ["{pk}", "#{pk}", "gre", "app.Greet", " app.greet "])
def test_search_finds_by_id_and_by_part_of_the_type(viewer: Client, asked: str) -> None:
    job, other = make_job(job_type="app.Greet"), make_job(job_type="app.Note")
    response = viewer.get("/admin/jobs/jobrecord/", {"q": asked.format(pk=job.pk)})
    html = response.content.decode()
    assert f"/{job.pk}/change/" in html
    assert f"/{other.pk}/change/" not in html


@pytest.mark.parametrize("query", ["p=7", "o=1.2", "all="])
def test_job_list_passes_over_what_other_lists_have(viewer: Client, query: str) -> None:
    make_job()
    assert viewer.get(f"/admin/jobs/jobrecord/?{query}").status_code == 200


def test_job_list_pages_by_key_through_every_job_and_back(viewer: Client) -> None:
    jobs = [make_job(State.ENQUEUED).pk for _ in range(120)]
    url, forth = "/admin/jobs/jobrecord/?state=enqueued", []
    while url:
        html = text_of(viewer, url)
        forth.append([int(pk) for pk in re.findall(r"/admin/jobs/jobrecord/(\d+)/change/", html)])
        link = re.search(r'href="([^"]+)" rel="next"', html)
        last, url = url, "/admin/jobs/jobrecord/" + link[1].replace("&amp;", "&") if link else ""
    assert [pk for page in forth for pk in page] == jobs[::-1]
    back = re.search(r'href="([^"]+)" rel="prev"', text_of(viewer, last))
    assert back
    html = text_of(viewer, "/admin/jobs/jobrecord/" + back[1].replace("&amp;", "&"))
    assert [int(pk) for pk in re.findall(r"/admin/jobs/jobrecord/(\d+)/change/", html)] == forth[1]


@pytest.mark.parametrize("url", ["/admin/", "/admin/jobs/jobrecord/", "/admin/jobs/auditentry/"])
def test_page_needs_no_more_queries_for_more_rows(superuser: Client, url: str) -> None:
    superuser.get(url)
    counts = []
    for _ in range(2):
        health.forget()  # else it may grow old between the two
        for _ in range(8):
            make_job()
            AuditEntry.objects.create(at=JobRecord.objects.latest("pk").created_at, username="x", verb="retry", count=1)
        with CaptureQueriesContext(connection) as queries:
            superuser.get(url)
        counts.append(len(queries))
        assert not [q["sql"] for q in queries if "DISTINCT" in q["sql"]]
    assert counts[0] == counts[1] < 45


@pytest.mark.once  # PostgreSQL's plan depends on the table's size
@pytest.mark.django_db
def test_state_counts_read_indexes_in_their_order() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {bounded.by_state(statements.STATES, statements.CAP)}")
        steps = [step for *_, step in cursor.fetchall() if "jobs_jobrecord" in step or "ORDER BY" in step]
    assert len(steps) == 7
    assert all("INDEX jobs_" in step for step in steps), steps


@pytest.mark.parametrize("url", PAGES)
def test_page_without_rows_has_a_strict_policy_and_a_bar_that_leads_to_every_other(superuser: Client, url: str) -> None:
    response = superuser.get(url)
    html = response.content.decode()
    assert response.status_code == 200
    assert not breaches(response.headers["Content-Security-Policy"], html)
    bar = html.partition('class="console-nav"')[2].partition("</nav>")[0]
    for target in PAGES:
        if target not in ("/admin/jobs/", "/admin/auth/user/add/"):
            assert f'href="{target}"' in bar


def test_overview_links_each_state_with_its_count(viewer: Client) -> None:
    one_of_each()
    html = text_of(viewer, "/admin/")
    for state in STATES:
        tile = re.search(rf'href="/admin/jobs/jobrecord/\?state={state}" class="tile[^>]*><span[^>]*>(\d+)', html)
        assert tile
        # The retrying one is scheduled too, as in the list; and no counter knows of the one that succeeded.
        assert int(tile[1]) == {"scheduled": 2, "succeeded": 0}.get(state, 1)


def test_overview_says_what_to_do_when_there_is_no_job(viewer: Client) -> None:
    assert "job_scheduler.enqueue" in text_of(viewer, "/admin/")


def test_job_page_tells_the_failure_and_what_comes_next(viewer: Client) -> None:
    job = make_job()
    html = text_of(viewer, f"/admin/jobs/jobrecord/{job.pk}/change/")
    assert "job_scheduler.enqueue(Note(text=&#x27;hello&#x27;))" in html
    assert "httpx.ConnectError" in html
    assert "connection refused" in html
    assert "srv/shop/jobs.py:42" in html  # the last frame of the app's own, not the library's
    assert "host-1.4411.0" in html
    assert "took 2 s" in html
    assert "Nothing, by itself" in html


def test_job_page_shows_the_retry_plan_of_a_job_that_waits_out_its_backoff(viewer: Client) -> None:
    job = make_job(State.SCHEDULED, job_type="app.Patient", retrying=True)
    html = text_of(viewer, f"/admin/jobs/jobrecord/{job.pk}/change/")
    assert "state-retrying" in html
    assert "Attempt 2 runs" in html
    assert "3 attempts" in html


def test_job_page_says_that_no_handler_is_registered(viewer: Client) -> None:
    job = make_job(job_type="gone.Type")
    assert "No handler for this type" in text_of(viewer, f"/admin/jobs/jobrecord/{job.pk}/change/")


def test_job_page_of_an_unknown_id_leads_back_with_a_message(viewer: Client) -> None:
    response = viewer.get("/admin/jobs/jobrecord/4711/change/", follow=True)
    assert "There is no job 4711" in response.content.decode()


def test_job_types_page_lists_every_registered_type(viewer: Client) -> None:
    html = text_of(viewer, "/admin/job-types/")
    for words in ("app.Note", "app.Greet", "command", "mail"):
        assert words in html


def test_retry_policies_page_groups_the_types_by_policy(viewer: Client) -> None:
    html = text_of(viewer, "/admin/retry-policies/")
    assert html.count("<code>RetryPolicy()</code>") == 1
    assert "tests/app/jobs.py:" in html
    assert re.search(r"<td>2</td><td>30 s</td><td>30 s</td>", html)  # Hangfire's first wait


def test_audit_shows_who_did_what_and_filters(superuser: Client) -> None:
    job = make_job()
    superuser.post(f"/admin/jobs/jobrecord/{job.pk}/retry/", {"expect": f"{job.pk}:{job.token}", "reason": "mended"})
    html = text_of(superuser, "/admin/jobs/auditentry/")
    assert "mended" in html
    assert f'href="/admin/jobs/jobrecord/{job.pk}/change/"' in html
    assert "mended" in text_of(superuser, "/admin/jobs/auditentry/?verb=retry&user=admin")
    assert "mended" not in text_of(superuser, "/admin/jobs/auditentry/?verb=delete")
    assert "mended" not in text_of(superuser, "/admin/jobs/auditentry/?user=someone")


def test_times_carry_the_exact_moment(viewer: Client) -> None:
    make_job(age=timedelta(hours=3))
    html = text_of(viewer, "/admin/jobs/jobrecord/")
    assert re.search(
        r'<time datetime="[^"]+" data-as="ago" title="\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC">2 h ago</time>', html
    )
