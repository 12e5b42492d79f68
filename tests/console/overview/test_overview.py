"""The start page: tiles, chart, queues in words, and a query count that does not grow."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from dashboard.kit import queries, statements
from dashboard.overview import page as overview
from dashboard.overview.lines import QueueLine
from handlers import bounded
from handlers.fleet import LiveProcess
from handlers.models import FailureGroup, JobCount, JobRecord, QueueSwitch
from handlers.models.count import Outcome, Period
from handlers.states import State
from tests.console.factories import make_job, one_of_each

pytestmark = pytest.mark.django_db


def page(client: Client, query: str = "") -> str:
    """The start page's HTML."""
    response = client.get(f"/admin/{query}")
    assert response.status_code == 200
    return response.content.decode()


def tile(html: str, state: str) -> str:
    """The number on a tile."""
    found = re.search(rf'\?state={state}" class="tile[^>]*><span[^>]*>([^<]+)', html)
    assert found
    return found[1]


def line(name: str, served: list[list[str]] | None = None) -> QueueLine:
    """The words about queue ``name``."""
    idle = LiveProcess([], "", "worker", "host", "", 0, 0, None, None, None)
    workers = [idle._replace(name=str(place), queues=queues) for place, queues in enumerate(served or [])]
    lines = overview.queue_lines(queries.queue_rows(), workers)
    return next(line for line in lines if line.row.name == name)


def test_tiles_count_what_the_list_behind_them_shows(viewer: Client) -> None:
    one_of_each()
    html = page(viewer)
    for state in queries.state_counts():
        listed = viewer.get("/admin/jobs/jobrecord/", {"state": state}).content.decode()
        assert tile(html, state) == str(listed.count('class="field-job"'))
    assert tile(html, "scheduled") == "2"  # the retrying one is one of them


def test_state_counts_stop_at_the_cap(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    JobRecord.objects.bulk_create(
        JobRecord(state=State.FAILED, token="t", job_type="x", queue="default", created_at=timezone.now())
        for _ in range(1_001)
    )
    assert str(queries.state_counts()["failed"]) == "1,000+"
    assert str(queries.state_counts()["deleted"]) == "0"


def test_tile_of_what_succeeded_counts_the_span_of_the_chart(viewer: Client) -> None:
    JobCount.objects.create(
        period=Period.MINUTE, at=timezone.now().replace(second=0, microsecond=0), outcome=Outcome.SUCCEEDED,
        count=1_234, b03=1_234,
    )  # fmt: skip
    make_job(State.SUCCEEDED, age=timedelta(hours=2))
    html = page(viewer)
    assert tile(html, "succeeded") == "1,234"
    assert '<span class="tile-period">last hour</span>' in html
    assert tile(page(viewer, "?span=7d"), "succeeded") == "0"  # not rolled up yet


def test_page_tells_how_to_begin_only_while_there_is_no_job_at_all(viewer: Client) -> None:
    assert 'id="no-jobs"' in page(viewer)
    make_job(State.SUCCEEDED)
    assert 'id="no-jobs"' not in page(viewer)


def test_span_switch_shows_the_span_asked_for(viewer: Client) -> None:
    make_job()
    html = page(viewer, "?span=7d")
    assert "last 7 days" in html
    assert '?span=7d" aria-current="true"' in html


@pytest.mark.parametrize("span", ["99y", "%00", "<b>", "1h'--"])
def test_span_that_is_none_is_said_and_shows_an_hour(viewer: Client, span: str) -> None:
    make_job()
    html = page(viewer, f"?span={span}")
    assert "There is no span" in html
    assert '?span=1h" aria-current="true"' in html
    assert "<b>" not in html


def test_queue_says_in_words_that_nobody_comes_for_its_jobs() -> None:
    for minutes in (9, 2):
        make_job(State.ENQUEUED, age=timedelta(minutes=minutes, seconds=5))
    stuck = line("default")
    assert stuck.words == "2 waiting, oldest 9 min, no live worker serves it"
    assert stuck.stuck
    served = line("default", [["default"], ["other"]])
    assert served.words == "2 waiting, oldest 9 min, 1 worker"
    assert not served.stuck


def test_queue_says_in_words_that_it_is_paused() -> None:
    QueueSwitch.objects.create(name="default", paused_at=timezone.now(), by="user:olga")
    assert line("default", [["default"]]).words == "nothing waiting, paused by olga, 1 worker"


def test_every_worker_serves_the_system_queue() -> None:
    assert line("system", [["default"], ["mail"]]).words.endswith("2 workers")


def test_queue_that_nobody_names_any_more_is_shown_while_jobs_wait_there() -> None:
    make_job(State.ENQUEUED, queue="gone")
    assert "the code no longer names it" in line("gone").words


def test_queue_rows_read_as_often_with_fifty_queues_as_with_few() -> None:
    with CaptureQueriesContext(connection) as few:
        queries.queue_rows()
    for number in range(50):
        make_job(State.ENQUEUED, queue=f"q{number}")
        make_job(State.SCHEDULED, queue=f"q{number}")
    with CaptureQueriesContext(connection) as many:
        rows = {row.name: row for row in queries.queue_rows()}
    assert len(few) == len(many)
    assert str(rows["q7"].waiting) == str(rows["q7"].scheduled) == "1"


@pytest.mark.parametrize("on_each", [0, 50], ids=["a look at each queue", "one read of all"])
def test_queues_are_told_the_same_however_they_are_looked_at(monkeypatch: pytest.MonkeyPatch, on_each: int) -> None:
    monkeypatch.setattr(bounded, "ON_EACH", on_each)
    for queue, number in {"gone": 2, "mail": 1, "other": 5}.items():
        for minutes in range(number, 0, -1):
            make_job(State.ENQUEUED, queue=queue, age=timedelta(minutes=minutes))
    make_job(State.SCHEDULED, queue="due")
    first = {job.queue: job.enqueued_at for job in JobRecord.objects.order_by("-enqueued_at")}

    assert sorted(bounded.depths({"mail", "still"}, 3, without={"gone"})) == [
        ("mail", 1, first["mail"]), ("other", 4, first["other"]), ("still", 0, None),
    ]  # fmt: skip
    assert bounded.depths({"mail"}, 3, only=True) == [("mail", 1, first["mail"])]
    rows = {row.name: row for row in queries.queue_rows()}
    told = {name: (str(rows[name].waiting), rows[name].oldest_at) for name in ("gone", "mail", "other", "due")}
    assert told == {
        "gone": ("2", first["gone"]), "mail": ("1", first["mail"]), "other": ("5", first["other"]), "due": ("0", None),
    }  # fmt: skip
    assert str(rows["due"].scheduled) == "1"
    assert "system" in rows


def test_overview_needs_at_most_twenty_queries_with_fifty_queues(operator: Client) -> None:
    one_of_each()
    for number in range(50):
        make_job(State.ENQUEUED, queue=f"q{number}")
    with CaptureQueriesContext(connection) as found:
        page(operator)
    assert len(found) <= 20, "\n".join(query["sql"][:150] for query in found)


NAMES = "WITH RECURSIVE named(name) AS (VALUES ('a')), left_out(name) AS (VALUES ('b'))"


@pytest.mark.once  # PostgreSQL's plan depends on the table's size
@pytest.mark.parametrize(
    "sql",
    [
        bounded.by_state(statements.STATES, statements.CAP),
        statements.IN_HAND,
        f"{NAMES} {bounded.met(2)} {bounded.waiting_anywhere(statements.CAP)}",
        f"WITH RECURSIVE named(name) AS (VALUES ('a')) {statements.failed_of_groups(statements.CAP)}",
        bounded.first("failed", "job_type, queue", 10, "job_type IN ('a', 'b')"),
        bounded.first("enqueued", "job_type, queue", 10, "queue IN ('a', 'b')"),
    ],
)
def test_counts_never_scan_the_table(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        plan = [row[-1] for row in cursor.fetchall()]
    jobs = [step for step in plan if JobRecord._meta.db_table in step]
    assert jobs
    assert all("USING" in step and "INDEX jobs_" in step for step in jobs), plan
    assert not [step for step in plan if "FOR ORDER BY" in step], plan  # each index is in the order asked for


def test_new_failure_group_is_listed_with_its_link(viewer: Client) -> None:
    make_job()
    now = timezone.now()
    for print_, first in (("aaaaaaaaaaaaaaaa", timedelta(hours=2)), ("bbbbbbbbbbbbbbbb", timedelta(days=3))):
        FailureGroup.objects.create(
            fingerprint=print_, exception=f"shop.{print_[0]}", first_at=now - first, last_at=now, count=3
        )
    html = page(viewer)
    assert "aaaaaaaaaaaaaaaa" in html
    assert "bbbbbbbbbbbbbbbb" not in html


def test_hostile_failure_group_is_inert(viewer: Client) -> None:
    make_job()
    now = timezone.now()
    FailureGroup.objects.create(
        fingerprint="cccccccccccccccc",
        exception="<script>x",
        message="<img src=x>\u202e",
        first_at=now,
        last_at=now,
        count=1,
    )
    html = page(viewer)
    assert "<script>x" not in html
    assert "<img src=x" not in html
    assert "\u202e" not in html


@pytest.mark.parametrize(
    ("lags", "words"), [([], ""), ([None], ""), ([0.3, 40.0], "in time"), ([90.0, 120.0], "1 min 30 s late")]
)
def test_scheduler_lag_is_that_of_the_one_in_time(lags: list[float | None], words: str) -> None:
    assert overview.lag_words(lags) == words


def test_every_live_part_has_an_id(viewer: Client) -> None:
    make_job()
    html = page(viewer)
    parts = re.findall(r"<[^>]*\sdata-live[^>]*>", html)
    assert len(parts) >= 5
    assert all(re.search(r'\sid="[a-z-]+"', part) for part in parts)


def test_refresh_of_live_parts_leaves_messages_for_the_next_page(operator: Client) -> None:
    job = make_job()
    operator.post(f"/admin/jobs/jobrecord/{job.pk}/retry/", {"job": f"{job.pk}:{job.token}"})
    assert "messagelist" not in operator.get("/admin/", headers={"X-Live": "tiles"}).content.decode()
    assert "messagelist" in page(operator)


def test_environment_is_on_the_page_and_in_the_title(viewer: Client, settings: Settings) -> None:
    settings.CONSOLE_ENVIRONMENT = "staging"
    html = page(viewer)
    assert '<span class="environment">staging</span>' in html
    assert "(staging)</title>" in html
