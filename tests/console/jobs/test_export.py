"""The export: everything that matches, newest first, safe for spreadsheets, told in the audit."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.jobs import export
from handlers.models import AuditEntry
from handlers.states import State
from tests.console.factories import make_job, one_of_each

URL = "/admin/jobs/export/"


def exported(client: Client, query: str = "") -> str:
    """The file."""
    response: Any = client.get(f"{URL}?{query}", REMOTE_ADDR="10.1.2.3")
    assert response.status_code == 200
    assert response.streaming
    return b"".join(response.streaming_content).decode()


def as_dicts(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(text)))


def test_export_as_csv_holds_every_job_newest_first(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "CHUNK", 3)
    monkeypatch.setattr(export, "ARGUMENTS", 2)
    jobs = one_of_each()
    rows = as_dicts(exported(viewer))
    assert [int(row["id"]) for row in rows] == [job.pk for job in jobs[::-1]]
    assert tuple(rows[0]) == export.COLUMNS
    failed = next(row for row in rows if row["state"] == "failed")
    assert failed["error"] == "ConnectError: connection refused"
    assert json.loads(failed["arguments"]) == {"text": "hello"}
    assert failed["created_at"].endswith("+00:00")


def test_export_as_json_is_one_object_a_line(viewer: Client) -> None:
    job = make_job(payload={"name": "Zoë", "n": [1, None]}, correlation="c", parent_id=3)
    make_job(State.SUCCEEDED)
    lines = exported(viewer, "format=json&state=failed").splitlines()
    row = json.loads(lines[0])
    assert len(lines) == 1
    assert row["id"] == job.pk
    assert row["arguments"] == {"name": "Zoë", "n": [1, None]}
    assert (row["parent"], row["correlation"], row["started_at"]) == (
        3,
        "c",
        job.started_at and job.started_at.isoformat(),
    )


def test_export_holds_what_the_list_shows(viewer: Client) -> None:
    wanted = make_job(queue="mail", payload={"order_id": 7})
    make_job(queue="mail")
    rows = as_dicts(exported(viewer, "format=csv&queue=mail&q=args.order_id:7&before=1"))
    assert [int(row["id"]) for row in rows] == [wanted.pk]


def test_export_of_nothing_has_a_head_only(viewer: Client) -> None:
    assert exported(viewer).strip() == ",".join(f'"{name}"' for name in export.COLUMNS)
    assert exported(viewer, "format=json") == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r="])
def test_export_as_csv_has_no_cell_that_a_spreadsheet_runs(viewer: Client, start: str) -> None:
    make_job(job_type=f"{start}cmd|' /C calc'!A0", queue="default")
    make_job(State.SUCCEEDED, payload=f"{start}1")
    for row in as_dicts(exported(viewer)):
        for name, cell in row.items():
            assert name in export.NUMBERS or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert any(row["type"].startswith(f"'{start[0]}") for row in as_dicts(exported(viewer)))


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_export_as_csv_has_no_cell_that_a_spreadsheet_which_splits_elsewhere_runs(
    viewer: Client, separator: str, start: str
) -> None:
    make_job(message=f"a{separator}{start}cmd|' /C calc'!A0", payload={"text": f"a;{start}1"})
    text = exported(viewer)
    assert "cmd" in text
    assert f'"a{separator}' in text.replace("ConnectError: ", "")  # in quotation marks
    for line in text.splitlines():  # split without regard to quotation marks, as some do
        assert not [cell for cell in line.split(separator)[1:] if cell.startswith(start)]
    assert json.loads(as_dicts(text)[0]["arguments"]) == {"text": f"a;'{start}1"}


@pytest.mark.parametrize(
    ("query", "words"), [("format=exe", "there is no format"), ("q=state:gone", "there is no state")]
)
def test_export_says_what_is_wrong_and_exports_nothing(viewer: Client, query: str, words: str) -> None:
    make_job()
    response = viewer.get(f"{URL}?{query}")
    assert response.status_code == 400
    assert words in response.content.decode()
    assert not AuditEntry.objects.exists()


def test_export_is_told_in_the_audit_before_and_after(viewer: Client) -> None:
    make_job(), make_job(State.SUCCEEDED)
    exported(viewer, "state=failed")
    before, after = AuditEntry.objects.order_by("pk")
    assert (before.username, before.verb, before.data) == (
        "vera", "export", {"format": "csv", "search": "state:failed"},
    )  # fmt: skip
    assert (after.verb, after.count, after.data) == (
        "exported", 1, {"format": "csv", "search": "state:failed", "whole": True},
    )  # fmt: skip
    assert before.source == after.source == "10.1.2.3"


def test_export_that_is_broken_off_is_told_as_such(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "CHUNK", 2)
    for _ in range(6):
        make_job()
    response: Any = viewer.get(URL)
    lines = iter(response.streaming_content)
    next(lines), next(lines)
    response._iterator.close()  # as the server does when the reader has gone
    after = AuditEntry.objects.get(verb="exported")
    assert after.data == {"format": "csv", "search": "", "whole": False}
    assert after.count < 6


def test_export_reads_in_chunks_of_constant_size(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "CHUNK", 4)
    for _ in range(9):
        make_job()
    with CaptureQueriesContext(connection) as queries:
        exported(viewer)
    asked = [query["sql"] or "" for query in queries]  # of one that the server has prepared Django tells no text
    reads = [sql for sql in asked if sql.startswith("SELECT") and '"jobs_jobrecord"."token"' in sql]
    assert len(reads) == 3
    assert all("LIMIT 4" in sql and "OFFSET" not in sql for sql in reads)


def test_audit_of_an_export_hides_sensitive_words(superuser: Client) -> None:
    make_job(job_type="app.Pay", payload={"token": "tok-4711"})
    answer = superuser.get(URL, {"format": "json", "q": "args.token:tok-4711"})
    assert b"app.Pay" in b"".join(answer)
    assert AuditEntry.objects.count() == 2
    assert not [entry for entry in AuditEntry.objects.all() if "tok-4711" in str(entry.data)]
