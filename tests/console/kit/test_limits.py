"""What takes too long ends, on both databases, in a page that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from pytest_django import Settings

from dashboard.jobs import counts, joblist
from dashboard.kit.limits import TookTooLong, statement_seconds, time_limit
from handlers.models import JobRecord
from handlers.selection import Selection, looking, matching
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db

# Minutes of work for either database.
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000000) SELECT COUNT(*) FROM n"


def run(sql: str) -> int:
    """The one number that ``sql`` selects."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def slow_page(selection: Selection, size: int, **places: object) -> list[JobRecord]:
    """A page that takes minutes."""
    run(SLOW)
    return []


def test_statement_is_ended_at_its_limit() -> None:
    with pytest.raises(TookTooLong), time_limit(0.05):
        run(SLOW)
    assert run("SELECT 1") == 1  # the connection is as good as before


def test_statement_after_the_time_has_passed_does_not_start() -> None:
    with pytest.raises(TookTooLong), time_limit(0):
        run("SELECT 1")


def test_limit_ends_with_its_block() -> None:
    with transaction.atomic():
        with time_limit(0.2):
            assert run("SELECT 1") == 1
        if connection.vendor == "postgresql":
            assert run("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'") == 0
        assert run(SLOW.replace("300000000", "300000")) == 300_000


@pytest.mark.django_db(transaction=True)
def test_limit_by_itself_ends_with_its_transaction_and_needs_no_statement_for_that() -> None:
    with CaptureQueriesContext(connection) as asked, time_limit(5):
        assert run("SELECT 1") == 1
    told = [query["sql"] for query in asked if "statement_timeout" in query["sql"]]
    assert len(told) == (connection.vendor == "postgresql")
    if connection.vendor == "postgresql":
        assert run("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'") == 0


def test_limit_holds_after_one_inside_it_has_ended() -> None:
    def read() -> None:
        with time_limit(5):
            run("SELECT 1")
        run(SLOW)

    with pytest.raises(TookTooLong), time_limit(0.2):
        read()


def test_search_that_meets_a_slow_read_keeps_what_it_found_before(monkeypatch: pytest.MonkeyPatch) -> None:
    make_job()
    newer, newest = make_job(), make_job()
    monkeypatch.setattr(looking, "FIRST", 2)
    monkeypatch.setattr(looking, "WORTH", 1_000_000)  # as if there were time for more
    reads = 0

    def slow_second(*args: Any, **options: Any) -> list[JobRecord]:
        nonlocal reads
        reads += 1
        if reads > 1:
            run(SLOW)
        return matching.read(*args, **options)

    monkeypatch.setattr(looking, "read", slow_second)
    seen = Selection.parse("error:refused").look(5, seconds=2.0)
    assert (reads, [row.pk for row in seen.rows]) == (2, [newest.pk, newer.pk])
    assert seen.reached == newer.pk


def test_limit_lets_other_errors_through() -> None:
    with pytest.raises(Exception, match="nonsense") as caught, time_limit(5):
        run("SELECT nonsense FROM nothing_such_nonsense")
    assert not isinstance(caught.value, TookTooLong)


def test_limit_is_the_setting(settings: Settings) -> None:
    del settings.CONSOLE_STATEMENT_SECONDS
    assert statement_seconds() == 2.0
    with override_settings(CONSOLE_STATEMENT_SECONDS=0.5):
        assert statement_seconds() == 0.5


@override_settings(CONSOLE_STATEMENT_SECONDS=0.05)
def test_list_that_takes_too_long_says_how_to_narrow_it(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_job()
    monkeypatch.setattr(Selection, "look", slow_page)
    response = viewer.get("/admin/jobs/jobrecord/", {"q": "refused <b>"})
    html = response.content.decode()
    assert response.status_code == 503
    assert "This took too long: narrow your filter." in html
    assert "Choose a time" in html
    assert 'value="refused &lt;b&gt;"' in html


@override_settings(CONSOLE_STATEMENT_SECONDS=0.05)
def test_new_jobs_that_take_too_long_say_so(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblist, "capped", lambda rows, cap: run(SLOW))
    assert viewer.get("/admin/jobs/new/?after=0").status_code == 503


def test_export_that_takes_too_long_says_so(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.jobs.export.CHUNK_SECONDS", 0.05)
    monkeypatch.setattr(Selection, "page", slow_page)
    response = viewer.get("/admin/jobs/export/")
    assert response.status_code == 503
    assert "took too long" in response.content.decode()


def test_tabs_go_without_counts_that_take_too_long(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "TABS_SECONDS", 0.05)
    monkeypatch.setattr(counts, "_of_each_state", lambda selection: run(SLOW))
    for _ in range(51):  # more than the page holds: those are known without counting
        job = make_job()
    html = viewer.get("/admin/jobs/jobrecord/").content.decode()
    assert f"/{job.pk}/change/" in html
    assert 'class="count"' not in html
