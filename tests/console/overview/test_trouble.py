"""The start page at 3 a.m.: what changed since one looked, trouble first, and where a bar leads."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from dashboard.kit import health, queries
from dashboard.models import Visit
from handlers import deploys, job_scheduler
from handlers.models import FailureGroup, JobCount, JobRecord, StrandedJob, WorkerProcess
from handlers.models.count import Outcome, Period
from handlers.states import State
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db


def page(client: Client, **headers: str) -> str:
    health.forget()
    return unescape(client.get("/admin/", headers=headers).content.decode())


def news(client: Client) -> str:
    """The sentence on what is new."""
    found = re.search(r'id="since".*?<p>(.*?)</p>', page(client), re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", "", found[1]).split()) if found else ""


def look(client: Client) -> None:
    """What the page sends once somebody looks at it."""
    assert client.post("/admin/seen/", {"visit": "1"}).status_code == 204


def was_away(hours: float = 2) -> None:
    then = timezone.now() - timedelta(hours=hours)
    Visit.objects.update(seen_at=then, since_at=then - timedelta(days=1))


def count(outcome: str, number: int, minutes: int = 1) -> None:
    at = (timezone.now() - timedelta(minutes=minutes)).replace(second=0, microsecond=0)
    JobCount.objects.create(period=Period.MINUTE, at=at, outcome=outcome, count=number)


def fleet(*served: str) -> None:
    now = timezone.now()
    for name, kind in (("w", "worker"), ("s", "scheduler")):
        WorkerProcess.objects.create(
            name=name, kind=kind, host="h", pid=1, queues=list(served), started_at=now, heartbeat_at=now
        )


def troubles(client: Client) -> list[tuple[str, str]]:
    """What needs somebody: the words of each line, and where it leads."""
    part = page(client).partition('id="trouble"')[2].partition("</section>")[0]
    items = re.findall(r"<li class=.*?</li>", part, re.DOTALL)
    return [
        (" ".join(re.sub(r"<[^>]+>", " ", item).split()), *re.findall(r'href="([^"]+)"', item)[:1]) for item in items
    ]


def test_who_comes_back_is_told_what_happened_meanwhile_until_they_say_that_they_have_seen_it(
    superuser: Client,
) -> None:
    anna = User.objects.create_superuser("anna")
    make_job()
    assert news(superuser).endswith("nothing new.")
    assert not Visit.objects.exists()  # looking writes nothing
    look(superuser)
    was_away()
    now = timezone.now()
    for name, first, back in (("a", 60, None), ("b", 90, None), ("c", 9_000, 30)):
        FailureGroup.objects.create(
            fingerprint=name * 16, first_at=now - timedelta(minutes=first), last_at=now, count=1,
            state="regressed" if back else "open", regressed_at=now - timedelta(minutes=back) if back else None,
        )  # fmt: skip
    count(Outcome.FAILED, 412)
    job_scheduler.pause_queue("default", by=anna, reason="gateway")
    deploys.mark("v1.2")
    said = news(superuser)
    assert "2 new kinds of failure, 1 kind of failure came back, 412 jobs failed, v1.2 deployed" in said
    assert "queue default paused by anna" in said
    look(superuser)
    assert "412 jobs failed" in news(superuser)  # looked at again, not away
    assert superuser.post("/admin/seen/").status_code == 302
    assert "412 jobs" not in news(superuser)


def test_own_acts_are_no_news_and_each_person_has_visits_of_their_own(superuser: Client, viewer: Client) -> None:
    make_job()
    look(superuser)
    look(viewer)
    was_away()
    job_scheduler.pause_queue("default", by=User.objects.get(is_superuser=True))
    assert "paused by" not in news(superuser)
    superuser.post("/admin/seen/")
    count(Outcome.FAILED, 3)
    assert "3 jobs failed" in news(viewer)


def test_who_may_not_see_jobs_leaves_no_visit(client: Client) -> None:
    client.force_login(User.objects.create_user("outsider", is_staff=True))
    assert client.post("/admin/seen/").status_code == 403
    assert not Visit.objects.exists()


def test_trouble_comes_first_and_what_is_well_is_one_line_however_many_queues_there_are(superuser: Client) -> None:
    fleet("default", *(f"q{n}" for n in range(40)))
    for number in range(40):
        make_job(State.ENQUEUED, queue=f"q{number}")
    for _ in range(12):
        make_job(State.ENQUEUED, queue="q7")
    at = (timezone.now() - timedelta(minutes=2)).replace(second=0, microsecond=0)
    JobCount.objects.create(period=Period.MINUTE, at=at, queue="q7", outcome=Outcome.CREATED, count=50)
    make_job(State.ENQUEUED, queue="lonely")
    job_scheduler.pause_queue("default", by=User.objects.get(), reason="gateway")
    told = [words for words, _url in troubles(superuser)]
    html = page(superuser)
    part = html.partition('id="trouble"')[2].partition("</section>")[0]
    assert told[0].startswith("Stands still lonely 1 waiting")
    assert any(item.startswith("Paused default") for item in told)
    assert any(item.startswith("Grows q7 13 waiting") and "10 come and 0 go a minute" in item for item in told)
    assert re.search(r">\d+ queues move, 39 jobs wait there<", part)  # q7 is told above
    assert part.count("<li") < 25
    assert html.index('id="trouble"') < html.index('id="tiles"')


def test_group_that_came_back_is_trouble_until_it_is_put_away(superuser: Client) -> None:
    make_job()
    now = timezone.now()
    for name, state in (("b", "regressed"), ("c", "open"), ("d", "resolved")):
        FailureGroup.objects.create(
            fingerprint=name * 16, exception=f"shop.Error{name.upper()}", state=state, count=1_234, last_at=now,
            first_at=now - timedelta(days=90), regressed_at=now if state == "regressed" else None,
        )  # fmt: skip
    ((words, url),) = [each for each in troubles(superuser) if "Error" in each[0]]
    assert words.startswith("Came back ")
    assert "ErrorB" in words
    assert words.endswith("1,234 attempts in all")
    assert url == f"/admin/failures/{'b' * 16}/"
    FailureGroup.objects.filter(fingerprint="b" * 16).update(state="resolved")
    assert not [words for words, _url in troubles(superuser) if "Came back" in words]


def test_types_whose_jobs_no_worker_can_run_are_trouble_with_how_many_wait(superuser: Client) -> None:
    fleet("default")
    jobs = [make_job(State.ENQUEUED, job_type=f"shop.Gone{number % 2}") for number in range(3)]

    def strand(job: JobRecord) -> None:
        StrandedJob.objects.create(
            job_id=job.pk, token=job.token, job_type=job.job_type, queue="default", since=timezone.now(),
            refused_by="few", exception="NoHandler", reason="x",
        )  # fmt: skip

    def told() -> list[tuple[str, str]]:
        return [each for each in troubles(superuser) if each[0].startswith("No worker")]

    assert not told()
    strand(jobs[0])
    list_url = "/admin/jobs/jobrecord/?state=enqueued"
    assert told() == [("No worker shop.Gone0 1 job waits for a worker that can run it", f"{list_url}&type=shop.Gone0")]
    for job in jobs[1:]:
        strand(job)
    assert told() == [("No worker 2 types 3 jobs wait for a worker that can run them", list_url)]


def test_failed_attempts_are_counted_exactly_and_compared_with_the_time_before(viewer: Client) -> None:
    make_job()
    count(Outcome.FAILED, 1_412, 5)
    count(Outcome.FAILED, 1_000, 65)
    html = page(viewer)
    assert "1,412 last hour" in html
    assert ">+412<" in html


def test_bar_leads_to_the_jobs_that_ended_in_its_time(viewer: Client) -> None:
    job = make_job(age=timedelta(minutes=5))
    ended = job.finished_at
    assert ended
    other = make_job(age=timedelta(minutes=45))
    at = ended.astimezone(UTC).replace(second=0, microsecond=0)
    JobCount.objects.create(period=Period.MINUTE, at=at, outcome=Outcome.FAILED, count=1)
    links = set(re.findall(r'href="(/admin/jobs/ended/[^"]+)"', page(viewer)))
    assert len(links) == 1
    answer = viewer.get(links.pop())
    html = answer.content.decode()
    assert answer.status_code == 200
    assert f"/admin/jobs/jobrecord/{job.pk}/change/" in html
    assert f"/admin/jobs/jobrecord/{other.pk}/change/" not in html
    assert "1 attempts failed for good" in html


@pytest.mark.parametrize(
    "query", ["", "?since=x&until=y", "?since=2026-01-01T00:00Z&until=2027-01-01T00:00Z", "?since=%00&until=2026-01-01"]
)
def test_address_that_no_bar_has_is_told(viewer: Client, query: str) -> None:
    assert viewer.get(f"/admin/jobs/ended/{query}").status_code == 400


@pytest.mark.once
@pytest.mark.parametrize("state", ["failed", "succeeded"])
def test_jobs_that_ended_are_found_by_an_index(state: str) -> None:
    now = timezone.now()
    sql, params = (
        JobRecord.objects.filter(state=state, finished_at__gte=now)
        .filter(*([] if state == "failed" else [queries.AGES]))
        .order_by("-finished_at", "-id")[:9]
        .query.sql_with_params()
    )
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        plan = " ".join(str(row[-1]) for row in cursor.fetchall())
    assert "INDEX jobs_failed" in plan or "INDEX jobs_ageing" in plan, plan
