"""What the page that enqueues a job says of deadlines, and of a job that is there already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from dashboard.types import form
from handlers import Unique, job_scheduler
from handlers.models import Act, AuditEntry, JobPayload, JobRecord, UniqueKey
from handlers.registry import registry
from handlers.states import State
from tests.app.jobs import Sleep

pytestmark = [pytest.mark.django_db, pytest.mark.once]
ENQUEUE = "/admin/job-types/app.Sleep/enqueue/"
SENT = {"arg-seconds": "1.5", "arg-text": "zzz", "when": "now", "queue": "default"}
HOUR = timedelta(hours=1)
ONE = Unique(key=("text",))

Declare = Callable[[Unique], None]


@pytest.fixture
def declare() -> Iterator[Declare]:
    """Gives the type a rule."""
    with registry.isolated():
        yield lambda rule: registry.register(replace(registry.get("app.Sleep"), unique=rule))


def send(client: Client, **fields: str) -> str:
    """The page that follows, as text."""
    return unescape(client.post(ENQUEUE, SENT | fields, follow=True).content.decode())


def errors(html: str, field: str) -> str:
    """What stands beside a field."""
    row = html.partition(f'for="id_{field}"')[2].partition('class="form-line')[0]
    return row.partition('<p class="error-line">')[2].partition("</p>")[0]


def choices(client: Client) -> list[str]:
    html = unescape(client.get(ENQUEUE).content.decode())
    select = html.partition('name="if_there"')[2].partition("</select>")[0]
    return [part.partition(">")[2].partition("<")[0] for part in select.split("<option")[1:]]


def link(job_id: int, word: str = "Job") -> str:
    return f'<a href="/admin/jobs/jobrecord/{job_id}/change/">{word} {job_id}</a>'


# --- deadlines


@pytest.mark.parametrize(
    ("sent", "wait"),
    [
        ({"expires_after": "15 min"}, timedelta(minutes=15)),
        ({"expires_after": "90"}, timedelta(minutes=90)),
        ({"expires_after": "2 d", "when": "delay", "delay": "1 h 30 min"}, timedelta(days=2)),
        ({"expires_after": "2 h", "when": "at", "at": "2001-01-01T00:00"}, 2 * HOUR),
    ],
)
def test_a_deadline_counts_from_now(operator: Client, sent: dict[str, str], wait: timedelta) -> None:
    send(operator, **sent)
    job = JobRecord.objects.get()
    assert JobPayload.objects.get().expires_at == job.created_at + wait
    assert "<dt>Expires</dt>" in operator.get(f"/admin/jobs/jobrecord/{job.pk}/change/").content.decode()


def test_a_deadline_may_be_a_moment_or_none(operator: Client) -> None:
    send(operator, when="at", at="2999-01-02T03:04", expires_at="2999-01-02T03:05")
    assert JobPayload.objects.get().expires_at == datetime(2999, 1, 2, 3, 5, tzinfo=UTC)
    JobRecord.objects.all().delete()
    send(operator, expires_after="", expires_at="")
    assert JobPayload.objects.get().expires_at is None


NEVER = "That comes before the job is due, so it would never run."


@pytest.mark.parametrize(
    ("sent", "field", "why"),
    [
        ({"expires_after": "soon"}, "expires_after", "Write a length of time"),
        ({"expires_after": "-5"}, "expires_after", "Write a length of time"),
        ({"expires_after": "0"}, "expires_after", "over at once"),
        ({"expires_after": "3651 d"}, "expires_after", "At most 3,650 days."),
        ({"expires_after": "9" * 12 + " d"}, "expires_after", "longer than any calendar"),
        ({"expires_after": "5 min", "when": "delay", "delay": "5 min"}, "expires_after", NEVER),
        ({"expires_after": "5 min", "when": "at", "at": "2999-01-02T03:04"}, "expires_after", NEVER),
        ({"expires_at": "2999-01-02T03:04", "when": "at", "at": "2999-01-02T03:04"}, "expires_at", NEVER),
        ({"expires_at": "2001-01-01T00:00"}, "expires_at", "That has passed."),
        ({"expires_at": "tomorrow"}, "expires_at", "Enter a valid date/time"),
        ({"expires_at": "2999-01-02T03:04", "expires_after": "5 min"}, "expires_at", "Say one of the two"),
        ({"when": "delay", "delay": "3651 d"}, "delay", "At most 3,650 days."),
        ({"if_there": "replace"}, "if_there", "Select a valid choice"),
        ({"if_there": "beside"}, "if_there", "Select a valid choice"),
        ({"if_there": "keep", "arg-text": "x" * 5_000}, "if_there", "The values of seconds, text make a key of"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nothing_is_written(
    operator: Client, sent: dict[str, str], field: str, why: str
) -> None:
    html = send(operator, form_key="k", **sent)
    assert why in errors(html, field)
    assert "Nothing was done" in html
    assert not any(model.objects.exists() for model in (JobRecord, UniqueKey, AuditEntry, Act))


def test_what_only_the_engine_sees_stands_there_too(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks of the database and of the console may differ."""
    monkeypatch.setattr(form, "timezone", SimpleNamespace(now=lambda: datetime(2000, 1, 1, tzinfo=UTC)))
    html = send(operator, expires_at="2001-01-01T00:00", when="delay", delay="1")
    assert "comes before the job is due" in errors(html, "expires_at")
    assert not JobRecord.objects.exists()


# --- one at a time


RULES: dict[str, tuple[str, ...]] = {
    "existing": ("As the type says: keep it", "Enqueue this one beside it"),
    "error": ("As the type says: refuse this one", "Enqueue this one beside it"),
    "replace": ("As the type says: take its place", "Keep it as it is", "Enqueue this one beside it"),
    "debounce": ("As the type says: postpone it", "Keep it as it is", "Enqueue this one beside it"),
}


@pytest.mark.parametrize("on_conflict", RULES)
def test_there_is_to_choose_what_makes_sense_with_the_types_rule_first(
    operator: Client, declare: Declare, on_conflict: str
) -> None:
    assert choices(operator)[0] == "The type has no rule: enqueue this one too"
    assert len(choices(operator)) == 2
    declare(replace(ONE, on_conflict=on_conflict))
    assert tuple(choices(operator)) == RULES[on_conflict]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Unique(), "with the same arguments, until it has ended; a second one is not enqueued"),
        (Unique(key=("text",), until="started"), "with the same text, until it is started; "),
        (
            Unique(key=("text", "seconds"), period=HOUR, on_conflict="error"),
            "with the same text and seconds, until it has ended, and for 1 h in any case; a second one is refused",
        ),
    ],
)
def test_the_rule_is_said_in_words(operator: Client, declare: Declare, rule: Unique, words: str) -> None:
    assert "One at a time" not in operator.get("/admin/job-types/app.Sleep/").content.decode()
    declare(rule)
    assert f"One at a time {words}" in operator.get(ENQUEUE).content.decode()
    assert f"<dt>One at a time</dt><dd>{words}" in operator.get("/admin/job-types/app.Sleep/").content.decode()


def test_the_one_that_is_there_is_kept_and_the_page_says_so(operator: Client, declare: Declare) -> None:
    declare(ONE)
    there = job_scheduler.enqueue(Sleep(9, "zzz"))
    html = send(operator, form_key="k")
    assert f"{link(there)} holds the key already: nothing new was enqueued." in html
    assert 'class="warning"' in html
    assert JobRecord.objects.count() == 1
    assert AuditEntry.objects.values_list("verb", "count").get() == ("enqueue", 0)
    html = send(operator, form_key="k")
    assert f"when {link(there, 'job')} held the key; nothing was enqueued, then or now" in html
    assert AuditEntry.objects.count() == 1
    send(operator, **{"arg-text": "another"})
    assert JobRecord.objects.count() == 2


def test_one_that_was_erased_and_holds_its_key_for_a_period_has_no_link(operator: Client, declare: Declare) -> None:
    declare(replace(ONE, period=HOUR))
    there = job_scheduler.enqueue(Sleep(9, "zzz"))
    JobRecord.objects.all().delete()
    assert f"Job {there}, erased since, holds the key already: nothing new was enqueued." in send(operator)


def test_one_more_is_enqueued_beside_it_where_that_was_chosen(operator: Client, declare: Declare) -> None:
    declare(ONE)
    there = job_scheduler.enqueue(Sleep(9, "zzz"))
    assert f"Enqueued {link(there + 1, 'job')}." in send(operator, if_there="beside")
    assert UniqueKey.objects.get().job_id == there


def test_it_is_refused_where_the_rule_says_so(operator: Client, declare: Declare) -> None:
    declare(replace(ONE, on_conflict="error"))
    there = job_scheduler.enqueue(Sleep(9, "zzz"))
    html = send(operator, form_key="k")
    assert f"Nothing was enqueued: {link(there, 'job')} holds the key already." in html
    assert f"Job {there} holds the key already." in errors(html, "if_there")
    assert 'value="zzz"' in html
    assert not AuditEntry.objects.exists()
    assert "Enqueued" in send(operator, form_key="k", if_there="beside")


def test_it_takes_the_place_of_one_that_waits_or_keeps_it(operator: Client, declare: Declare) -> None:
    declare(replace(ONE, on_conflict="replace"))
    first = job_scheduler.enqueue(Sleep(9, "zzz"))
    assert f"{link(first)} holds the key already" in send(operator, if_there="keep")
    assert JobRecord.objects.get().state == State.ENQUEUED
    assert f"Enqueued {link(first + 1, 'job')}." in send(operator)
    assert JobRecord.objects.get(pk=first).state == State.DELETED
    JobRecord.objects.filter(pk=first + 1).update(state=State.PROCESSING, attempt=1)
    assert f"{link(first + 1)} holds the key already: nothing new was enqueued." in send(operator)


def test_one_that_is_scheduled_is_given_the_time_and_the_arguments(operator: Client, declare: Declare) -> None:
    declare(replace(ONE, on_conflict="debounce"))
    first = job_scheduler.enqueue(Sleep(9, "zzz"), delay=HOUR)
    html = send(operator, when="at", at="2999-01-02T03:04", form_key="k")
    assert f"{link(first)} holds the key already: nothing new was enqueued, it was given this time and these" in html
    job = JobRecord.objects.get()
    assert (job.run_at, job.payload) == (datetime(2999, 1, 2, 3, 4, tzinfo=UTC), {"seconds": 1.5, "text": "zzz"})
    html = send(operator, when="at", at="2999-01-02T03:04", form_key="k")
    assert f"gave {link(first, 'job')} its time and arguments then; nothing was done now" in html
    assert f"{link(first)} holds the key already: nothing new was enqueued." in send(operator, if_there="keep")
    JobRecord.objects.update(state=State.ENQUEUED)
    assert f"{link(first)} holds the key already: nothing new was enqueued." in send(operator)


def test_without_a_rule_one_with_the_same_arguments_can_be_kept(operator: Client) -> None:
    assert "Enqueued" in send(operator, if_there="keep")
    job = JobRecord.objects.get()
    assert f"{link(job.pk)} holds the key already" in send(operator, if_there="keep")
    assert "Enqueued" in send(operator, **{"if_there": "keep", "arg-text": "another"})
    assert "Enqueued" in send(operator)
    assert JobRecord.objects.count() == 3


@pytest.mark.parametrize(
    ("sent", "parts"),
    [
        ({}, ["Sleep(seconds=1.5, text='zzz')"]),
        (
            {"when": "delay", "delay": "5", "if_there": "keep", "queue": "mail"},
            ["Sleep(seconds=1.5, text='zzz')", "delay=timedelta(seconds=300)", "unique=Unique()", "queue='mail'"],
        ),
        (
            {"when": "at", "at": "2999-01-02T03:04", "expires_at": "2999-01-02T03:04:05"},
            [
                "Sleep(seconds=1.5, text='zzz')",
                "at=datetime(2999, 1, 2, 3, 4, tzinfo=UTC)",
                "expires=datetime(2999, 1, 2, 3, 4, 5, tzinfo=UTC)",
            ],
        ),
    ],
)
def test_the_call_that_is_shown_is_the_one_that_is_made(
    operator: Client, sent: dict[str, str], parts: list[str]
) -> None:
    html = send(operator, preview="1", **sent)
    code = html.partition('id="preview"')[2].partition('<pre class="code">')[2].partition("</pre>")[0]
    assert code.startswith(f"job_scheduler.{'schedule' if 'at' in sent else 'enqueue'}(")
    assert [part for part in parts if part not in code] == []
    assert code.count("=") == " ".join(parts).count("=")
    assert not JobRecord.objects.exists()


def test_the_call_names_of_a_rule_what_was_said(operator: Client, declare: Declare) -> None:
    declare(replace(ONE, on_conflict="debounce", period=HOUR))
    html = send(operator, preview="1", if_there="keep")
    assert "unique=Unique(key=('text',), period=timedelta(seconds=3600))" in html
    assert "unique=False" in send(operator, preview="1", if_there="beside")


# --- the job's page


def page(client: Client, job_id: Any) -> str:
    html = client.get(f"/admin/jobs/jobrecord/{job_id}/change/").content.decode()
    return html.partition("<dt>One at a time</dt>")[2].partition("</dd>")[0]


def test_the_jobs_page_says_of_what_there_is_one(viewer: Client, declare: Declare) -> None:
    declare(ONE)
    first = job_scheduler.enqueue(Sleep(1, "a"))
    assert page(viewer, first) == "<dd>with the same text, until it has ended"
    assert not page(viewer, job_scheduler.enqueue(Sleep(1, "a"), unique=False))
    every = job_scheduler.enqueue(Sleep(1, "b"), unique=Unique(until="started"))
    assert page(viewer, every) == "<dd>with the same arguments, until it is started"
    other = job_scheduler.enqueue(Sleep(1, "c"), unique=Unique(key=("seconds",), period=HOUR))
    assert page(viewer, other).startswith("<dd>by a rule of its own, until it has ended, and in any case until <time")
    JobRecord.objects.update(state=State.SUCCEEDED)
    assert not page(viewer, first)
    assert not page(viewer, every)
    assert page(viewer, other)


def test_the_jobs_page_says_so_of_arguments_and_types_that_are_gone(viewer: Client, declare: Declare) -> None:
    declare(ONE)
    first = job_scheduler.enqueue(Sleep(1, "a"))
    JobPayload.objects.update(data={"seconds": 1})
    assert page(viewer, first) == "<dd>by a rule of its own, until it has ended"
    JobRecord.objects.update(job_type="gone.Type")
    assert page(viewer, first) == "<dd>by a rule of its own, until it has ended"
