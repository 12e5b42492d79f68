"""Alerts: what a rule finds, one open incident for each thing, who is told of it, and where nobody may be sent."""

from __future__ import annotations

import hmac
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email import message_from_bytes
from typing import Any

import django
import pytest
from django.core import mail
from django.db import connections
from django.test import Client
from django.utils import timezone

from handlers import job_scheduler, outbound
from handlers.alerts import add_rule, change_rule, delete_rule, mute_rule, send_test, unmute_rule, watching
from handlers.alerts.dead_man import call_dead_man
from handlers.alerts.edits import Terms
from handlers.alerts.sending import signature
from handlers.exceptions import InvalidJob
from handlers.models import (
    AlertIncident,
    AlertNotice,
    AlertRule,
    AttemptError,
    AuditEntry,
    BulkOperation,
    FailureGroup,
    How,
    JobCount,
    JobRecord,
    Occurrence,
    RecurringJob,
    WorkerProcess,
)
from handlers.states import State
from tests.app.jobs import Note
from tests.console.factories import make_job
from tests.hearing import Listener, listening
from tests.running import drain, make_due, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

TO_OPS = {"emails": ["ops@shop.example"]}


def rule(kind: str = "bulk", **terms: Any) -> AlertRule:
    return add_rule(Terms(**({"name": f"the {kind}", "kind": kind} | TO_OPS | terms)))


def later(**span: Any) -> None:
    """Let so much time have passed for whatever rules and incidents know."""
    back = timedelta(**span)
    for found in AlertRule.objects.all():
        for name in ("looked_at", "told_at", "muted_until", "created_at"):
            if (value := getattr(found, name)) is not None:
                setattr(found, name, value - back)
        found.save()
    for incident in AlertIncident.objects.all():
        for name in ("began_at", "seen_at", "ended_at", "told_at"):
            if (value := getattr(incident, name)) is not None:
                setattr(incident, name, value - back)
        incident.save()


def look(**span: Any) -> int:
    later(**(span or {"seconds": 10}))
    return watching.watch()


def paused_run(note: str = "5 of 5 canary jobs failed again.") -> BulkOperation:
    now = timezone.now()
    return BulkOperation.objects.create(
        verb="retry", selection={}, upper_id=1, count=1, state="paused", note=note, created_at=now, progressed_at=now
    )


def worker(**columns: Any) -> WorkerProcess:
    facts = {"queues": ["default"], "heartbeat_at": timezone.now(), "started_at": timezone.now()} | columns
    return WorkerProcess.objects.create(name="w", kind="worker", host="h", pid=1, **facts)


def words() -> list[str]:
    return list(AlertIncident.objects.filter(ended_at=None).order_by("pk").values_list("words", flat=True))


def subjects() -> list[str]:
    """What was mailed so far, once the jobs that do it have run."""
    drain()
    return [str(message.subject) for message in mail.outbox]


# --- what rules find ---


def test_a_new_group_is_told_once_and_its_end_too() -> None:
    there = rule("group")
    now = timezone.now()
    FailureGroup.objects.create(
        fingerprint="f1", exception="httpx.ConnectError", frame="shop/jobs.py:42 in handle",
        first_at=now, last_at=now, count=3,
    )  # fmt: skip
    old = {"first_at": now - timedelta(days=9), "last_at": now, "count": 3}
    FailureGroup.objects.create(fingerprint="f0", exception="OldError", **old)
    own = {"job_type": "jobs.SendAlert", "exception": "NotSent"}
    FailureGroup.objects.create(fingerprint="f3", **old | own | {"first_at": now})
    FailureGroup.objects.create(fingerprint="f2", exception="KnownError", state="ignored", **old | {"first_at": now})
    worker()
    assert look() == 1
    assert words() == ["New failure: ConnectError at shop/jobs.py:42 in handle"]
    assert AlertIncident.objects.get().path == "failures/f1/"
    assert subjects() == ["Opened: New failure: ConnectError at shop/jobs.py:42 in handle"]
    assert [look() for _ in range(3)] == [0, 0, 0]
    FailureGroup.objects.update(last_at=now - timedelta(hours=2))
    assert look(minutes=2) == 1
    assert subjects()[1:] == ["Resolved: New failure: ConnectError at shop/jobs.py:42 in handle"]
    assert (look(minutes=5), words(), len(subjects())) == (0, [], 2)
    assert not there.incidents.filter(ended_at=None).exists()


def test_a_group_that_came_back_is_told_until_somebody_puts_it_away() -> None:
    rule("group")
    now = timezone.now()
    FailureGroup.objects.create(
        fingerprint="f1", exception="ValueError", job_type="app.Fail", first_at=now - timedelta(days=9), last_at=now,
        count=3, state="regressed", regressed_at=now,
    )  # fmt: skip
    worker()
    look()
    assert words() == ["Came back: ValueError at app.Fail"]
    FailureGroup.objects.update(state="ignored")
    look(minutes=2)
    assert [subject.split(":")[0] for subject in subjects()] == ["Opened", "Resolved"]


def count(job_type: str, outcome: str, number: int, **columns: Any) -> None:
    at = timezone.now().replace(second=0, microsecond=0)
    JobCount.objects.create(
        **({"period": "minute", "at": at, "queue": "mail", "job_type": job_type, "outcome": outcome, "count": number}
           | columns)
    )  # fmt: skip


def test_a_share_of_failures_counts_attempts_of_each_type_that_has_enough() -> None:
    rule("share", threshold=0.25, least=20, minutes=15)
    count("app.Note", "succeeded", 70)
    count("app.Note", "retried", 20)
    count("app.Note", "failed", 10)
    count("app.Fail", "succeeded", 76)
    count("app.Fail", "failed", 24)
    count("app.Seldom", "failed", 19)
    count("app.Before", "failed", 90, at=timezone.now() - timedelta(minutes=16))
    count("app.Fail", "failed", 90, fingerprint="f1", queue="")
    worker()
    look()
    assert words() == ["app.Note: 30 of 100 attempts failed in 15 minutes"]


def test_a_share_may_be_of_one_queue_or_type() -> None:
    rule("share", threshold=0.5, least=1, queue="slow", name="of slow")
    rule("share", threshold=0.5, least=1, job_type="app.Fail", name="of Fail")
    count("app.Note", "failed", 5)
    count("app.Note", "failed", 5, queue="slow")
    count("app.Fail", "failed", 5)
    worker()
    look()
    assert sorted((i.rule.name, i.key) for i in AlertIncident.objects.select_related("rule")) == [
        ("of Fail", "app.Fail"),
        ("of slow", "app.Note"),
    ]


def test_the_oldest_wait_of_queues_that_nobody_paused() -> None:
    rule("wait", threshold=600)
    make_job(State.ENQUEUED, queue="mail", age=timedelta(minutes=12))
    make_job(State.ENQUEUED, queue="mail", age=timedelta(minutes=1))
    make_job(State.ENQUEUED, queue="slow", age=timedelta(minutes=9))
    make_job(State.ENQUEUED, queue="held", age=timedelta(hours=3))
    job_scheduler.pause_queue("held")
    worker(queues=["mail", "slow", "held"])
    look()
    assert words() == ["mail: 2 waiting, the oldest for 12 min"]


def test_no_worker_at_all_or_none_of_a_queue() -> None:
    rule("worker")
    make_job(State.ENQUEUED, queue="mail")
    make_job(State.ENQUEUED, queue="default")
    look()
    assert words() == ["No worker is running"]
    worker(queues=["default"])
    look(minutes=2)
    assert words() == ["No worker serves mail, where jobs wait"]


def test_a_recurring_job_that_missed_its_time_or_was_not_started() -> None:
    rule("recurring")
    now = timezone.now()
    for name in ("skipped", "fine", "late", "paused"):
        job_scheduler.add_or_update_recurring(name, Note("it"), every=timedelta(hours=1))
    rows = {row.name: row for row in RecurringJob.objects.all()}
    Occurrence.objects.create(recurring=rows["skipped"], due_at=now, fired_at=now, how=How.MISSED)
    Occurrence.objects.create(recurring=rows["fine"], due_at=now, fired_at=now, how=How.LATE)
    RecurringJob.objects.filter(name="late").update(next_at=now - timedelta(minutes=3))
    worker()
    look()
    assert sorted(words()) == ["late was not started in time", "skipped missed its time"]


def test_a_bulk_operation_that_paused_by_itself() -> None:
    rule("bulk")
    held = paused_run()
    paused_run("Paused by anna.")
    worker()
    look()
    assert words() == [f"Bulk operation {held.pk} waits: 5 of 5 canary jobs failed again."]


# --- who is told, and how often ---


def test_what_goes_wrong_together_is_one_message_and_the_rest_waits_a_minute() -> None:
    rule("bulk")
    worker()
    for _ in range(25):
        paused_run()
    look()
    assert len(subjects()) == 1
    assert "and 24 more" in subjects()[0]
    assert mail.outbox[0].body.count("OPENED") == 20
    assert "… and 5 more." in mail.outbox[0].body
    paused_run()
    AlertRule.objects.update(told_at=timezone.now(), looked_at=None)
    watching.watch()
    assert len(subjects()) == 1
    look(minutes=1)
    assert [len(subjects()), subjects()[1].count("more")] == [2, 0]


def test_what_a_rule_finds_anew_each_second_is_told_once_a_minute() -> None:
    rule("bulk")
    worker()
    for _ in range(80):
        paused_run()
        look(seconds=1)
    told = AlertNotice.objects.count()
    assert told == 2, "the first, and a minute later what came since"
    later(minutes=1)
    assert len(subjects()) == 2


def test_what_comes_and_goes_is_one_incident() -> None:
    rule("bulk")
    worker()
    run_of = paused_run()
    for state in ("paused", "running", "paused", "running", "paused"):
        BulkOperation.objects.filter(pk=run_of.pk).update(state=state)
        look(seconds=20)
    assert AlertIncident.objects.count() == 1
    assert len(subjects()) == 1


def test_it_is_told_again_while_it_lasts() -> None:
    rule("bulk", again_minutes=30)
    rule("bulk", again_minutes=0, name="once")
    worker()
    paused_run()
    look()
    look(minutes=29)
    assert len(subjects()) == 2
    look(minutes=31)
    assert [subject.split(":")[0] for subject in subjects()] == ["Opened", "Opened", "Still open"]


def test_what_does_not_last_is_not_told() -> None:
    rule("bulk", hold_seconds=300)
    worker()
    brief = paused_run()
    look()
    BulkOperation.objects.filter(pk=brief.pk).update(state="running")
    look(minutes=3)
    look(minutes=3)
    assert subjects() == []
    paused_run()
    look()
    look(minutes=6)
    assert len(subjects()) == 1


def test_a_muted_rule_tells_what_is_still_so_afterwards() -> None:
    there = rule("bulk")
    worker()
    mute_rule(there.pk, timezone.now() + timedelta(hours=1), by="anna")
    gone, stays = paused_run(), paused_run()
    look()
    BulkOperation.objects.filter(pk=gone.pk).update(state="running")
    look(minutes=5)
    assert subjects() == []
    assert unmute_rule(there.pk, by="anna")
    assert not unmute_rule(there.pk, by="anna")
    look()
    assert subjects() == [f"Opened: Bulk operation {stays.pk} waits: 5 of 5 canary jobs failed again."]
    assert list(AuditEntry.objects.values_list("verb", flat=True).order_by("pk")) == ["mute_alert", "unmute_alert"]


def test_several_schedulers_find_it_once() -> None:
    rule("bulk")
    worker()
    for _ in range(5):
        paused_run()

    def watch() -> int:
        try:
            return watching.watch()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(each.result(30) for each in [pool.submit(watch) for _ in range(4)]) == 5
    assert AlertIncident.objects.count() == 5
    assert len(subjects()) == 1


def test_a_look_is_a_few_statements_however_much_it_finds(django_assert_max_num_queries: Any) -> None:
    rule("bulk")
    worker()
    for _ in range(50):
        paused_run()
    with django_assert_max_num_queries(25):
        watching.watch()
    later(seconds=10)
    with django_assert_max_num_queries(16):
        watching.watch()


# --- how they are told ---


@pytest.fixture
def hook() -> Iterator[Listener]:
    """A webhook."""
    with listening() as server:
        yield server


@pytest.fixture
def _inside(settings: Any) -> None:
    settings.JOBS = {**settings.JOBS, "CALL_PRIVATE_ADDRESSES": True, "CONSOLE_URL": "https://ops.example/admin/"}


@pytest.mark.usefixtures("_inside")
def test_a_webhook_gets_json_that_it_can_tell_is_ours(hook: Listener) -> None:
    there = rule("bulk", emails=[], webhook_url=hook.address)
    worker()
    held = paused_run()
    look()
    drain()
    [(_path, headers, body)] = hook.heard
    told = json.loads(body)
    assert (told["type"], told["rule"], told["incidents"][0]["status"]) == ("jobs.alert", "the bulk", "opened")
    assert told["incidents"][0]["url"] == f"https://ops.example/admin/bulk/{held.pk}/"
    secret = AlertRule.objects.get(pk=there.pk).webhook_secret
    sent = {name.lower(): value for name, value in headers.items()}
    expected = signature(secret, sent["webhook-id"], int(sent["webhook-timestamp"]), body)
    assert hmac.compare_digest(sent["webhook-signature"], expected)
    assert "secret" not in str(list(JobRecord.objects.values_list("error", "arguments__data")))


@pytest.mark.usefixtures("_inside")
def test_a_webhook_that_fails_is_tried_again_by_the_job_and_its_secret_is_told_nowhere(hook: Listener) -> None:
    rule("bulk", webhook_url=hook.address)
    worker()
    paused_run()
    hook.answers = [500, 302]
    look()
    assert len(subjects()) == 1, "the mail waits for no webhook"
    for error in ("the webhook answered 500", "the webhook answered 302"):
        job = JobRecord.objects.get(job_type="jobs.SendAlert", state="scheduled")
        assert job.error == f"NotSent: {error}"
        errors = AttemptError.objects.filter(job_id=job.pk).values_list("message", "traceback")
        assert "secret" not in str(list(errors))
        make_due(job.pk)
        run(job.pk)
    assert [JobRecord.objects.get(pk=job.pk).state, len(hook.heard)] == ["succeeded", 3]
    assert not AlertNotice.objects.filter(sent_at=None).exists()


INSIDE = ("http://127.0.0.1:8000/", "http://10.1.2.3/", "http://[::1]/", "http://[::ffff:192.168.0.1]/",
          "https://169.254.10.10/", "http://localhost:8000/", "http://0.0.0.0/", "http://[fd00::1]/")  # fmt: skip


@pytest.mark.parametrize("url", INSIDE)
def test_an_address_inside_the_own_network_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidJob, match="own network") as refused:
        rule("bulk", webhook_url=url)
    assert refused.value.field == "webhook_url"


def test_a_name_that_leads_into_the_own_network_is_found_out_when_it_is_called(
    hook: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule("bulk", emails=[], webhook_url=f"http://hook.example:{hook.server_port}/")
    whole = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: whole("127.0.0.1", *rest, **options))
    worker()
    paused_run()
    look()
    drain()
    assert hook.heard == []
    job = JobRecord.objects.get(job_type="jobs.SendAlert")
    assert (job.state, "own network" in job.error) == ("failed", True)
    assert "own network" in AlertNotice.objects.get().error


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a host that takes whoever calls it, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/key/secret"


@pytest.mark.usefixtures("_inside")
def test_a_host_that_does_not_answer_is_called_again_and_the_page_says_so_in_words(
    silent: str, hook: Listener, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = rule("bulk", webhook_url=silent)
    rule("bulk", name="other", webhook_url=hook.address)
    worker()
    paused_run()
    look()
    monkeypatch.setattr(outbound, "TIMEOUT_SECONDS", 0.2)
    assert [len(subjects()), len(hook.heard)] == [2, 1], "all else is sent"
    for _ in range(2):
        job = JobRecord.objects.get(job_type="jobs.SendAlert", state="scheduled")
        assert job.error == "NotSent: no answer within 0.2 s"
        assert "no answer within 0.2 s" in admin_client.get(f"/admin/alerts/{there.pk}/").content.decode()
        make_due(job.pk)
        run(job.pk)
    assert JobRecord.objects.get(pk=job.pk).failures == 3


@pytest.mark.usefixtures("_inside")
def test_where_no_worker_lives_the_scheduler_sends_it_itself(hook: Listener) -> None:
    rule("worker", emails=[], webhook_url=hook.address)
    look()
    for thread in threading.enumerate():
        if thread.name == "alerts":
            thread.join(20)
    assert len(hook.heard) == 1
    drain()
    assert len(hook.heard) == 1, "the job finds that it was sent"


@pytest.mark.usefixtures("_inside")
def test_a_test_message_says_that_it_is_one(hook: Listener) -> None:
    there = rule("bulk", webhook_url=hook.address)
    worker()
    assert send_test(there.pk, by="anna") == 2
    assert subjects() == ["Test: This is a test"]
    assert json.loads(hook.heard[0].body)["test"] is True


@pytest.mark.usefixtures("_inside")
def test_the_dead_mans_switch_hears_nothing_once_no_worker_lives(hook: Listener, settings: Any) -> None:
    settings.JOBS = {**settings.JOBS, "DEAD_MAN_URL": hook.address}
    call_dead_man()
    assert not any(thread.name == "dead man's switch" for thread in threading.enumerate())
    worker()
    call_dead_man()
    for thread in threading.enumerate():
        if thread.name == "dead man's switch":
            thread.join(20)
    assert [each.path for each in hook.heard] == ["/key/secret"]


def test_a_mail_goes_out_at_once_where_the_site_mails_through_jobs(settings: Any) -> None:
    ours = "handlers.mail.EmailBackend"
    if django.VERSION >= (6, 1):  # which deprecates the EMAIL_ settings
        settings.MAILERS = {"default": {"BACKEND": ours}}
    else:
        settings.EMAIL_BACKEND = ours
    rule("bulk")
    worker()
    paused_run()
    look()
    drain()
    assert [message.to for message in mail.outbox] == [["ops@shop.example"]]
    assert not JobRecord.objects.filter(job_type="handlers.SendEmail").exists()
    raw = message_from_bytes(mail.outbox[0].message().as_bytes())
    assert raw["Auto-Submitted"] == "auto-generated"


# --- rules ---


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"kind": "mood"}, "kind"),
        ({"kind": "share", "threshold": 0}, "threshold"),
        ({"kind": "share", "threshold": 1.5}, "threshold"),
        ({"kind": "share", "threshold": 0.5, "minutes": 61}, "minutes"),
        ({"kind": "share", "threshold": 0.5, "least": 0}, "least"),
        ({"kind": "wait", "threshold": 0}, "threshold"),
        ({"kind": "wait", "threshold": float("nan")}, "threshold"),
        ({"hold_seconds": 3601}, "hold_seconds"),
        ({"again_minutes": 1}, "again_minutes"),
        ({"emails": []}, "emails"),
        ({"emails": ["ops"]}, "emails"),
        ({"emails": ["a@b.example", "a@b.example"]}, "emails"),
        ({"webhook_url": "ftp://example.org"}, "webhook_url"),
        ({"webhook_url": "https://user:pw@example.org"}, "webhook_url"),
        ({"queue": "mail"}, "queue"),
        ({"job_type": "app.Note"}, "job_type"),
        ({"kind": "wait", "threshold": 5, "queue": "Mail!"}, "queue"),
    ],
)
def test_what_no_rule_can_be_names_its_field(terms: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        rule(**({"kind": "bulk"} | terms))
    assert refused.value.field == field
    assert not AlertRule.objects.exists()


def test_a_rule_changes_only_where_nobody_else_changed_it() -> None:
    there = rule("bulk", webhook_url="https://hook.example/key/secret")
    seen, secret = there.version, there.webhook_secret
    terms = Terms(name="other", kind="bulk", emails=["ops@shop.example"], webhook_url="https://hook.example/key/secret")
    assert change_rule(there.pk, terms, version=seen, by="anna")
    assert not change_rule(there.pk, terms, by="anna")
    with pytest.raises(InvalidJob) as refused:
        change_rule(there.pk, terms, version=seen)
    assert refused.value.field == "version"
    assert AlertRule.objects.get().webhook_secret == secret
    elsewhere = Terms(name="other", kind="bulk", webhook_url="https://hook.example/2")
    change_rule(there.pk, elsewhere, by="anna")
    assert AlertRule.objects.get().webhook_secret not in ("", secret)
    assert "key/secret" not in str(list(AuditEntry.objects.values_list("data", flat=True)))
    assert delete_rule(there.pk, by="anna")
    assert not delete_rule(there.pk, by="anna")
    verbs = AuditEntry.objects.order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["change_alert", "change_alert", "delete_alert"]


def test_two_rules_have_no_one_name() -> None:
    rule("bulk", name="it")
    with pytest.raises(InvalidJob) as refused:
        rule("worker", name="it")
    assert refused.value.field == "name"


def test_what_is_old_is_erased() -> None:
    there = rule("bulk")
    worker()
    paused_run()
    look()
    long_ago = timezone.now() - timedelta(days=91)
    there.incidents.update(ended_at=long_ago)
    there.notices.update(at=long_ago)
    assert watching.age_out() is False
    assert (AlertIncident.objects.count(), AlertNotice.objects.count()) == (0, 0)
