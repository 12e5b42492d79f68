"""``manage.py jobs``: what it says, what it does, how it ends."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from handlers import GiveUp, folding, job_scheduler
from handlers.bulk import run_chunk
from handlers.command_line import acting, listing
from handlers.command_line.screen import Screen, plain
from handlers.models import AuditEntry, BulkOperation, FailureGroup, JobRecord, QueueSwitch, RecurringJob
from handlers.selection import Selection
from handlers.testing import fail_next, run_due_jobs
from jobsite.demo.jobs import SendReceipt
from tests.app.jobs import Note, Pay, Ship
from tests.running import facts, record, states

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("noting")]


class Ran:
    """What a command wrote and how it ended."""

    def __init__(self, *words: object) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code, self.error = 0, ""
        try:
            call_command("jobs", *map(str, words), stdout=out, stderr=err)
        except CommandError as error:
            self.code, self.error = error.returncode, str(error)
        self.out, self.err = out.getvalue(), err.getvalue()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON objects, one on a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def _notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_NOTES", str(tmp_path / "notes"))


def failed(address: str = "nowhere", order: int = 7) -> int:
    """A job that has failed."""
    job_id = job_scheduler.enqueue(Ship(order, address))
    run_due_jobs()
    assert record(job_id).state == "failed"
    return job_id


def audited() -> AuditEntry:
    entry = AuditEntry.objects.order_by("-pk").first()
    assert entry is not None
    return entry


# --- failure groups


def test_failure_groups_are_listed_shown_and_put_away() -> None:
    job_id = failed()
    folding.fold()
    name = record(job_id).fingerprint
    ran = Ran("failures", "list")
    assert ran.out.splitlines()[1].split()[:4] == [name, "open", "1", "0s"]
    assert Ran("failures", "resolve", name, "--in", "2", "--reason", "mended", "--json").rows == [
        {"id": name, "did": "resolve", "done": True}
    ]
    assert (audited().verb, audited().reason) == ("resolve_group", "mended")
    assert Ran("failures", "list").out == "no such failure group\n"
    assert [row["fixed_in"] for row in Ran("failures", "list", "--state", "resolved", "--json").rows] == ["2"]
    again = Ran("failures", "resolve", name, "--in", "2")
    assert (again.code, again.out) == (1, f"{name} was resolved already\n")
    assert Ran("failures", "ignore", name, "--times", "5").out == f"ignored {name}\n"
    (row,) = Ran("failures", "show", name, "--json").rows
    assert (row["state"], row["ignored_to"]) == ("ignored", 6)
    assert "state: ignored" in Ran("failures", "show", name).out
    assert Ran("failures", "reopen", name).code == 0
    assert Ran("failures", "show", "nothing").code == 1
    assert "there is no failure group" in Ran("failures", "reopen", "nothing").error
    assert "no version is known" in Ran("failures", "resolve", name, "--in", "next").error


# --- looking


def test_list_finds_by_the_consoles_words() -> None:
    job_id, other = failed(), job_scheduler.enqueue(Note("a"), queue="mail")
    ran = Ran("list", "state:failed", "type:Ship")
    assert ran.code == 0
    head, line = ran.out.splitlines()
    assert head.split() == ["ID", "STATE", "TYPE", "QUEUE", "AGE", "TRY", "ERROR"]
    assert line.split()[:4] == [str(job_id), "failed", "app.Ship", "default"]
    assert line.endswith("ValueError: order 7: no such address: nowhere")
    assert [row["id"] for row in Ran("list", "--json").rows] == [other, job_id]
    assert [row["id"] for row in Ran("list", "args.order_id:7", "--json").rows] == [job_id]
    assert Ran("list", "state:deleted").out == "no job matches\n"
    assert Ran("list", "state:deleted", "--json").out == ""


def test_list_gives_all_a_piece_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "CHUNK", 2)
    ids = job_scheduler.enqueue_many([Note(str(number)) for number in range(5)])[::-1]
    assert [row["id"] for row in Ran("list", "--json", "--limit", "0").rows] == ids
    assert [row["id"] for row in Ran("list", "--json", "--limit", 3).rows] == ids[:3]
    ran = Ran("list", "--limit", 2)
    assert ran.err == f"there may be more: --before {ids[1]}, or --limit 0 for all\n"
    assert [row["id"] for row in Ran("list", "--json", "--before", ids[1]).rows] == ids[2:]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "colour:red"], "colour: is not known here"),
        (["list", "typ:Note"], "Did you mean type:Note?"),
        (["list", 'error:"open'], "the closing quotation mark is missing"),
        (["list", "args.token:hunter22"], "args.token: this argument is sensitive"),
        (["retry", "type:"], "type: say what to look for"),
        (["retry", " "], "name the jobs: ids, or a search"),
        (["retry", "state:succeeded"], "no job that is succeeded can be retried"),
        (["restore", "state:failed"], "only deleted jobs can be restored"),
        (["delete", "1", "--by", "nobody"], "--by: there is no login 'nobody'"),
        (["move", "1", "--to", "nope"], "queue: 'nope' is not known"),
        (["enqueue", "Shipp"], "'Shipp' is not the name of one type; there are app.Ship"),
        (["enqueue", "RunBulk"], "is not the name of one type"),
        (["enqueue", "Ship", "order_id=x"], "order_id: "),
        (["enqueue", "Ship", "nr=1"], "'nr' is no argument of app.Ship: write NAME=VALUE; it has order_id, address"),
        (["enqueue", "Ship", "--payload", "{"], "--payload: is no JSON"),
        (["enqueue", "Ship", "--payload", "[1]"], "--payload: must be a JSON object"),
        (["enqueue", "Note", "text=a", "--priority", "500"], "priority: must be a whole number from -100 to 100"),
        (["schedule", "Note", "text=a", "--at", "noon"], "cannot read 'noon': write 2h from now"),
        (["schedule", "Note", "text=a"], "the following arguments are required: --at"),
        (["pause"], "name a queue, or a type with --type"),
        (["pause", "mail", "--type", "Note"], "name a queue, or a type with --type"),
        (["pause", "nope"], "queue: 'nope' is not known"),
        (["pause", "--type", "Nope"], "type: 'Nope' is not known"),
        (["bulk", "start", "delete"], "confirm the exact number, 0 (--confirm)"),
        (["bulk", "start", "move", "state:failed"], "queue: name the queue that the jobs go to (--to)"),
        (["bulk", "pause", "9"], "there is no bulk operation 9"),
        (["recurring", "pause", "x"], "there is no recurring job 'x'"),
        (["recurring", "add", "x", "Note", "text=a", "--cron", "* *"], "cron: "),
        (["recurring", "add", "x", "Note", "text=a"], "one of the arguments --cron --every is required"),
        (["list", "--limit", "-1"], "--limit: must be a whole number from 0 up, not '-1'"),
        (["list", "--before", "9" * 20], "--before: must be a whole number from 0 up"),
        (["retry", "state:failed", "--most", "0"], "--most: must be a whole number from 1 to 1,000,000"),
        (["tail", "--every", "nan"], "--every: must be seconds, 0 to 86,400"),
        (["bulk", "cancel", "9" * 19], "must be a whole number from 1 up"),
        (["bulk", "start", "retry", "state:failed", "--rate", "nan"], "rate_per_second: must be from 0.1"),
        (["pause", "mail", "--until", "9999-12-31T23:59-12:00"], "is too far away"),
        (["schedule", "Note", "text=a", "--at", "999999999w"], "is too long"),
        (["enqueue", "Note", "--payload", "[" * 100_000], "--payload: is no JSON"),
        (["enqueue", "Note", "text=a\udcff"], "text: "),
        (["recurring", "trigger", "a\udcff"], "an argument holds bytes that are no text"),
        (["recurring", "backfill", "x", "--start", "9999-01-01"], "is still to come"),
        (["recurring", "backfill", "x", "--start", "soon"], "write 2h before now"),
        (["recurring", "backfill", "x", "--start", "2d"], "there is no recurring job 'x'"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(words: list[str], said: str) -> None:
    ran = Ran(*words)
    assert ran.code == 2
    assert said in ran.error
    assert "\n" not in ran.error
    assert ran.out == ""
    assert not JobRecord.objects.exists()
    assert not AuditEntry.objects.exists()


def test_show_masks_what_is_sensitive_and_tells_the_history() -> None:
    job_id = job_scheduler.enqueue(Pay(8, "hunter22"))
    run_due_jobs()
    ran = Ran("show", job_id, 99)
    assert ran.code == 1
    assert ran.err == "there is no job 99: it has aged out, or never was\n"
    assert "hunter22" not in ran.out
    assert '"order_id": 8' in ran.out
    assert "processing > failed" in ran.out
    assert "ValueError: order 8: cannot pay with" in ran.out
    (row,) = Ran("show", job_id, "--json").rows
    assert (row["id"], row["state"], row["payload"]["order_id"]) == (job_id, "failed", 8)
    assert [step["to_state"] for step in row["history"]] == ["processing", "failed"]
    assert row["failed_attempts"][0]["exception"] == "ValueError"
    assert "hunter22" not in json.dumps(row)


def test_stats_tell_what_waits_and_what_is_paused() -> None:
    job_scheduler.enqueue(Note("a"), queue="mail")
    job_scheduler.pause_queue("mail", by="ann")
    rows = {row["id"]: row for row in Ran("stats", "--json").rows}
    assert rows["mail"] | {"oldest_at": "", "oldest_seconds": 0} == {
        "id": "mail", "enqueued": 1, "oldest_at": "", "oldest_seconds": 0, "processing": 0, "paused": True,
        "paused_until": None, "paused_by": "ann",
    }  # fmt: skip
    assert rows["default"]["enqueued"] == 0
    assert "paused by ann" in Ran("stats").out


# --- acting


def test_retry_by_ids_is_audited_in_somebodys_name() -> None:
    get_user_model()._default_manager.create(username="ann")
    job_id = failed()
    ran = Ran("retry", job_id, "--by", "ann", "--reason", "carrier is back")
    assert (ran.code, ran.out) == (0, "retried 1 job\n")
    entry = audited()
    assert (entry.verb, entry.username, entry.reason, entry.count) == ("retry", "ann", "carrier is back", 1)
    assert entry.user is not None
    assert "@" in entry.source
    assert record(job_id).history.order_by("pk").last().actor == "user:ann"  # type: ignore[union-attr]


def test_without_a_login_the_command_line_is_named() -> None:
    job_id = failed()
    Ran("delete", job_id)
    assert audited().username.startswith("command line (")
    assert audited().user is None


def test_part_of_what_was_asked_is_code_1_and_says_why() -> None:
    job_id, other = failed(), job_scheduler.enqueue(Note("a"))
    ran = Ran("retry", job_id, other, other + 99)
    assert (ran.code, ran.out) == (1, "retried 1 of 3 jobs\n")
    assert ran.err.splitlines() == [
        f"job {other} was not retried: it is enqueued",
        f"job {other + 99} was not retried: there is no such job",
    ]
    assert Ran("retry", job_id).code == 1
    assert Ran("retry", job_id, other, "--json").rows == [
        {"id": job_id, "did": "retry", "done": False},
        {"id": other, "did": "retry", "done": False},
    ]


def test_verbs_by_a_search_leave_what_does_not_fit() -> None:
    ids = [failed(order=number) for number in range(3)]
    job_scheduler.enqueue(Ship(9, "nowhere"))
    assert Ran("retry", "type:Ship", "--most", 2).error.startswith("more than 2 jobs match")
    ran = Ran("retry", "type:Ship", "--json")
    assert [(row["id"], row["done"]) for row in ran.rows] == [(job_id, True) for job_id in ids]
    assert states(*ids) == ["enqueued"] * 3


def test_dry_run_changes_nothing() -> None:
    job_id = failed()
    before = AuditEntry.objects.count()
    ran = Ran("delete", "state:failed", "--dry-run")
    assert ran.code == 0
    assert ran.out.endswith("dry run: 1 would be deleted\n")
    (row,) = Ran("delete", job_id, "--dry-run", "--json").rows
    assert (row["id"], row["would"]) == (job_id, "delete")
    assert Ran("requeue", job_id, "--dry-run").code == 1
    assert Ran("enqueue", "Pay", "order_id=1", "token=hunter22", "--dry-run").out.startswith("dry run: app.Pay on defa")
    assert "hunter22" not in Ran("enqueue", "Pay", "order_id=1", "token=hunter22", "--dry-run", "--json").out
    assert states(job_id) == ["failed"]
    assert AuditEntry.objects.count() == before
    assert JobRecord.objects.count() == 1


def test_dry_run_refuses_what_would_be_refused() -> None:
    job_id = failed()
    assert Ran("enqueue", "Note", "text=a", "--queue", "nobodys", "--dry-run").code == 2
    assert Ran("enqueue", "Note", "text=a", "--priority", "1000", "--dry-run").code == 2
    assert Ran("schedule", "Note", "text=a", "--at", "2h", "--expires", "1h", "--dry-run").code == 2
    assert Ran("move", job_id, "--to", "nobodys", "--dry-run").code == 2
    assert Ran("move", job_id, "--to", record(job_id).queue, "--dry-run").code == 1
    assert Ran("schedule", "Note", "text=a", "--at", "2h", "--dry-run").code == 0
    assert JobRecord.objects.count() == 1


def test_delete_restore_requeue_and_move() -> None:
    job_id = job_scheduler.enqueue(Note("a"))
    assert Ran("delete", job_id).out == "deleted 1 job\n"
    assert Ran("restore", "type:Note").out == "restored 1 job\n"
    assert Ran("move", job_id, "--to", "mail").out == "moved 1 job\n"
    assert facts(job_id, "queue", "state") == ("mail", "enqueued")
    run_due_jobs()
    assert Ran("requeue", job_id).out == "requeued 1 job\n"
    assert states(job_id) == ["enqueued"]


def test_enqueue_reads_arguments_as_the_type_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = Ran("enqueue", "Ship", "order_id=7", "--queue", "mail", "address=9", "--priority", "5", "--json").rows
    assert (row["type"], row["is_new"]) == ("app.Ship", True)
    assert record(row["id"]).payload == {"order_id": 7, "address": "9"}
    assert facts(row["id"], "queue", "priority") == ("mail", 5)
    (row,) = Ran("enqueue", "Note", "text=a", "--tag", "night", "--tag", "x:7", "--json").rows
    assert Ran("show", str(row["id"]), "--json").rows[0]["tags"] == ["night", "x:7"]
    assert [found["id"] for found in Ran("list", "tag:night", "tag:x:7", "--json").rows] == [row["id"]]
    assert audited().verb == "enqueue"
    monkeypatch.setattr("sys.stdin", io.StringIO('{"order_id": 8, "token": "hunter22", "pins": [1, 2]}'))
    ran = Ran("enqueue", "app.Pay", "--payload", "-", "note=by hand")
    assert ran.code == 0
    paid = JobRecord.objects.get(job_type="app.Pay")
    assert paid.payload["pins"] == [1, 2]
    assert paid.payload["note"] == "by hand"


def test_context_is_typed_and_shown() -> None:
    (row,) = Ran("enqueue", "Note", "text=a", "--context", "shop=7", "--context", "tenant=acme", "--json").rows
    assert Ran("show", str(row["id"]), "--json").rows[0]["context"] == {"shop": 7, "tenant": "acme"}
    assert '{"shop": 7, "tenant": "acme"}' in Ran("show", str(row["id"])).out
    assert "is no NAME=VALUE" in Ran("enqueue", "Note", "text=a", "--context", "tenant").error


def test_schedule_takes_a_time_or_a_length() -> None:
    Ran("schedule", "Note", "--at", "2030-01-01T12:00+02:00", "text=a")
    Ran("schedule", "Note", "text=b", "--at", "90m", "--expires", "1d")
    first, second = JobRecord.objects.order_by("pk")
    assert first.run_at is not None
    assert first.run_at.isoformat() == "2030-01-01T10:00:00+00:00"
    assert second.run_at is not None
    assert timedelta(minutes=88) < second.run_at - timezone.now() <= timedelta(minutes=90)


def test_pause_and_resume_queues_and_types() -> None:
    assert Ran("pause", "mail", "--until", "2h").code == 0
    until = QueueSwitch.objects.get(name="mail").until
    assert until is not None
    assert until > timezone.now() + timedelta(hours=1)
    assert "has passed" in Ran("pause", "default", "--until", "2020-01-01").error
    assert not QueueSwitch.objects.filter(name="default").exists()
    assert Ran("pause", "--type", "Note").out == "paused type app.Note\n"
    assert set(job_scheduler.paused_types()) == {"app.Note"}
    assert Ran("resume", "--type", "Note").code == 0
    assert Ran("resume", "mail", "--json").rows == [{"id": "mail", "did": "resume_queue", "done": True}]
    again = Ran("resume", "mail")
    assert (again.code, again.out) == (1, "queue mail was not paused\n")


# --- following


def test_tail_tells_of_new_and_changed_jobs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    old = job_scheduler.enqueue(Note("old"))
    turns: list[Any] = [
        lambda: job_scheduler.enqueue(Note("new")),
        lambda: job_scheduler.enqueue(Ship(1)),
        lambda: job_scheduler.delete(old, reason="too old"),
        lambda: None,
    ]
    monkeypatch.setattr("time.sleep", lambda _: turns.pop(0)())
    rows = Ran("tail", "type:Note", "--json", "--limit", 2).rows
    assert [(row["id"] == old, row["from_state"], row["to_state"]) for row in rows] == [
        (False, "", "enqueued"),
        (True, "enqueued", "deleted"),
    ]
    assert rows[1]["reason"] == "too old"
    datetime.fromisoformat(rows[0]["at"])


def test_tail_ends_with_its_time() -> None:
    ran = Ran("tail", "--for", "0.01")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)


# --- recurring and bulk


def test_recurring_jobs() -> None:
    add = ["recurring", "add", "nightly", "Note", "--cron", "0 2 * * *", "text=a"]
    assert Ran(*add).out.startswith("nightly: saved; the next time is ")
    assert Ran(*add).code == 1
    (row,) = Ran("recurring", "list", "--json").rows
    assert (row["id"], row["cron"], row["payload"], row["context"]) == ("nightly", "0 2 * * *", {"text": "a"}, {})
    job_id = Ran("recurring", "trigger", "nightly", "--json").rows[0]["job_id"]
    assert states(job_id) == ["enqueued"]
    assert Ran("recurring", "pause", "nightly", "--reason", "holidays").code == 0
    assert "paused by command line (" in Ran("recurring", "list").out
    assert Ran("recurring", "resume", "nightly").code == 0
    assert Ran("recurring", "resume", "nightly").code == 1
    assert Ran("recurring", "remove", "nightly").out == "removed nightly\n"
    assert Ran("recurring", "remove", "nightly").code == 1
    assert not RecurringJob.objects.exists()


def test_backfill_makes_up_for_what_a_span_lacks_once() -> None:
    Ran("recurring", "add", "nightly", "Note", "--cron", "0 2 * * *", "text=a")
    span = ("--start", "2026-11-01", "--end", "2026-11-04T02:00+00:00")
    ran = Ran("recurring", "backfill", "nightly", *span, "--dry-run")
    assert ran.out.splitlines() == [
        *(f"2026-11-0{day} 02:00:00" for day in (1, 2, 3, 4)), "4 occurrences of nightly would be run",
    ]  # fmt: skip
    assert Ran("recurring", "backfill", "nightly", *span, "--dry-run", "--json").rows[0] == {
        "id": "nightly", "would": "backfill", "due": "2026-11-01T02:00:00+00:00",
    }  # fmt: skip
    assert not JobRecord.objects.exists()
    (row,) = Ran("recurring", "backfill", "nightly", *span, "--reason", "outage", "--json").rows
    assert (row["done"], states(*row["job_ids"])) == (True, ["enqueued"] * 4)
    ran = Ran("recurring", "backfill", "nightly", *span)
    assert (ran.code, ran.out) == (1, "nightly lacks no occurrence of that span\n")


def test_bulk_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [failed(order=number) for number in range(3)]
    ran = Ran("bulk", "preview", "retry", "type:Ship")
    assert ran.out.endswith("3 jobs would be retried\n")
    (row,) = Ran("bulk", "start", "retry", "type:Ship", "--rate", "100", "--reason", "x", "--json").rows
    assert (row["verb"], row["state"], row["count"]) == ("retry", "running", 3)
    assert Ran("bulk", "pause", row["id"]).code == 0
    assert Ran("bulk", "pause", row["id"]).code == 1
    assert Ran("bulk", "try", row["id"], "--jobs", "1").code == 0
    assert Ran("bulk", "try", row["id"]).code == 1
    assert Ran("bulk", "try", row["id"], "--jobs", "9999").code == 2
    assert Ran("bulk", "resume", row["id"]).code == 0
    assert Ran("bulk", "cancel", row["id"], "--json").rows[0]["state"] == "stopped"
    assert [each["id"] for each in Ran("bulk", "list", "--json").rows] == [row["id"]]
    (shown,) = Ran("bulk", "show", row["id"], "--json").rows
    assert (shown["reason"], shown["receipt"]["looked_at"]) == ("x", 0)
    assert "type:app.Ship" in shown["search"]
    assert states(*ids) == ["failed"] * 3

    def work(_: float) -> None:
        operation = BulkOperation.objects.order_by("-pk")[0]
        run_chunk(operation.pk, operation.step)

    monkeypatch.setattr("handlers.command_line.bulk.time.sleep", work)
    ran = Ran("bulk", "start", "delete", "type:Ship", "--wait")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("is done: 3 of 3 jobs deleted.\n")
    assert states(*ids) == ["deleted"] * 3
    done = BulkOperation.objects.order_by("-pk")[0].pk
    ran = Ran("bulk", "show", str(done), "999999")
    assert (ran.code, ran.err) == (1, "there is no bulk operation 999999\n")
    assert "is done: 3 of 3 jobs deleted." in ran.out
    assert re.search(r"of the newest 3 jobs:\n +never ran +3\n +deleted +3\n$", ran.out)


# --- how it ends, and what it writes


def test_database_that_is_away_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(Selection, "page", away)
    ran = Ran("list")
    assert ran.code == 3
    assert ran.error.startswith("the database cannot be asked: connection refused (")


def test_interrupted_verb_says_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = job_scheduler.enqueue_many([Note("a"), Note("b")])
    monkeypatch.setattr(acting, "CHUNK", 1)
    calls = iter([acting._act])

    def interrupted(*given: Any) -> set[int]:
        for act in calls:
            return act(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(acting, "_act", interrupted)
    ran = Ran("delete", *ids)
    assert ran.code == 130
    assert ran.err == "deleted 1 of 2 jobs, then it was broken off\n"
    assert states(*ids) == ["deleted", "enqueued"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.once
def test_table_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    out, err = Terminal(), Terminal()
    screen = Screen(out, err)
    screen.table(("ID", "WHAT"), [(7, "\u4e2d" * 30), (12, "a\x1b[31m b\nc")])
    assert out.getvalue().splitlines() == [
        "ID  WHAT",
        "7   " + "\u4e2d" * 12 + "\N{HORIZONTAL ELLIPSIS}",
        "12  a\N{REPLACEMENT CHARACTER}[31m b c",
    ]
    screen.progress(50, 200)
    assert "25 %  50 of 200" in err.getvalue()
    silent = io.StringIO()
    Screen(out, silent).progress(1, 2)
    assert silent.getvalue() == ""
    assert plain("\u202eabc\x9b") == "\N{REPLACEMENT CHARACTER}abc\N{REPLACEMENT CHARACTER}"


@pytest.mark.once
@pytest.mark.usefixtures("transactional_db")
def test_process_ends_with_the_code_and_one_line(child_env: dict[str, str]) -> None:
    job_scheduler.enqueue_many([Note("a" * 100)] * 2_000)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", "jobs", *words]
        return subprocess.run(command, env=child_env, capture_output=True, text=True, check=False)

    wrong = run("list", "colour:red")
    assert (wrong.returncode, len(wrong.stderr.splitlines()), wrong.stdout) == (2, 1, "")
    nothing = run("retry", "0")
    assert (nothing.returncode, nothing.stdout) == (1, "retried 0 of 1 job\n")
    line = f"{sys.executable} manage.py jobs list --json --limit 0 | head -n 1"
    short = subprocess.run(["sh", "-c", line], env=child_env, capture_output=True, text=True, check=False)
    assert json.loads(short.stdout)["state"] == "enqueued"
    assert short.stderr == ""


class Gone(io.StringIO):
    """A pipe that nobody reads."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def fileno(self) -> int:
        return int(self._file.fileno())

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_verb_goes_on_when_nobody_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_json: list[str]) -> None:
    ids = job_scheduler.enqueue_many([Note("a"), Note("b")])
    monkeypatch.setattr(acting, "CHUNK", 1)
    with (tmp_path / "out").open("w") as file:
        call_command("jobs", "delete", *map(str, ids), *as_json, stdout=Gone(file), stderr=io.StringIO())
    assert states(*ids) == ["deleted", "deleted"]


def test_encoding_that_lacks_a_character_is_no_fault_of_the_arguments() -> None:
    job_id = job_scheduler.enqueue(Note("\u4e2d\u2022"))
    for words in (["--json"], []):
        written = io.BytesIO()
        with io.TextIOWrapper(written, encoding="ascii") as out:
            call_command("jobs", "show", str(job_id), *words, stdout=out)
            out.flush()
            text = written.getvalue().decode("ascii")
        assert "\\u4e2d\\u2022" in text


def test_examples_of_the_docs_make_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", end)  # of tail
    get_user_model()._default_manager.create(username="ann")
    now = timezone.now()
    FailureGroup.objects.create(pk="3f2a9c0011223344", first_at=now, last_at=now)
    lines = re.findall(r"^manage\.py jobs (.*)$", DOCS.read_text(), re.MULTILINE)
    assert len(lines) > 25
    for line in lines:
        words = shlex.split(line)
        if words[-1] == "1":  # the operation that the example before has begun
            words[-1] = str(BulkOperation.objects.order_by("-pk")[0].pk)
        elif not (job_scheduler.paused_types() or job_scheduler.paused_queues()):
            job_scheduler.enqueue(SendReceipt(7))
            with fail_next(SendReceipt, GiveUp("no mail")):
                run_due_jobs()
            job_scheduler.enqueue(SendReceipt(8))
        ran = Ran(*words)
        by_id = re.search(r" (7|7 8)( |$)", line) is not None  # these may not be there
        assert (line, ran.error) == (line, "")
        assert ran.code in ((0, 1) if by_id else (0,)), line


@pytest.mark.parametrize("words", ["list --limit=--", "enqueue app.Note --payload=--", "pause --type=--"])
def test_option_of_two_hyphens_is_one_without_a_value(words: str) -> None:
    with pytest.raises(CommandError, match="expected one argument, and not --"):
        call_command("jobs", *words.split())


def test_mark_of_a_time_that_no_calendar_has_is_refused_in_words() -> None:
    with pytest.raises(CommandError, match="at: must be an aware datetime"):
        call_command("mark_deploy", "v1", "--at", "0001-01-01T00:00+14:00")
