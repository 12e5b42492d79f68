"""The list of workflows and the page of one: what they say, to whom, and how much they read for it."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import JobRecord, Workflow
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.workflows.conftest import LIST, Send, Step, drain, page
from tests.running import claim, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bad")]

SCRIPT = "<script>alert(1)</script>"


def html_of(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status, url
    return response.content.decode()


def text_of(client: Client, url: str) -> str:
    """What a reader reads: without marks, blanks as one."""
    body = html_of(client, url).partition('id="content-main"')[2]
    return unescape(re.sub(r"\s+([,.])", r"\1", re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))))


def row(**given: object) -> Workflow:
    given = {"created_at": timezone.now() - timedelta(minutes=3), "total": 10} | given
    return Workflow.objects.create(**given)


# --- the list


def test_list_tells_where_each_stands(superuser: Client) -> None:
    now = timezone.now()
    row(title="over", succeeded=10, finished_at=now)
    row(title="stuck", succeeded=4, failed=2)
    row(title="halted", paused_at=now)
    row(title="off", deleted=7, succeeded=3, cancelled_at=now, finished_at=now)
    row(title="partly", deleted=1, succeeded=9, finished_at=now)
    row(succeeded=1, skipped=1)
    text = text_of(superuser, LIST)
    for words in ("all 10 done", "4 of 10 done, 2 failed", "0 of 10 done", "2 of 10 done"):
        assert words in text
    assert re.search(r"\b3 min( \d+ s)? so far", text)  # to draw it the first time may take a second
    badges = re.findall(r'class="state state-(\w+)"', html_of(superuser, LIST))
    assert badges == ["running", "ended", "cancelled", "paused", "failed", "succeeded"]
    for state, title in {
        "succeeded": "over", "failed": "stuck", "paused": "halted", "cancelled": "off", "ended": "partly",
        "running": "Workflow",
    }.items():  # fmt: skip
        html = html_of(superuser, f"{LIST}?state={state}")
        assert html.count('<th scope="row">') == 1
        assert title in html


def test_list_searches_titles_and_ids_and_says_when_nothing_fits(superuser: Client) -> None:
    assert "No workflow yet." in html_of(superuser, LIST)
    first, other = row(title="Order of Ann"), row(title="Order")  # no numbers, which may be ids
    for asked, found in (("order ann", [first]), (str(other.pk), [other]), (f"%23{first.pk}", [first])):
        html = html_of(superuser, f"{LIST}?q={asked}")
        assert re.findall(r'href="/admin/workflows/(\d+)/"', html) == [str(each.pk) for each in found]
    assert "Nothing fits." in html_of(superuser, f"{LIST}?q=nobody")
    assert html_of(superuser, f"{LIST}?before=x&after=-1&state=nonsense&q=%00")


def test_list_looks_through_a_part_for_what_no_index_finds_and_goes_on(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = row(title="Order of Ann")
    for _ in range(7):
        row()
    monkeypatch.setattr("dashboard.kit.workflows.WINDOW", 3)
    for asked in ("q=ann", "state=ended"):
        html = html_of(superuser, f"{LIST}?{asked}")
        assert "Nothing fits so far." in html
        assert "Looked through" in html
    url, pages = f"{LIST}?q=ann", 0
    while (link := re.search(r'href="([^"]+)" rel="next"', html_of(superuser, url))) and pages < 9:
        url, pages = LIST + unescape(link[1]), pages + 1
    assert pages == 2
    assert f'href="/admin/workflows/{old.pk}/"' in html_of(superuser, url)
    html = html_of(superuser, f"{LIST}?q={old.pk}")
    assert f'href="/admin/workflows/{old.pk}/"' in html


def test_list_is_paged_by_key_there_and_back(superuser: Client) -> None:
    made = [row().pk for _ in range(120)]
    url, forth = LIST, []
    while url:
        html = html_of(superuser, url)
        forth.append([int(pk) for pk in re.findall(r'<a href="/admin/workflows/(\d+)/"', html)])
        link = re.search(r'href="([^"]+)" rel="next"', html)
        last, url = url, LIST + unescape(link[1]) if link else ""
    assert [pk for some in forth for pk in some] == made[::-1]
    back = re.search(r'href="([^"]+)" rel="prev"', html_of(superuser, last))
    assert back
    html = html_of(superuser, LIST + unescape(back[1]))
    assert [int(pk) for pk in re.findall(r'<a href="/admin/workflows/(\d+)/"', html)] == forth[1]


def test_workflows_are_for_who_may_see_them(viewer: Client, make_user: MakeUser) -> None:
    with job_scheduler.workflow("Order 7") as flow:
        flow.enqueue(Step("a"))
    for url in (LIST, page(flow.workflow_id)):
        assert viewer.get(url).status_code == 403
    assert LIST not in html_of(viewer, "/admin/")
    reader = logged_in(make_user("reader", "view_jobrecord", "view_workflow"))
    assert f'href="{LIST}" aria-current="page"' in html_of(reader, LIST)
    html = html_of(reader, page(flow.workflow_id))
    assert "Cancel" not in html
    assert "formaction" not in html
    assert reader.get(page(99_999)).status_code == reader.get(page(10**30)).status_code == 404


# --- one


def test_page_says_why_each_job_waits_and_for_whom(superuser: Client, bad: set[str]) -> None:
    bad.add("b")
    with job_scheduler.workflow("Order 7", on_success=Send("done"), on_end=Send("over")) as flow:
        a, b, c = (flow.enqueue(Step(name)) for name in "abc")
        both = flow.enqueue(Send("both"), after=[a, b, c])
        first = flow.enqueue(Send("any"), after=[b, c], require="any")
        alarm = flow.enqueue(Send("alarm"), after=c, when="failure")
        last = flow.enqueue(Send("last"), after=both)
    html = html_of(superuser, page(flow.workflow_id))
    assert "<h1" in html
    assert "Order 7" in html
    text = text_of(superuser, page(flow.workflow_id))
    assert (
        f"Waits for 3 of 3 jobs to succeed: job {a.job_id}, job {b.job_id}, job {c.job_id} wait on their queue" in text
    )
    assert f"Waits for any of 2 jobs to succeed: job {b.job_id}, job {c.job_id} wait on their queue" in text
    assert f"Waits for a job to fail: job {c.job_id} waits on its queue" in text
    assert f"Waits for a job to succeed: job {both.job_id} waits itself" in text
    assert "Runs once all jobs of its workflow have succeeded" in text
    assert "Runs once no job of its workflow is left to run" in text
    claim(c.job_id)
    run(a.job_id, b.job_id)
    text = text_of(superuser, page(flow.workflow_id))
    assert f"Waits for 2 of 3 jobs to succeed: job {b.job_id} failed: retry or skip it, job {c.job_id} runs" in text
    assert "GiveUp: b is bad" in text
    assert "1 of 7 done, 1 failed" in text
    rows = re.findall(
        r'<a href="\?state=(\w+)#jobs" class="count-of">.*?class="count">(\d+)<',
        html_of(superuser, page(flow.workflow_id)),
    )
    assert rows == [("failed", "1"), ("processing", "1"), ("awaiting", "4"), ("succeeded", "1")]
    for state, ids in {"failed": [b], "awaiting": [both, first, alarm, last], "processing": [c]}.items():
        html = html_of(superuser, page(flow.workflow_id, f"?state={state}")).partition("flow-nodes")[2]
        found = re.findall(r'<th scope="row"><a href="/admin/jobs/jobrecord/(\d+)/change/"', html)
        assert [int(pk) for pk in found if int(pk) <= last.job_id] == [node.job_id for node in ids]


def test_page_of_what_waits_for_a_person_says_so(superuser: Client, bad: set[str]) -> None:
    bad.add("a")
    with job_scheduler.workflow("Order 7") as flow:
        flow.enqueue(Step("a"))
    drain()
    text = text_of(superuser, page(flow.workflow_id))
    assert "It waits for somebody: nothing is left to run, and 1 job failed." in text
    assert "Retry 1 failed" in text


def test_page_leads_to_what_belongs_together(superuser: Client) -> None:
    with job_scheduler.workflow("outer", on_end=Send("over")) as outer:
        opener = outer.enqueue(Step("opens"))
    with job_scheduler.workflow("inner") as inner:
        inner.enqueue(Step("a"))
    Workflow.objects.filter(pk=inner.workflow_id).update(opened_by=opener.job_id)
    html = html_of(superuser, page(outer.workflow_id))
    assert page(inner.workflow_id) in html
    assert f"/admin/jobs/jobrecord/{Workflow.objects.get(title='outer').on_end}/change/" in html
    JobRecord.objects.filter(pk=opener.job_id).update(state=State.SUCCEEDED)
    assert "its own workflow goes on" in html_of(superuser, page(outer.workflow_id))
    text = text_of(superuser, page(inner.workflow_id))
    assert f"Opened by shop.Step # {opener.job_id}".replace("# ", "#") in text
    assert "of workflow outer" in text


def test_titles_are_inert(superuser: Client) -> None:
    with job_scheduler.workflow(f"{SCRIPT}\u202e") as flow:
        flow.enqueue(Step("a"))
    for url in (LIST, page(flow.workflow_id), page(flow.workflow_id, "cancel/"), f"{LIST}?q={SCRIPT}"):
        html = html_of(superuser, url)
        assert SCRIPT not in html
        assert "\u202e" not in html
        assert "&lt;script&gt;" in html
    answer = superuser.post(page(flow.workflow_id, "pause/"), follow=True).content.decode()
    assert SCRIPT not in answer


@pytest.mark.parametrize("first", [True, False])
def test_page_reads_no_more_for_more_jobs(superuser: Client, first: bool) -> None:
    counts = []
    for size in (3, 60):
        with job_scheduler.workflow() as flow:
            roots = [flow.enqueue(Step("a")) for _ in range(size)]
            for root in roots:
                flow.enqueue(Send("b"), after=root)
            flow.enqueue(Send("c"), after=roots)
        url = page(flow.workflow_id) if first else LIST
        superuser.get(url)
        with CaptureQueriesContext(connection) as queries:
            superuser.get(url)
        counts.append(len(queries))
    assert counts[1] <= counts[0] < 50


def test_table_is_paged_by_key(superuser: Client) -> None:
    with job_scheduler.workflow() as flow:
        nodes = flow.enqueue_many([Step("a")] * 120)
    seen, url = [], page(flow.workflow_id)
    while url:
        html = html_of(superuser, url)
        seen += re.findall(r'<th scope="row"><a href="/admin/jobs/jobrecord/(\d+)/change/"', html)
        link = re.search(r'href="([^"]+)" rel="next"', html)
        url = page(flow.workflow_id) + unescape(link[1]) if link else ""
    assert [int(pk) for pk in seen] == [node.job_id for node in nodes]


def test_only_the_parts_that_are_asked_for_are_made(superuser: Client) -> None:
    with job_scheduler.workflow() as flow:
        flow.enqueue(Step("a"))
    html = superuser.get(page(flow.workflow_id), headers={"X-Live": "workflow-progress"}).content.decode()
    assert 'id="workflow-progress" data-live' in html
    assert "flow-nodes" not in html
