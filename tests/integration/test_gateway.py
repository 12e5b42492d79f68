"""The gateway's verbs: what they write, what they refuse, what they answer, and what the audit says of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import override_settings
from django.utils import timezone

from handlers import Command, InvalidJob, Job, JobId, NoHandler, job_scheduler
from handlers.models import AuditEntry, JobHistory, JobPayload, JobRecord
from tests.app.jobs import AsyncNote, Fail, Greet, Note
from tests.running import claim, facts, make_due, moves_of, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

HOUR = timedelta(hours=1)
UNKNOWN = 2**62


@dataclass(frozen=True)
class Orphan(Job):
    """A job that nothing handles."""


@dataclass(frozen=True)
class OrphanCommand(Command):
    """A command that nothing handles."""


@pytest.fixture
def olga() -> User:
    return User.objects.create_user("olga")


def tables() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (JobRecord, JobPayload, JobHistory, AuditEntry))


def succeeded() -> JobId:
    job_id = job_scheduler.enqueue(Note("done"))
    run(job_id)
    assert record(job_id).state == "succeeded"
    return job_id


def failed() -> JobId:
    """A job of three attempts that has used them up."""
    job_id = job_scheduler.enqueue(Fail(9, "k"))
    for attempt in range(3):
        if attempt:
            make_due(job_id)
        run(job_id)
    assert record(job_id).state == "failed"
    return job_id


def scheduled() -> JobId:
    return job_scheduler.schedule(Note("later"), timezone.now() + HOUR)


def enqueued() -> JobId:
    return job_scheduler.enqueue(Note("now"))


def processing() -> JobId:
    job_id = job_scheduler.enqueue(Note("runs"))
    assert claim(job_id)
    return job_id


def deleted() -> JobId:
    job_id = job_scheduler.enqueue(Note("gone"))
    assert job_scheduler.delete(job_id)
    return job_id


MAKERS: dict[str, Callable[[], JobId]] = {
    maker.__name__: maker for maker in (succeeded, failed, scheduled, enqueued, processing, deleted)
}


# --- what enqueue and schedule write ---


def test_enqueue_writes_an_enqueued_row_with_its_payload() -> None:
    before = timezone.now()
    job_id = job_scheduler.enqueue(Note("hello"), by="importer")
    row = record(job_id)
    assert (row.state, row.queue, row.job_type) == ("enqueued", "default", "app.Note")
    assert row.payload == {"text": "hello"}
    assert len(row.token) == 16
    assert int(row.token, 16) >= 0
    assert (row.attempt, row.failures, row.crashes, row.alone) == (0, 0, 0, False)
    assert row.run_at is None
    assert row.created_by == "importer"
    assert before - timedelta(seconds=1) <= row.created_at <= timezone.now() + timedelta(seconds=1)
    assert row.enqueued_at == row.created_at
    assert not row.history.exists(), "creation is no transition"


def test_enqueue_takes_its_queue_from_the_type_and_lets_the_caller_name_another() -> None:
    assert record(job_scheduler.enqueue(AsyncNote("a"))).queue == "mail"
    assert record(job_scheduler.enqueue(AsyncNote("a"), queue="flaky")).queue == "flaky"


def test_enqueue_stores_a_command_under_its_own_name() -> None:
    row = record(job_scheduler.enqueue(Greet("Ada")))
    assert (row.job_type, row.queue, row.payload) == ("app.Greet", "mail", {"name": "Ada"})


def test_enqueue_names_the_user_who_asked(olga: User) -> None:
    assert record(job_scheduler.enqueue(Note("a"), by=olga)).created_by == "user:olga"


def test_enqueue_with_a_delay_is_scheduled_from_now() -> None:
    before = timezone.now()
    row = record(job_scheduler.enqueue(Note("a"), delay=HOUR))
    assert row.state == "scheduled"
    assert row.run_at is not None
    assert abs(row.run_at - (before + HOUR)) < timedelta(seconds=5)
    assert row.enqueued_at is None


def test_enqueue_with_a_delay_of_nothing_is_enqueued() -> None:
    assert facts(job_scheduler.enqueue(Note("a"), delay=timedelta(0)), "state", "run_at") == ("enqueued", None)


def test_schedule_keeps_the_instant_whatever_its_zone() -> None:
    at = datetime(2031, 5, 1, 12, tzinfo=timezone.get_fixed_timezone(120))
    assert facts(job_scheduler.schedule(Note("a"), at), "state", "run_at") == (
        "scheduled", datetime(2031, 5, 1, 10, tzinfo=UTC),
    )  # fmt: skip


def test_enqueue_many_returns_ids_in_the_order_given() -> None:
    jobs = [Note(str(n)) if n % 2 else AsyncNote(str(n)) for n in range(1_203)]  # more than one statement's worth
    ids = job_scheduler.enqueue_many(jobs)
    stored = JobPayload.objects.in_bulk(ids)
    assert [stored[job_id].data["text"] for job_id in ids] == [str(n) for n in range(1_203)]
    assert len(set(JobRecord.objects.values_list("token", flat=True))) == 1_203
    assert set(JobRecord.objects.filter(queue="mail").values_list("job_type", flat=True)) == {"app.AsyncNote"}


def test_enqueue_many_of_nothing_is_nothing() -> None:
    assert job_scheduler.enqueue_many([], by="importer") == []
    assert tables() == (0, 0, 0, 0)


def test_enqueue_many_takes_a_queue_and_an_iterator() -> None:
    ids = job_scheduler.enqueue_many((Note(text) for text in "ab"), queue="mail")
    assert [record(job_id).queue for job_id in ids] == ["mail", "mail"]


# --- what is refused ---


BAD: dict[str, tuple[Callable[[], Any], str, str]] = {
    "payload": (lambda: job_scheduler.enqueue(Note(cast("str", 7))), "text", "text"),
    "unknown queue": (lambda: job_scheduler.enqueue(Note("a"), queue="nowhere"), "queue", "not known"),
    "bad queue": (lambda: job_scheduler.enqueue(Note("a"), queue="No Such!"), "queue", "queue"),
    "negative delay": (lambda: job_scheduler.enqueue(Note("a"), delay=-HOUR), "delay", "0 to 3,650 days"),
    "endless delay": (lambda: job_scheduler.enqueue(Note("a"), delay=timedelta.max), "delay", "0 to 3,650 days"),
    "delay in seconds": (lambda: job_scheduler.enqueue(Note("a"), delay=cast("Any", 5)), "delay", "timedelta"),
    "naive": (
        lambda: job_scheduler.schedule(Note("a"), datetime(2031, 1, 1)),  # noqa: DTZ001 - that is the point
        "at", "aware",
    ),
    "no datetime": (lambda: job_scheduler.schedule(Note("a"), cast("Any", "tomorrow")), "at", "aware"),
    "beyond the calendar": (
        lambda: job_scheduler.schedule(Note("a"), datetime.max.replace(tzinfo=timezone.get_fixed_timezone(-300))),
        "at", "at",
    ),
    "before the calendar": (
        lambda: job_scheduler.schedule(Note("a"), datetime.min.replace(tzinfo=timezone.get_fixed_timezone(300))),
        "at", "at",
    ),
    "no job": (lambda: job_scheduler.enqueue(cast("Any", {"text": "a"})), "job", "dict"),
    "a class": (lambda: job_scheduler.enqueue(cast("Any", Note)), "job", "class"),
    "one of many": (
        lambda: job_scheduler.enqueue_many([Note("a"), Note(cast("str", None)), Note("b")]), "jobs.1.text", "^jobs.1: ",
    ),
    "queue of many": (lambda: job_scheduler.enqueue_many([Note("a")], queue="nowhere"), "queue", "not known"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_its_field_and_writes_nothing(case: str) -> None:
    call, field, words = BAD[case]
    with pytest.raises(InvalidJob, match=words) as caught:
        call()
    assert caught.value.field == field
    assert field.rpartition(".")[2] in str(caught.value).lower()
    assert tables() == (0, 0, 0, 0)


@pytest.mark.parametrize("job", [Orphan(), OrphanCommand()])
def test_unregistered_type_is_named_and_writes_nothing(job: Job | Command) -> None:
    for call in (
        lambda: job_scheduler.enqueue(job),
        lambda: job_scheduler.schedule(job, timezone.now()),
        lambda: job_scheduler.enqueue_many([Note("a"), job]),
    ):
        with pytest.raises(NoHandler, match=type(job).__name__):
            call()
    assert tables() == (0, 0, 0, 0)


def test_oversize_payload_is_refused_and_the_limit_itself_is_not() -> None:
    size = len(b'{"text":""}')
    with override_settings(JOBS={"MAX_PAYLOAD_BYTES": size + 10}):
        job_scheduler.enqueue(Note("x" * 10))
        with pytest.raises(InvalidJob, match="bytes"):
            job_scheduler.enqueue(Note("x" * 11))
        with pytest.raises(InvalidJob, match="bytes"):
            job_scheduler.enqueue(Note("\u00e9" * 6))  # bytes count, not characters
    assert JobRecord.objects.count() == 1


def test_payload_over_one_mebibyte_is_refused_by_default() -> None:
    with pytest.raises(InvalidJob, match="bytes"):
        job_scheduler.enqueue(Note("x" * 1024 * 1024))
    assert tables() == (0, 0, 0, 0)


def test_enqueue_many_is_undone_with_the_callers_transaction(olga: User) -> None:
    with suppress(IntegrityError), transaction.atomic():
        job_scheduler.enqueue_many([Note("a"), Note("b")], by=olga)
        User.objects.create_user("olga")
    assert tables() == (0, 0, 0, 0)


# --- retry ---


def test_retry_starts_a_new_round_and_keeps_the_history() -> None:
    job_id = failed()
    before, token = moves_of(job_id), record(job_id).token
    assert facts(job_id, "attempt", "failures") == (3, 3)
    assert job_scheduler.retry(job_id, reason="mended") is True
    assert moves_of(job_id) == [*before, ("failed", "enqueued")]
    assert facts(job_id, "state", "attempt", "failures", "queue", "finished_at") == ("enqueued", 3, 0, "flaky", None)
    assert record(job_id).token != token
    last = record(job_id).history.latest("pk")
    assert last.reason == "mended"
    run(job_id)
    assert facts(job_id, "state", "attempt", "failures") == ("scheduled", 4, 1)  # the full number of attempts again


def test_retry_goes_back_to_the_jobs_own_queue() -> None:
    job_id = job_scheduler.enqueue(Fail(9, "k"), queue="mail")
    run(job_id)
    assert facts(job_id, "state", "queue") == ("scheduled", "mail")
    assert [m.queue for m in make_due(job_id)] == ["mail"]
    run(job_id)
    assert job_scheduler.retry(job_id)
    assert record(job_id).queue == "mail"


def test_retry_runs_a_scheduled_job_now() -> None:
    job_id = scheduled()
    assert job_scheduler.retry(job_id)
    assert facts(job_id, "state", "run_at") == ("enqueued", None)
    assert record(job_id).history.get().reason == "run now"


@pytest.mark.parametrize("payload", [Fail(0, "new"), {"times": 0, "key": "new"}])
def test_retry_with_an_edited_payload_keeps_the_old_one(payload: Any) -> None:
    job_id = failed()
    assert job_scheduler.retry(job_id, payload)
    assert record(job_id).payload == {"times": 0, "key": "new"}
    assert record(job_id).history.latest("pk").data == {"old_payload": {"times": 9, "key": "k"}}
    run(job_id)
    assert record(job_id).state == "succeeded"


@pytest.mark.parametrize(
    "payload", [{"times": "many"}, {"key": "k"}, {"times": 1, "surplus": 1}, [], "text", 5, Note("another type"), Note]
)
def test_retry_with_a_payload_that_does_not_fit_changes_nothing(payload: Any) -> None:
    job_id = failed()
    before, moves, audit = record(job_id).token, moves_of(job_id), AuditEntry.objects.count()
    with pytest.raises(InvalidJob):
        job_scheduler.retry(job_id, payload, by="olga")
    assert facts(job_id, "state", "token") == ("failed", before)
    assert record(job_id).payload == {"times": 9, "key": "k"}
    assert (moves_of(job_id), AuditEntry.objects.count()) == (moves, audit)


@pytest.mark.parametrize("maker", ["succeeded", "enqueued", "processing", "deleted"])
def test_retry_refuses_other_states_and_leaves_the_payload(maker: str) -> None:
    job_id = MAKERS[maker]()
    before = (record(job_id).payload, moves_of(job_id))
    assert job_scheduler.retry(job_id) is False
    assert job_scheduler.retry(job_id, Note("edited")) is False
    assert (record(job_id).payload, moves_of(job_id)) == before


# --- requeue, delete, restore ---


def test_requeue_runs_a_succeeded_job_again() -> None:
    job_id = succeeded()
    assert job_scheduler.requeue(job_id) is True
    assert facts(job_id, "state", "attempt", "failures", "finished_at") == ("enqueued", 1, 0, None)
    run(job_id)
    assert facts(job_id, "state", "attempt") == ("succeeded", 2)


@pytest.mark.parametrize("maker", sorted(set(MAKERS) - {"succeeded"}))
def test_requeue_refuses_other_states(maker: str) -> None:
    job_id = MAKERS[maker]()
    before = moves_of(job_id)
    assert job_scheduler.requeue(job_id) is False
    assert moves_of(job_id) == before


@pytest.mark.parametrize("maker", ["failed", "scheduled", "enqueued", "processing"])
def test_delete_ends_a_job_that_has_not_succeeded(maker: str) -> None:
    job_id = MAKERS[maker]()
    assert job_scheduler.delete(job_id, reason="not wanted") is True
    row = record(job_id)
    assert (row.state, row.lease_expires_at) == ("deleted", None)
    assert row.finished_at is not None
    assert row.history.latest("pk").reason == "not wanted"
    assert claim(job_id) == []
    assert job_scheduler.delete(job_id) is False


def test_delete_leaves_a_succeeded_job() -> None:
    job_id = succeeded()
    assert job_scheduler.delete(job_id) is False
    assert record(job_id).state == "succeeded"


@pytest.mark.parametrize("maker", ["failed", "scheduled", "enqueued"])
def test_restore_puts_a_job_back_to_where_it_was(maker: str) -> None:
    job_id = MAKERS[maker]()
    before = facts(job_id, "state", "run_at", "attempt", "failures", "queue", "error")
    token = record(job_id).token
    job_scheduler.delete(job_id)
    assert job_scheduler.restore(job_id, reason="a slip") is True
    assert facts(job_id, "state", "run_at", "attempt", "failures", "queue", "error") == before
    if before[0] != "failed":
        assert record(job_id).token != token, "an old message must stay dead"
        assert record(job_id).finished_at is None
    assert record(job_id).history.latest("pk").reason == "a slip"


def test_restore_goes_by_the_latest_deletion() -> None:
    job_id = scheduled()
    job_scheduler.delete(job_id)
    job_scheduler.restore(job_id)
    job_scheduler.retry(job_id)
    job_scheduler.delete(job_id)
    assert job_scheduler.restore(job_id)
    assert record(job_id).state == "enqueued"


def test_restore_refuses_a_job_that_was_running() -> None:
    job_id = processing()
    job_scheduler.delete(job_id)
    assert job_scheduler.restore(job_id) is False
    assert record(job_id).state == "deleted"


def test_restore_is_refused_after_its_minutes_are_over() -> None:
    job_id = deleted()
    JobRecord.objects.filter(pk=job_id).update(finished_at=timezone.now() - timedelta(minutes=61))
    assert job_scheduler.restore(job_id) is False
    JobRecord.objects.filter(pk=job_id).update(finished_at=timezone.now() - timedelta(minutes=59))
    assert job_scheduler.restore(job_id) is True


@pytest.mark.parametrize("maker", sorted(set(MAKERS) - {"deleted"}))
def test_restore_refuses_other_states(maker: str) -> None:
    assert job_scheduler.restore(MAKERS[maker]()) is False


# --- ids and tokens ---

VERBS: dict[str, tuple[Callable[..., bool], str]] = {
    "delete": (job_scheduler.delete, "enqueued"),
    "retry": (job_scheduler.retry, "failed"),
    "requeue": (job_scheduler.requeue, "succeeded"),
    "restore": (job_scheduler.restore, "deleted"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_verb_takes_a_text_id_and_the_token_that_the_page_showed(verb: str) -> None:
    call, maker = VERBS[verb]
    job_id = MAKERS[maker]()
    assert call(str(job_id), expect=record(job_id).token) is True


@pytest.mark.parametrize("verb", VERBS)
def test_verb_with_an_outdated_token_is_told_and_changes_nothing(verb: str) -> None:
    call, maker = VERBS[verb]
    job_id = MAKERS[maker]()
    before = (facts(job_id, "state", "token"), moves_of(job_id))
    assert call(job_id, expect="0" * 16) is False
    assert call(job_id, expect="") is False
    assert (facts(job_id, "state", "token"), moves_of(job_id)) == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "job_id",
    [UNKNOWN, str(UNKNOWN), 0, -1, 2**63, 10**30, "9" * 5_000, "", "abc", "1; DROP", "\0", None, [], 1.5,
     float("nan"), float("inf"), True],
    ids=repr,
)  # fmt: skip
def test_verb_with_an_unknown_id_is_false(verb: str, job_id: Any) -> None:
    call, maker = VERBS[verb]
    MAKERS[maker]()
    before = sorted(JobRecord.objects.values_list("pk", "state", "token"))
    assert call(job_id, by="olga") is False
    assert call(job_id, expect="0" * 16) is False
    assert sorted(JobRecord.objects.values_list("pk", "state", "token")) == before


def test_verb_does_not_round_an_id() -> None:
    job_id = enqueued()
    assert job_scheduler.delete(job_id + 0.5) is False
    assert job_scheduler.delete_many([job_id + 0.5, float(job_id)]) == 0
    assert record(job_id).state == "enqueued"


def test_retry_of_an_unknown_id_with_a_payload_is_false() -> None:
    assert job_scheduler.retry(UNKNOWN, Note("a")) is False
    assert job_scheduler.retry("abc", Note("a")) is False


# --- many at once ---


def test_verbs_on_many_answer_how_many_really_moved(olga: User) -> None:
    jobs = {name: maker() for name, maker in MAKERS.items()}
    ids: list[Any] = [*jobs.values(), UNKNOWN, "junk", str(jobs["failed"])]
    assert job_scheduler.requeue_many(ids) == 1
    assert job_scheduler.retry_many(ids) == 2  # failed, scheduled
    assert job_scheduler.delete_many(ids, by=olga) == 5  # all but the deleted one; the running one too
    audit = AuditEntry.objects.get(verb="delete")
    assert audit.count == 5
    moved = sorted(set(jobs.values()) - {jobs["deleted"]})
    assert audit.data == {"asked": 7, "job_ids": moved, "from": {"enqueued": 4, "processing": 1}}
    assert job_scheduler.restore_many(ids) == 5  # the running one not
    assert record(jobs["processing"]).state == "deleted"


def test_verb_on_many_leaves_those_that_moved_on(olga: User) -> None:
    one, two = enqueued(), enqueued()
    assert job_scheduler.delete_many([one, two], expect={one: record(one).token, two: "0" * 16}) == 1
    assert (record(one).state, record(two).state) == ("deleted", "enqueued")


def test_verb_on_none_is_none() -> None:
    assert job_scheduler.delete_many([]) == 0
    assert job_scheduler.retry_many(["junk"]) == 0


# --- audit ---


@pytest.mark.parametrize("verb", VERBS)
def test_verb_of_a_person_is_on_the_audit(verb: str, olga: User) -> None:
    call, maker = VERBS[verb]
    job_id = MAKERS[maker]()
    assert call(job_id, by=olga, reason="because")
    entry = AuditEntry.objects.get()
    origin = {"from": {maker: 1}} if verb in ("retry", "delete") else {}
    assert (entry.user_id, entry.username, entry.verb, entry.target, entry.count, entry.reason, entry.data) == (
        olga.pk, "olga", verb, f"job {job_id}", 1, "because", {"asked": 1, "job_ids": [job_id]} | origin,
    )  # fmt: skip
    assert abs(entry.at - timezone.now()) < timedelta(seconds=5)
    last = record(job_id).history.latest("pk")
    assert (last.actor, last.reason) == ("user:olga", "because")
    assert not call(job_id, by=olga)
    assert AuditEntry.objects.latest("pk").count == 0, "that nothing moved is on record as well"


def test_enqueue_and_schedule_of_a_person_are_on_the_audit(olga: User) -> None:
    one = job_scheduler.enqueue(Note("a"), by=olga, reason="by hand")
    two = job_scheduler.schedule(Note("a"), timezone.now() + HOUR, by="importer")
    many = job_scheduler.enqueue_many([Note("a"), Note("b")], by=olga)
    seen = AuditEntry.objects.order_by("pk").values_list("username", "verb", "target", "count", "reason")
    assert list(seen) == [
        ("olga", "enqueue", f"job {one}", 1, "by hand"),
        ("importer", "schedule", f"job {two}", 1, ""),
        ("olga", "enqueue", "2 jobs", 2, ""),
    ]
    first, latest = AuditEntry.objects.earliest("pk"), AuditEntry.objects.latest("pk")
    assert first.data == {"asked": 1, "job_ids": [one]}
    assert latest.data == {"asked": 2, "job_ids": many}


def test_enqueue_whose_audit_entry_cannot_be_written_leaves_nothing(olga: User) -> None:
    def without_audit(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if AuditEntry._meta.db_table in sql:
            raise IntegrityError("no room")
        return execute(sql, *rest)

    with connection.execute_wrapper(without_audit), pytest.raises(IntegrityError):
        job_scheduler.enqueue(Note("a"), by=olga)
    assert tables() == (0, 0, 0, 0)


def test_verbs_of_a_program_leave_no_audit() -> None:
    for call, maker in VERBS.values():
        assert call(MAKERS[maker]())
    job_scheduler.pause_queue("mail")
    job_scheduler.resume_queue("mail")
    assert not AuditEntry.objects.exists()


def test_audit_is_undone_with_the_verb(olga: User) -> None:
    job_id = enqueued()
    with transaction.atomic():
        assert job_scheduler.delete(job_id, by=olga)
        transaction.set_rollback(True)
    assert not AuditEntry.objects.exists()
    assert record(job_id).state == "enqueued"


@pytest.mark.parametrize("text", ["r" * 501, "r" * 2_000, "a\0b", "a\ud800b"], ids=["501", "2000", "nul", "surrogate"])
def test_reason_of_any_kind_is_kept_as_far_as_it_can_be(text: str) -> None:
    user = User.objects.create_user("u" * 150)
    job_id = job_scheduler.enqueue(Note("a"), by=user, reason=text)
    assert job_scheduler.delete(job_id, by=user, reason=text)
    assert job_scheduler.restore(job_id, by=text, reason=text)
    job_scheduler.pause_queue("mail", by=user, reason=text)
    for entry in AuditEntry.objects.all():
        assert entry.reason[:1] == text[:1]
        assert len(entry.reason) <= 500
    for move in record(job_id).history.all():
        assert len(move.actor) <= 150
        assert len(move.reason) <= 500
    assert len(job_scheduler.paused_queues()["mail"].by) <= 150


# --- queues ---


def test_pause_and_resume_are_on_the_audit(olga: User) -> None:
    until = timezone.now() + HOUR
    job_scheduler.pause_queue("mail", until, by=olga, reason="provider down")
    switch = job_scheduler.paused_queues()["mail"]
    assert (switch.until, switch.by, switch.reason) == (until, "user:olga", "provider down")
    job_scheduler.resume_queue("mail", by=olga)
    job_scheduler.resume_queue("mail", by=olga)
    assert job_scheduler.paused_queues() == {}
    seen = AuditEntry.objects.order_by("pk").values_list("verb", "target", "count", "data")
    assert list(seen) == [
        ("pause_queue", "queue mail", 1, {"until": until.isoformat()}),
        ("resume_queue", "queue mail", 1, None),
        ("resume_queue", "queue mail", 0, None),
    ]


def test_pause_again_replaces_the_first() -> None:
    job_scheduler.pause_queue("mail", timezone.now() + HOUR, reason="first")
    job_scheduler.pause_queue("mail", reason="second")
    switch = job_scheduler.paused_queues()["mail"]
    assert (switch.until, switch.reason) == (None, "second")


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: job_scheduler.pause_queue("nowhere"), "queue"),
        (lambda: job_scheduler.resume_queue("nowhere"), "queue"),
        (lambda: job_scheduler.pause_queue("system"), "queue"),
        (lambda: job_scheduler.pause_queue("mail", datetime(2031, 1, 1)), "until"),  # noqa: DTZ001
    ],
)
def test_pause_refuses_what_it_cannot_pause(call: Callable[[], None], field: str) -> None:
    with pytest.raises(InvalidJob, match=field) as caught:
        call()
    assert caught.value.field == field
    assert job_scheduler.paused_queues() == {}
