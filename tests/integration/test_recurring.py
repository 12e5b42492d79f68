"""Jobs that recur: what the verbs write and refuse, and what fires when, whoever looks and however late."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F
from django.test import override_settings
from django.utils import timezone

from handlers import Command, InvalidJob, Job, Unique, handles, handles_command, job_scheduler, recurring
from handlers.checks import check_jobs
from handlers.models import AuditEntry, JobRecord, Occurrence, RecurringJob
from handlers.recovery import age_out
from handlers.recurrence import declared, firing, heartbeats, plans
from handlers.registry import registry
from tests.app.jobs import Fail, Note
from tests.processes import wait_for
from tests.running import run, waits_for_a_lock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Restock(Command):
    least: int


def add(name: str = "it", cron: str | None = "0 9 * * *", **options: Any) -> RecurringJob:
    job_scheduler.add_or_update_recurring(name, options.pop("job", Note("it")), cron, **options)
    return row(name)


def row(name: str = "it") -> RecurringJob:
    return RecurringJob.objects.get(name=name)


def last_job(name: str = "it") -> int:
    job_id = row(name).last_job_id
    assert job_id is not None
    return job_id


def overdue(by: timedelta, name: str = "it", *, every: timedelta = MINUTE, count: int | None = None) -> datetime:
    """Make it due ``by`` ago; the moment."""
    at = timezone.now() - by
    RecurringJob.objects.filter(name=name).update(
        due_at=at, next_at=at, anchor_at=at, every_seconds=every.total_seconds()
    )
    return at


def told(name: str = "it") -> list[tuple[str, int]]:
    """How its occurrences came to be, the first one first, and for how many each stands that ran not."""
    return list(Occurrence.objects.filter(recurring__name=name).order_by("due_at").values_list("how", "skipped"))


@contextmanager
def few_parameters() -> Iterator[None]:
    """SQLite takes 2,000 in a statement, not a quarter of a million."""
    raw = connection.connection
    if connection.vendor != "sqlite":
        yield
        return
    before = raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 2_000)
    try:
        yield
    finally:
        raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)


def jobs() -> list[int]:
    return list(JobRecord.objects.order_by("pk").values_list("pk", flat=True))


# --- verbs


def test_what_is_registered_as_it_was_moves_nothing_and_a_changed_rule_does() -> None:
    before = add(start=datetime(2031, 5, 1, tzinfo=UTC))
    assert before.due_at == before.next_at == datetime(2031, 5, 1, 9, tzinfo=UTC)
    assert not job_scheduler.add_or_update_recurring(
        "it", Note("it"), "0 9 * * *", start=datetime(2031, 5, 1, tzinfo=UTC)
    )
    assert row().changed_at == before.changed_at
    # Other arguments leave the times.
    RecurringJob.objects.update(due_at=datetime(2032, 1, 1, 9, tzinfo=UTC), next_at=datetime(2032, 1, 1, 9, tzinfo=UTC))
    assert job_scheduler.add_or_update_recurring(
        "it", Note("other"), "0 9 * * *", start=datetime(2031, 5, 1, tzinfo=UTC)
    )
    assert (row().data, row().due_at) == ({"text": "other"}, datetime(2032, 1, 1, 9, tzinfo=UTC))
    after = add(cron="30 9 * * *", timezone="Europe/Berlin", start=datetime(2031, 5, 1, tzinfo=UTC))
    assert after.due_at == datetime(2031, 5, 1, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("name", {"name": ""}),
        ("name", {"name": " it"}),
        ("name", {"name": "x" * 201}),
        ("cron", {"cron": "61 * * * *"}),
        ("cron", {"cron": "0 0 30 2 *"}),
        ("cron", {"cron": None}),
        ("every", {"cron": None, "every": timedelta(0)}),
        ("every", {"every": MINUTE}),
        ("timezone", {"timezone": "Mars/Olympus"}),
        ("timezone", {"timezone": "../etc/passwd"}),
        ("misfire", {"misfire": "sometimes"}),
        ("overlap", {"overlap": True}),
        ("jitter", {"jitter": 5}),
        ("start", {"start": datetime(2030, 1, 1)}),  # noqa: DTZ001 - naive
        ("end", {"start": datetime(2030, 1, 2, tzinfo=UTC), "end": datetime(2030, 1, 1, tzinfo=UTC)}),
        ("queue", {"queue": "nowhere"}),
        ("catch_up", {"catch_up": 0}),
        ("pause_after", {"pause_after": -1}),
        ("heartbeat_url", {"heartbeat_url": "file:///etc/passwd"}),
        ("heartbeat_url", {"heartbeat_url": "https://me:secret@example.org/ping"}),
        ("heartbeat_url", {"heartbeat_url": "https://example.org:secret/ping"}),
        ("heartbeat_url", {"heartbeat_url": "https:///ping"}),
        ("job", {"job": "it"}),
        ("text", {"job": Note(5)}),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob) as error:
        add(**options)
    assert error.value.field == field
    assert field in str(error.value).lower()
    assert not RecurringJob.objects.exists()
    assert not AuditEntry.objects.exists()


def test_it_is_written_with_the_callers_transaction() -> None:
    with transaction.atomic():
        add()
        transaction.set_rollback(True)
    assert not RecurringJob.objects.exists()


def test_a_person_is_named_for_each_verb() -> None:
    olga = User.objects.create_user("olga")
    add(by=olga, reason="for tests")
    add(cron="1 9 * * *", by=olga)
    job_scheduler.trigger_recurring("it", by=olga)
    job_scheduler.pause_recurring("it", by=olga)
    job_scheduler.resume_recurring("it", by=olga)
    assert job_scheduler.remove_recurring("it", by=olga)
    assert not job_scheduler.remove_recurring("it", by=olga)
    said = AuditEntry.objects.order_by("pk").values_list("verb", "target", "count", "username")
    verbs = ["add", "change", "trigger", "pause", "resume", "remove"]
    assert list(said) == [
        *((f"{verb}_recurring", "recurring it", 1, "olga") for verb in verbs),
        ("remove_recurring", "recurring it", 0, "olga"),
    ]


def test_what_was_changed_meanwhile_is_not_written_over() -> None:
    before = add(expect="")
    with pytest.raises(InvalidJob, match="there is a recurring job 'it' already") as taken:
        add(expect="")
    assert taken.value.field == "name"
    add(cron="1 9 * * *", expect=before.version)
    for verb in (
        lambda: add(expect=before.version),
        lambda: job_scheduler.remove_recurring("it", expect=before.version),
    ):
        with pytest.raises(InvalidJob, match="was changed meanwhile"):
            verb()
    assert row().cron == "1 9 * * *"
    assert job_scheduler.remove_recurring("it", expect=row().version)
    with pytest.raises(InvalidJob, match="was removed meanwhile"):
        add(expect=before.version)


def test_trigger_runs_it_once_paused_or_not_and_moves_nothing() -> None:
    before = add()
    job_scheduler.pause_recurring("it")
    job_id = job_scheduler.trigger_recurring("it")
    record = JobRecord.objects.get(pk=job_id)
    assert (record.state, record.job_type, record.payload) == ("enqueued", before.job_type, {"text": "it"})
    assert told() == [("triggered", 0)]
    assert (row().due_at, row().fired, row().last_job_id) == (None, 1, job_id)
    for verb in (job_scheduler.trigger_recurring, job_scheduler.pause_recurring, job_scheduler.resume_recurring):
        with pytest.raises(InvalidJob, match="there is no recurring job 'nobody'"):
            verb("nobody")


def test_a_pause_lets_none_come_and_what_fell_into_it_is_not_made_up_for() -> None:
    add(cron=None, every=MINUTE, misfire="each")
    assert job_scheduler.pause_recurring("it")
    assert not job_scheduler.pause_recurring("it")
    assert row().next_at is None
    assert firing.fire_due().jobs == 0
    assert job_scheduler.resume_recurring("it")
    assert not job_scheduler.resume_recurring("it")
    found = row()
    assert found.due_at is not None
    assert timezone.now() < found.due_at <= timezone.now() + MINUTE
    until = timezone.now() + timedelta(days=2)
    assert job_scheduler.pause_recurring("it", until)
    found = row()
    assert found.next_at is not None
    assert until < found.next_at <= until + MINUTE
    # An unchanged registration leaves the pause, and so does a changed one.
    add(cron=None, every=HOUR, misfire="each")
    found = row()
    assert found.paused_until == until
    assert found.next_at is not None
    assert found.next_at > until


def test_backfill_runs_what_no_job_was_made_for() -> None:
    add(cron="0 * * * *")
    end = timezone.now().replace(minute=0, second=0, microsecond=0)
    start = end - 5 * HOUR
    hours = [start + n * HOUR for n in range(1, 6)]
    Occurrence.objects.create(recurring=row(), due_at=hours[1], fired_at=end, how="due", job_id=1)
    Occurrence.objects.create(recurring=row(), due_at=hours[2], fired_at=end, how="missed", skipped=1)
    expected = [hours[0], *hours[2:]]
    assert job_scheduler.preview_backfill("it", start, end) == expected
    ids = job_scheduler.backfill_recurring("it", start, end)
    assert len(ids) == 4
    made = Occurrence.objects.filter(how="backfilled").order_by("due_at")
    assert list(made.values_list("due_at", "job_id")) == list(zip(expected, ids, strict=True))
    assert job_scheduler.backfill_recurring("it", start, end) == []
    with pytest.raises(InvalidJob, match="more than 1,000 occurrences"):
        job_scheduler.backfill_recurring("it", end - 2_000 * HOUR, end)
    with pytest.raises(InvalidJob, match=r"end: .* is not past"):
        job_scheduler.backfill_recurring("it", start, end + 2 * HOUR)
    with pytest.raises(InvalidJob, match=r"start: .* is not before end"):
        job_scheduler.backfill_recurring("it", end, start)


def test_what_was_skipped_and_is_backfilled_counts_as_skipped_no_more() -> None:
    add(cron="0 * * * *", misfire="skip")
    end = timezone.now().replace(minute=0, second=0, microsecond=0)
    hours = [end - n * HOUR for n in range(9, -1, -1)]
    Occurrence.objects.create(recurring=row(), due_at=hours[1], fired_at=hours[1], how="due", job_id=1)
    Occurrence.objects.create(recurring=row(), due_at=hours[5], fired_at=end, how="missed", skipped=4)
    Occurrence.objects.create(recurring=row(), due_at=hours[8], fired_at=end, how="overlapped", skipped=3)
    RecurringJob.objects.update(skipped=8)  # one more than there are rows of still

    def backfill(first: int, last: int) -> list[tuple[str, int]]:
        job_scheduler.backfill_recurring("it", hours[first] - SECOND, hours[last])
        return told()

    assert backfill(0, 0)[0] == ("backfilled", 0)  # nobody has skipped that one
    assert row().skipped == 8
    assert backfill(3, 3)[2:] == [("backfilled", 0), ("missed", 3), ("overlapped", 3)]
    assert row().skipped == 7
    assert backfill(5, 6)[3:] == [("backfilled", 2), ("backfilled", 0), ("overlapped", 2)]  # it stands for two others
    assert row().skipped == 5
    assert backfill(0, 9) == [("backfilled" if n != 1 else "due", 0) for n in range(10)]
    assert (row().fired, row().skipped) == (9, 1)


def test_what_came_while_it_was_paused_had_not_counted_as_skipped() -> None:
    add(cron="0 * * * *", misfire="skip")
    end = timezone.now().replace(minute=0, second=0, microsecond=0)
    Occurrence.objects.create(recurring=row(), due_at=end, fired_at=end, how="missed", skipped=2)
    RecurringJob.objects.update(skipped=2, resumed_at=end - 2 * HOUR)
    job_scheduler.backfill_recurring("it", end - 9 * HOUR, end - HOUR - SECOND)
    assert (told()[-1], row().skipped) == (("missed", 2), 2)
    job_scheduler.backfill_recurring("it", end - 9 * HOUR, end)
    assert (told()[-1], row().skipped) == (("backfilled", 0), 0)


def test_what_came_in_a_pause_that_ended_by_itself_had_not_counted_as_skipped() -> None:
    add(cron="0 * * * *", misfire="skip")
    end = timezone.now().replace(minute=0, second=0, microsecond=0)
    first = end - 4 * HOUR  # that came after the pause, in an outage
    RecurringJob.objects.update(
        due_at=first, next_at=first, paused_at=end - 20 * HOUR, paused_until=first - SECOND, paused_reason="a feast"
    )
    firing.fire_due()
    skipped = row().skipped
    assert skipped in (4, 5)  # the last one may be due just now
    job_scheduler.backfill_recurring("it", end - 9 * HOUR, first - SECOND)
    assert row().skipped == skipped
    job_scheduler.backfill_recurring("it", end - 12 * HOUR, first + HOUR)
    assert row().skipped == skipped - 2
    job_scheduler.pause_recurring("it")  # another pause later changes nothing of that
    job_scheduler.resume_recurring("it")
    job_scheduler.backfill_recurring("it", end - 15 * HOUR, end - 12 * HOUR)
    assert row().skipped == skipped - 2
    job_scheduler.backfill_recurring("it", end - 15 * HOUR, end)
    assert row().skipped == sum(count for _, count in told()) == 0


@pytest.mark.parametrize(("overlap", "how"), [("allow", "missed"), ("skip", "overlapped")])
def test_what_was_backfilled_before_a_scheduler_came_does_not_count_as_skipped(overlap: str, how: str) -> None:
    add(cron=None, every=MINUTE, misfire="skip" if overlap == "allow" else "each", overlap=overlap)
    first = overdue(9 * MINUTE - SECOND)  # of nine the last one is late, too
    job_scheduler.backfill_recurring("it", first - SECOND, first + MINUTE)
    firing.fire_due()
    assert told() == [*[("backfilled", 0)] * 2, (how, 7)]
    assert (row().fired, row().skipped) == (2, 7)


def test_an_interval_counts_from_its_start_or_from_after_it_was_added() -> None:
    add("added", None, every=HOUR)
    start = timezone.now().replace(microsecond=0) - 3 * HOUR - MINUTE
    add("started", None, every=HOUR, start=start)
    span = start - HOUR, timezone.now()
    assert job_scheduler.preview_backfill("added", *span) == []
    assert job_scheduler.preview_backfill("started", *span) == [start + n * HOUR for n in range(4)]


@pytest.mark.postgresql
def test_two_that_add_one_name_at_once_both_have_it() -> None:
    moved: list[bool] = []

    def second() -> None:
        try:
            moved.append(job_scheduler.add_or_update_recurring("it", Note("it"), "0 9 * * *"))
        finally:
            connection.close()

    other = threading.Thread(target=second)
    with transaction.atomic():
        add()
        other.start()
        wait_for("it waits", waits_for_a_lock)
    other.join()
    assert moved == [False]
    assert RecurringJob.objects.count() == AuditEntry.objects.count() + 1 == 1


# --- firing


def test_what_is_due_is_fired_once_and_has_its_next_time() -> None:
    add(cron=None, every=HOUR, queue="mail")
    due = overdue(SECOND, every=HOUR)
    assert firing.fire_due() == (1, 1)
    assert firing.fire_due() == (0, 0)
    [job_id] = jobs()
    record = JobRecord.objects.get(pk=job_id)
    assert (record.state, record.queue, record.payload, record.created_by) == (
        "enqueued", "mail", {"text": "it"}, "recurring jobs",
    )  # fmt: skip
    [found] = Occurrence.objects.values_list("due_at", "how", "job_id")
    assert found == (due, "due", job_id)
    assert row().due_at == row().next_at == due + HOUR
    assert (row().fired, row().skipped, row().last_job_id) == (1, 0, job_id)
    run(job_id)
    assert JobRecord.objects.get(pk=job_id).state == "succeeded"


def test_a_command_recurs_as_a_job_does() -> None:
    done: list[int] = []
    with registry.isolated():
        handles_command(Restock, queue="mail")(lambda command: done.append(command.least))
        add(cron=None, job=Restock(7), every=HOUR)
        assert not job_scheduler.add_or_update_recurring("it", Restock(7), every=HOUR)
        overdue(SECOND, every=HOUR)
        firing.fire_due()
        job_scheduler.trigger_recurring("it")
        made = jobs()
        kinds = JobRecord.objects.filter(pk__in=made).values_list("job_type", "queue").distinct()
        assert list(kinds) == [(registry.find(row().job_type).name, "mail")]
        run(*made)
        assert job_scheduler.add_or_update_recurring("it", Restock(8), every=HOUR)
        overdue(SECOND, every=HOUR)
        firing.fire_due()
        run(last_job())
    assert done == [7, 7, 8]
    assert not JobRecord.objects.exclude(state="succeeded").exists()


@pytest.mark.parametrize(
    ("options", "how", "fired", "skipped"),
    [
        ({"misfire": "skip"}, [("missed", 9), ("due", 0)], 1, 9),
        ({"misfire": "one"}, [("missed", 9), ("due", 0)], 1, 9),
        ({"misfire": "each"}, [*[("late", 0)] * 9, ("due", 0)], 10, 0),
        ({"misfire": "each", "catch_up": 3}, [("missed", 6), *[("late", 0)] * 3, ("due", 0)], 4, 6),
        ({"misfire": "each", "catch_up_within": 150 * SECOND}, [("missed", 7), *[("late", 0)] * 2, ("due", 0)], 3, 7),
        # The one that is due now runs beside none: of all, the first runs.
        ({"misfire": "each", "overlap": "skip"}, [("late", 0), ("overlapped", 9)], 1, 9),
        ({"misfire": "each", "overlap": "queue"}, [("late", 0), ("overlapped", 8)], 1, 8),
    ],
)
def test_after_an_outage_misfires_are_treated_as_asked_and_counted(
    options: dict[str, Any], how: list[tuple[str, int]], fired: int, skipped: int
) -> None:
    add(cron=None, every=MINUTE, **options)
    first = overdue(9 * MINUTE + SECOND)
    assert firing.fire_due().jobs == fired
    assert told() == how
    assert (row().fired, row().skipped) == (fired, skipped)
    assert row().due_at == first + 10 * MINUTE


def test_one_late_occurrence_runs_unless_it_is_to_be_skipped() -> None:
    for misfire, expected in (("one", [("late", 0)]), ("skip", [("missed", 1)])):
        add(misfire, cron=None, every=HOUR, misfire=misfire)
        overdue(MINUTE, misfire, every=HOUR)
        firing.fire_due()
        assert told(misfire) == expected
    with override_settings(JOBS={"MISFIRE_SECONDS": 100}):
        add("patient", cron=None, every=HOUR, misfire="skip")
        overdue(MINUTE, "patient", every=HOUR)
        firing.fire_due()
        assert told("patient") == [("due", 0)]


def test_a_very_long_outage_is_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "LOOK_BACK", 10)
    add(cron=None, every=SECOND, misfire="one")
    overdue(34 * SECOND + 0.5 * SECOND, every=SECOND)
    turns = 0
    while firing.fire_due().looked_at:
        turns += 1
    assert turns >= 4
    found = row()
    assert found.fired + found.skipped in (35, 36)
    assert [how for how, _ in told()][-1] == "due"
    assert found.fired <= 6  # those that are not late


def test_each_at_most_so_many_of_the_last_however_long_the_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "LOOK_BACK", 10)
    add(cron=None, every=MINUTE, misfire="each", catch_up=3)
    first = overdue(34 * MINUTE + SECOND)
    while firing.fire_due().looked_at:
        pass
    found = Occurrence.objects.exclude(job_id=None).order_by("due_at").values_list("due_at", "how")
    lates = [(first + n * MINUTE, "late") for n in (31, 32, 33)]
    assert list(found) == [*lates, (first + 34 * MINUTE, "due")]
    assert (row().fired, row().skipped) == (4, 31)


def test_many_that_catch_up_with_much_are_fired_in_parts_that_the_database_can_take() -> None:
    names = [f"n{n}" for n in range(3)]
    for name in names:
        add(name, cron=None, every=SECOND, misfire="each", catch_up=10_000)
        overdue(3_000 * SECOND, name, every=SECOND)
    with few_parameters():
        while firing.fire_due().looked_at:
            pass
    assert min(row(name).fired for name in names) >= 3_000


def test_a_clock_that_was_set_back_fires_nothing_again() -> None:
    add(cron=None, every=HOUR)
    due = overdue(SECOND, every=HOUR)
    assert firing.fire_due().jobs == 1
    # As a resume would set it, by a clock that went back.
    RecurringJob.objects.update(due_at=due, next_at=due)
    assert firing.fire_due() == (0, 1)
    assert len(jobs()) == 1
    assert row().due_at == due + HOUR


def test_overlap_waits_for_the_job_before() -> None:
    for overlap in ("allow", "skip", "queue"):
        add(overlap, cron=None, every=HOUR, overlap=overlap)
    for n in range(3):
        for overlap in ("allow", "skip", "queue"):
            overdue(SECOND * (3 - n), overlap, every=HOUR)
        firing.fire_due()
    assert [(row(name).fired, row(name).skipped) for name in ("allow", "skip", "queue")] == [(3, 0), (1, 2), (1, 1)]
    held = row("queue").held_at
    assert held is not None
    assert firing.fire_held().jobs == 0
    run(last_job("queue"))
    assert firing.fire_held().jobs == 1
    assert firing.fire_held().jobs == 0
    found = Occurrence.objects.get(how="held")
    assert (found.due_at, found.job_id) == (held, row("queue").last_job_id)
    run(last_job("skip"))
    overdue(SECOND, "skip", every=HOUR)
    assert firing.fire_due().jobs == 1
    overdue(SECOND, "queue", every=HOUR)
    firing.fire_due()
    assert row("queue").held_at
    # What waited when others were not allowed beside it runs as well.
    add("queue", cron=None, every=HOUR, overlap="allow")
    run(last_job("queue"))
    assert firing.fire_held().jobs == 1
    assert row("queue").held_at is None


def test_failures_in_a_row_pause_it_until_somebody_resumes() -> None:
    add(job=Fail(9, "k"), cron=None, every=HOUR, pause_after=2)
    for _ in range(2):
        overdue(SECOND, every=HOUR)
        assert firing.fire_due().jobs == 1
        JobRecord.objects.filter(pk=last_job()).update(state="failed")
    overdue(SECOND, every=HOUR)
    assert firing.fire_due() == (0, 1)
    found = row()
    assert (found.paused_reason, found.next_at) == ("2 failed jobs in a row", None)
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.username, entry.target) == ("pause_recurring", "recurring jobs", "recurring it")
    job_scheduler.resume_recurring("it")
    overdue(SECOND, every=HOUR)
    assert firing.fire_due().jobs == 1  # what failed before is forgiven


@pytest.mark.parametrize(
    ("ends", "is_paused"),
    [("ff", True), ("sff", True), ("fsf", False), ("ffs", False), ("fdf", False), ("f", False), ("f-f", True)],
)
def test_only_failures_that_follow_each_other_pause_it(ends: str, is_paused: bool) -> None:
    add(cron=None, every=MINUTE, pause_after=2, misfire="skip")
    states = {"f": "failed", "s": "succeeded", "d": "deleted"}
    for number, end in enumerate(ends):
        late = (
            HOUR + 30 * SECOND if end == "-" else timedelta(0)
        )  # one that is skipped has not failed, nor has it succeeded
        overdue((len(ends) - number) * SECOND / 10 + late)
        assert firing.fire_due().looked_at == 1
        if end != "-":
            JobRecord.objects.filter(pk=last_job()).update(state=states[end])
    overdue(timedelta(0))
    firing.fire_due()
    assert (row().paused_reason, row().next_at is None) == (
        ("2 failed jobs in a row", True) if is_paused else ("", False)
    )


def test_failures_of_one_that_is_rare_are_remembered() -> None:
    week = timedelta(days=7)
    for name, pause_after in (("judged", 2), ("not", 0)):
        add(name, job=Fail(9, name), cron=None, every=week, pause_after=pause_after)
        for _ in range(4):
            Occurrence.objects.filter(recurring__name=name).update(fired_at=F("fired_at") - week)
            Occurrence.objects.filter(recurring__name=name).update(due_at=F("due_at") - week)
            age_out()
            overdue(SECOND, name, every=week)
            firing.fire_due()
            JobRecord.objects.filter(pk=last_job(name)).update(state="failed")
    assert [(row(name).fired, row(name).paused_reason) for name in ("judged", "not")] == [
        (2, "2 failed jobs in a row"),
        (4, ""),
    ]
    assert [Occurrence.objects.filter(recurring__name=name).count() for name in ("judged", "not")] == [2, 1]


def test_one_that_cannot_be_fired_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("before", "broken", "after"):
        add(name, cron=None, every=HOUR)
        overdue(SECOND, name, every=HOUR)
    RecurringJob.objects.filter(name="broken").update(every_seconds=0)
    assert firing.fire_due() == (2, 3)
    assert "recurring job 'broken' cannot be fired" in caplog.text
    found = row("broken")
    assert found.next_at is not None
    assert found.next_at > timezone.now() + 50 * SECOND
    assert firing.fire_due() == (0, 0)
    RecurringJob.objects.filter(name="broken").update(every_seconds=3_600, next_at=timezone.now())
    assert firing.fire_due() == (1, 1)


@dataclass(frozen=True)
class Sync(Job):
    shop: int
    deep: bool = False


def test_one_whose_arguments_lack_a_field_of_its_types_key_has_those_of_the_code() -> None:
    with registry.isolated():
        handles(Sync, unique=Unique(key=("deep",)))(lambda job: None)
        for name, data in (("lacks", {"shop": 1}), ("unreadable", {"house": 1})):
            add(name, cron=None, job=Sync(1), every=HOUR)
            RecurringJob.objects.filter(name=name).update(data=data)
            overdue(SECOND, name, every=HOUR)
        there = job_scheduler.enqueue(Sync(1))
        assert firing.fire_due() == (2, 2)
        assert last_job("lacks") == there
        assert last_job("unreadable") != there  # its attempt says what is wrong


def test_jitter_longer_than_the_interval_keeps_the_order() -> None:
    for name in (f"n{n}" for n in range(20)):
        add(name, cron=None, every=10 * SECOND, jitter=MINUTE, misfire="each")
        first = overdue(100 * SECOND, name, every=10 * SECOND)
        firing.fire_due()
        dues = list(Occurrence.objects.filter(recurring__name=name).order_by("pk").values_list("due_at", flat=True))
        assert dues == [first + 10 * n * SECOND for n in range(len(dues))]
        assert 4 <= len(dues) <= 11


def test_times_at_the_calendars_end_are_no_trouble() -> None:
    end = datetime.max.replace(tzinfo=UTC) - MINUTE
    found = add(cron=None, every=timedelta(days=3650), start=end, jitter=timedelta(days=3650))
    assert found.due_at == end
    RecurringJob.objects.update(next_at=timezone.now())
    assert firing.fire_due() == (0, 1)


def test_heartbeats_of_what_has_ended_are_sent_whatever_waits_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "LOOK", 2)
    add(cron=None, every=HOUR, heartbeat_url="https://example.org/ping")
    ids = [job_scheduler.trigger_recurring("it") for _ in range(5)]
    run(*ids[2:])
    assert [heartbeats.send() for _ in range(3)] == [2, 1, 0]
    assert Occurrence.objects.filter(heartbeat=True).count() == 2


def test_the_address_of_each_is_asked_for_after_its_own_success_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(heartbeats, "call", asked.append)
    for name in ("good", "fails", "deleted", "other", "mute"):
        address = "" if name == "mute" else f"https://example.org/{name}"
        add(name, cron=None, every=HOUR, heartbeat_url=address)
        overdue(SECOND, name, every=HOUR)
    firing.fire_due()
    assert heartbeats.send() == 0, "none has ended"
    run(last_job("good"), last_job("mute"))
    JobRecord.objects.filter(pk=last_job("fails")).update(state="failed")
    job_scheduler.delete(last_job("deleted"))
    assert heartbeats.send() == 1
    run(last_job("other"))
    assert heartbeats.send() == 1
    run(*JobRecord.objects.filter(job_type=heartbeats.HEARTBEAT).values_list("pk", flat=True))
    assert asked == ["https://example.org/good", "https://example.org/other"]
    assert not Occurrence.objects.filter(heartbeat=True).exists()


def test_jitter_spreads_and_stays() -> None:
    names = [f"n{n}" for n in range(20)]
    for name in names:
        add(name, "0 9 * * *", jitter=HOUR)
    found = [row(name) for name in names]
    assert len({each.due_at for each in found}) == 1
    spread = sorted((each.next_at - each.due_at).total_seconds() for each in found if each.next_at and each.due_at)
    assert 0 <= spread[0] < 1_000
    assert 2_600 < spread[-1] < 3_600
    assert add("n3", "0 9 * * *", jitter=HOUR).next_at == found[3].next_at


def test_it_ends_with_its_end() -> None:
    add(cron=None, every=HOUR, end=timezone.now() + 10 * HOUR)
    overdue(SECOND, every=HOUR)
    RecurringJob.objects.update(end_at=timezone.now() + MINUTE)
    assert firing.fire_due().jobs == 1
    assert (row().due_at, row().next_at) == (None, None)


# --- declared in code


@pytest.fixture
def code() -> Iterator[None]:
    with registry.isolated():
        registry.recurring.clear()
        yield


@pytest.mark.usefixtures("code")
def test_what_the_code_declares_comes_changes_and_goes_with_it() -> None:
    recurring("nightly", Note("n"), "0 3 * * *", timezone="Europe/Berlin")
    recurring("often", Note("o"), every=MINUTE)
    assert declared.sync() == 2
    assert declared.sync() == 0
    assert row("nightly").in_code
    with pytest.raises(InvalidJob, match="declared in the code"):
        add("nightly")
    with pytest.raises(InvalidJob, match="declared in the code"):
        job_scheduler.remove_recurring("nightly")
    job_scheduler.pause_recurring("nightly")
    assert declared.sync() == 0
    assert row("nightly").paused_at
    registry.recurring.clear()
    recurring("nightly", Note("n"), "0 4 * * *", timezone="Europe/Berlin")
    add("a program's")
    assert declared.sync() == 2
    assert set(RecurringJob.objects.values_list("name", "cron")) == {
        ("nightly", "0 4 * * *"),
        ("a program's", "0 9 * * *"),
    }
    assert row("nightly").next_at is None  # still paused


@pytest.mark.usefixtures("code")
def test_a_wrong_declaration_is_told_at_once_or_leaves_the_others() -> None:
    with pytest.raises(InvalidJob, match="cron"):
        recurring("wrong", Note("n"), "0 25 * * *")
    recurring("right", Note("n"), "0 3 * * *")
    recurring("right", Note("n"), "0 3 * * *")
    with pytest.raises(InvalidJob, match="declares a recurring job 'right' already"):
        recurring("right", Note("n"), "0 4 * * *")
    recurring("unknown queue", Note("n"), "0 3 * * *", queue="nowhere")
    assert [line.partition(":")[0] for line in declared.problems()] == ["recurring job 'unknown queue'"]
    assert [(found.id, "queue: 'nowhere' is not known" in found.msg) for found in check_jobs(None)] == [
        ("jobs.E012", True)
    ]
    with pytest.raises(InvalidJob, match="recurring job 'unknown queue': queue"):
        declared.sync()
    assert [each.name for each in RecurringJob.objects.all()] == ["right"]
