"""Pages for what goes wrong, and lists that say what they list."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from django.db import Error
from django.db.utils import ConnectionHandler
from django.test import Client, RequestFactory
from pytest_django.plugin import DjangoDbBlocker

from dashboard import errors
from tests.console.factories import make_job

pytestmark = pytest.mark.once


def test_server_error_page_needs_no_database_and_tells_nothing_of_the_inside(rf: RequestFactory) -> None:
    try:
        raise RuntimeError("secret of the inside")
    except RuntimeError:
        answer = errors.server_error(rf.get("/admin/"))  # without a database: this test may use none
    html = answer.content.decode()
    assert answer.status_code == 500
    assert "This did not work" in html
    assert "UTC" in html
    assert "secret" not in html
    assert "tokens.css" in html


def test_server_error_page_is_plain_text_where_even_the_template_fails(
    rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise OSError("the templates are gone")

    monkeypatch.setattr(errors, "engine", gone)
    answer = errors.server_error(rf.get("/admin/"))
    assert answer.status_code == 500
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("name", "sql", "said"),
    [
        ("away/reports.sqlite3", "SELECT 1", "did not answer, or refused"),
        ("reports.sqlite3", "SELECT * FROM of_the_next_release", "lacks a table or a column"),
    ],
    ids=["away", "not migrated"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_page_without_its_database_names_it_and_what_to_do_and_nothing_of_where_it_is(
    rf: RequestFactory, tmp_path: Path, django_db_blocker: DjangoDbBlocker, name: str, sql: str, said: str, method: str
) -> None:
    reports = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / name)}
    connection = ConnectionHandler({"default": {}, "reports": reports})["reports"]
    with django_db_blocker.unblock():
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
            pytest.fail("it is there")
        except Error:
            answer = errors.server_error(rf.generic(method, "/admin/jobs/jobrecord/?state=failed&q=<b>"))
        finally:
            connection.close()
    html = unescape(answer.content.decode())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert f"The database “reports” {said}" in html
    assert not [part for part in ("sqlite3", str(tmp_path), "of_the_next_release", "<b>") if part in html]
    assert ('href="/admin/jobs/jobrecord/?state=failed&q=%3Cb%3E">Try again' in html) == (method == "GET")
    assert ("the audit says" in html) == (method == "POST")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/admin/nowhere/", "There is no page at this address."),
        ("/admin/job-types/no.Such/", "There is no job type no.Such."),
        ("/admin/bulk/987654/", ""),
    ],
)
def test_address_of_nothing_is_told_inside_the_console(superuser: Client, url: str, said: str) -> None:
    answer = superuser.get(url)
    html = unescape(answer.content.decode())
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in html
    assert said in html
    assert 'class="console-nav"' in html


@pytest.mark.django_db
def test_address_outside_the_console_is_told_in_its_look(client: Client) -> None:
    answer = client.get("/nowhere/")
    assert answer.status_code == 404
    assert "There is no page here" in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("", "Jobs"),
        ("state=failed", "Failed jobs"),
        ("state=failed&type=app.Note", "Failed jobs of app.Note"),
        ("state=enqueued&queue=default", "Enqueued jobs on queue default"),
        ("state=retrying&q=order", "Retrying jobs, with “order” in type, error or arguments"),
        ("q=state:failed state:deleted", "Jobs that failed or were deleted"),
        ("q=since:soon", "Jobs"),
    ],
)
def test_list_of_jobs_says_in_its_title_what_it_lists(superuser: Client, query: str, title: str) -> None:
    make_job()
    html = unescape(superuser.get(f"/admin/jobs/jobrecord/?{query}").content.decode())
    assert f"<title>{title} | Jobs console</title>" in html
    assert f"<h1>{title}</h1>" in html


@pytest.mark.django_db
def test_stock_list_is_called_by_what_it_lists(superuser: Client) -> None:
    html = superuser.get("/admin/auth/user/").content.decode()
    assert "<title>Users | Jobs console</title>" in html
    assert "<h1>Users</h1>" in html
