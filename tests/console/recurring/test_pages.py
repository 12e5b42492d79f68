"""The pages of recurring jobs: the list, one of them, and what people do to it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from handlers import Unique, context, job_scheduler
from handlers.models import AuditEntry, JobRecord, Occurrence, RecurringJob
from handlers.recurrence.declared import CODE
from handlers.recurrence.verbs import put
from handlers.registry import registry
from handlers.states import State
from tests.app.jobs import Note, Pay
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job
from tests.console.reading import as_read

LIST = "/admin/recurring/"
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


def add(name: str = "nightly report", cron: str | None = "0 9 * * *", **options: Any) -> RecurringJob:
    job_scheduler.add_or_update_recurring(name, options.pop("job", Note("it")), cron, **options)
    return RecurringJob.objects.get(name=name)


def page_of(row: RecurringJob, more: str = "") -> str:
    return f"{LIST}{row.pk}/{more}"


def html_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, response
    return response.content.decode()


def happened(row: RecurringJob, *outcomes: str) -> list[JobRecord | None]:
    """Occurrences an hour apart, the last one an hour ago: the state of each one's job, or ``skipped``."""
    now, jobs = timezone.now(), list[JobRecord | None]()
    for place, outcome in enumerate(outcomes):
        due = now - (len(outcomes) - place) * HOUR
        job = None if outcome == "skipped" else make_job(outcome)
        Occurrence.objects.create(
            recurring=row, due_at=due, fired_at=due + timedelta(seconds=2), how="due" if job else "missed",
            job_id=job.pk if job else None, skipped=0 if job else 3,
        )  # fmt: skip
        jobs.append(job)
        if job:
            RecurringJob.objects.filter(pk=row.pk).update(last_job_id=job.pk, last_at=due)
    return jobs


# --- the list


def test_list_tells_what_runs_next_and_how_it_went(viewer: Client, make_user: MakeUser) -> None:
    row = add()
    [_, failed, _, last] = happened(row, "succeeded", "failed", "skipped", "succeeded")
    assert failed
    assert last
    job_scheduler.pause_recurring(add("paused").name, by="ann", reason="too loud")
    add("ended", start=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2020, 1, 2, tzinfo=UTC))
    assert viewer.get(LIST).status_code == 403
    reader = logged_in(make_user("reader", "view_jobrecord", "view_recurringjob"))
    html = html_of(reader, LIST)
    for words in (
        page_of(row), "0 9 * * *", 'href="/admin/job-types/app.Note/"', f"/admin/jobs/jobrecord/{last.pk}/change/",
        'aria-label="The last 4: 2 succeeded, 1 failed, 1 skipped"', 'data-label="Late by">2 s<', "too loud", "Ended",
    ):  # fmt: skip
        assert words in html
    assert f'href="{LIST}" aria-current="page"' in html
    assert LIST not in html_of(viewer, "/admin/")


def test_list_filters_and_searches(superuser: Client) -> None:
    happened(add("failing"), "succeeded", "failed")
    happened(add("fine", job=Pay(1, "tok")), "failed", "succeeded")
    put("declared", {**_columns("fine")}, by=CODE, in_code=True)
    job_scheduler.pause_recurring("declared", timezone.now() + HOUR)
    add("over", end=timezone.now() - HOUR)

    def names(query: str) -> list[str]:
        return re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)<', html_of(superuser, f"{LIST}?{query}"))

    assert names("") == ["declared", "failing", "fine", "over"]
    assert names("q=AIL") == ["failing"]
    assert names("q=app.pay+fi") == ["fine"]
    assert names("state=failing") == ["failing"]
    assert names("state=paused") == names("origin=code") == ["declared"]
    assert names("state=ended") == ["over"]
    assert names("state=active&origin=here") == ["failing", "fine"]
    assert "Nothing fits" in html_of(superuser, f"{LIST}?q=nowhere")
    RecurringJob.objects.filter(name="declared").update(paused_until=timezone.now() - HOUR)
    assert names("state=active") == ["declared", "failing", "fine"]


def _columns(name: str) -> dict[str, Any]:
    kept = {"id", "name", "fired", "skipped", "in_code"}
    row = RecurringJob.objects.values().get(name=name)
    return {column: value for column, value in row.items() if column not in kept and not column.endswith("_by")}


@pytest.mark.parametrize("order", ["", "next"])
def test_list_is_paged_by_key_forth_and_back_with_as_many_queries_for_more_rows(
    superuser: Client, django_assert_max_num_queries: Any, order: str
) -> None:
    row = add("name 000")
    happened(row, "succeeded", "failed")
    rows = [RecurringJob(**{**_columns("name 000"), "name": f"name {n:03}"}) for n in range(1, 120)]
    RecurringJob.objects.bulk_create(rows)
    if order:  # some at the same moment, and the last name first
        base = timezone.now()
        for n, one in enumerate(RecurringJob.objects.order_by("-name")):
            RecurringJob.objects.filter(pk=one.pk).update(next_at=base + n // 7 * HOUR)
        add("paused")
        job_scheduler.pause_recurring("paused")
    expected = [f"name {n:03}" for n in range(120)]
    if order:
        expected = list(
            RecurringJob.objects.exclude(name="paused").order_by("next_at", "pk").values_list("name", flat=True)
        )
    url, forth = f"{LIST}?order={order}", []
    while url:
        with django_assert_max_num_queries(16):
            html = html_of(superuser, url)
        forth.append(re.findall(r"name \d{3}", re.sub(r'(href|value)="[^"]*"', "", html)))
        link = re.search(r'href="([^"]+)" rel="next"', html)
        last, url = url, LIST + link[1].replace("&amp;", "&") if link else ""
    assert [name for names in forth for name in names] == expected
    back = re.search(r'href="([^"]+)" rel="prev"', html_of(superuser, last))
    assert back
    html = html_of(superuser, LIST + back[1].replace("&amp;", "&"))
    assert re.findall(r"name \d{3}", re.sub(r'(href|value)="[^"]*"', "", html)) == forth[1]


# --- one of them


def test_page_tells_rule_arguments_next_times_and_history(superuser: Client) -> None:
    row = add(
        cron="30 2 * * *", timezone="Europe/Berlin", start=datetime(2031, 3, 28, tzinfo=UTC), jitter=HOUR,
        pause_after=3, overlap="queue", misfire="each", by="ann", reason="asked for by sales",
    )  # fmt: skip
    [job] = happened(row, "failed")
    assert job
    html = html_of(superuser, page_of(row))
    for words in (
        "Note(text=&#x27;it&#x27;)", "Europe/Berlin", "after 3 failed jobs in a row", "Let one wait", "Run each",
        # The clocks skip 02:30 on the 30th.
        "Fri 2031-03-28 02:30:00 CET", "Sun 2031-03-30 03:00:00 CEST", "Sun 2031-03-30 01:00:00", "With its jitter",
        f"/admin/jobs/jobrecord/{job.pk}/change/", "on time", "ann", "asked for by sales", "made it",
    ):  # fmt: skip
        assert words in html
    assert html.count('data-label="UTC"') == 5
    told = html_of(superuser, f"/admin/jobs/jobrecord/{job.pk}/change/")
    assert f'of <a href="{page_of(row)}">nightly report</a>, due at' in told
    Occurrence.objects.filter(recurring=row).delete()
    assert "nightly report" not in html_of(superuser, f"/admin/jobs/jobrecord/{job.pk}/change/")


def test_secrets_are_for_those_who_may_see_them(superuser: Client, make_user: MakeUser) -> None:
    row = add(job=Pay(7, "tok-secret"), heartbeat_url="https://hc.example/ping/0f3a-secret")
    reader = logged_in(make_user("reader", "view_jobrecord", "view_recurringjob"))
    html = html_of(reader, page_of(row))
    assert "secret</" not in html
    assert "tok-secret" not in html
    assert "0f3a" not in html
    assert "pw@" not in html
    assert "hc.example" in html
    assert "order_id=7" in html
    html = html_of(superuser, page_of(row))
    assert "tok-secret" in html
    assert "https://hc.example/ping/0f3a-secret" in html


def test_context_is_shown_and_what_is_sensitive_to_whom_may_see_it(
    superuser: Client, make_user: MakeUser, settings: Any
) -> None:
    settings.JOBS = settings.JOBS | {"SENSITIVE_CONTEXT": ["badge"]}
    row = add()
    assert 'id="job-context"' not in html_of(superuser, page_of(row))
    with context(tenant="acme", badge="b4dg3"):
        add(by="shop")
    reader = logged_in(make_user("reader", "view_jobrecord", "view_recurringjob", "view_auditentry"))
    html = html_of(reader, page_of(row))
    shown = html.split('id="job-context"')[1].split("</section>")[0]
    assert "<dt>tenant</dt><dd>acme</dd>" in shown
    assert "<dt>badge</dt><dd>••••••</dd>" in shown
    assert "changed it: context" in html
    assert "b4dg3" in html_of(superuser, page_of(row))
    told = html_of(superuser, "/admin/jobs/auditentry/")
    assert "Context: tenant" in told
    assert "b4dg3" not in told


def test_occurrences_are_paged_by_key(superuser: Client) -> None:
    row = add()
    at = timezone.now()
    Occurrence.objects.bulk_create(
        Occurrence(recurring=row, due_at=at - n * HOUR, fired_at=at, how="overlapped", skipped=1) for n in range(60)
    )
    url, dues = page_of(row), []
    while url:
        html = html_of(superuser, url).partition('id="occurrences"')[2].partition("side-column")[0]
        dues += re.findall(r'<tr>\s*<td><time datetime="([^"]+)"', html)
        link = re.search(r'href="([^"]+)" rel="next"', html)
        url = page_of(row) + link[1] if link else ""
    assert dues == [(at - n * HOUR).isoformat() for n in range(60)]


def test_one_of_the_code_says_so_and_can_be_paused_and_triggered_only(superuser: Client) -> None:
    add("pattern")
    put("declared", _columns("pattern"), by=CODE, in_code=True)
    row = RecurringJob.objects.get(name="declared")
    html = html_of(superuser, page_of(row))
    assert "Change or remove it there; here it can be paused and triggered." in html
    assert "Edit</a>" not in html
    assert "Delete" not in html
    assert "declared in the code" in html_of(superuser, page_of(row, "delete/"))
    html = superuser.post(page_of(row, "delete/"), {"version": row.version}, follow=True).content.decode()
    assert "Nothing was deleted. &#x27;declared&#x27; is declared in the code with recurring()" in html
    superuser.post(page_of(row, "trigger/"))
    superuser.post(page_of(row, "pause/"))
    row.refresh_from_db()
    assert (row.fired, row.paused_by) == (1, "user:admin")


# --- what people do


def test_trigger_runs_it_once_however_often_the_form_is_sent(superuser: Client) -> None:
    row = add()
    form = {"form_key": "k", "reason": "asked by phone"}
    html = superuser.post(page_of(row, "trigger/"), form, follow=True).content.decode()
    job = JobRecord.objects.get()
    assert f'Triggered nightly report: <a href="/admin/jobs/jobrecord/{job.pk}/change/">job {job.pk}</a>.' in html
    assert "nothing was done now" in superuser.post(page_of(row, "trigger/"), form, follow=True).content.decode()
    assert (job.state, job.created_by) == (State.ENQUEUED, "user:admin")
    entry = AuditEntry.objects.get(verb="trigger_recurring")
    assert (entry.username, entry.reason) == ("admin", "asked by phone")


def test_trigger_of_a_unique_type_tells_that_its_job_was_there(superuser: Client) -> None:
    row = add()
    with registry.isolated():
        registry.register(replace(registry.get("app.Note"), unique=Unique()))
        there = job_scheduler.enqueue(Note("it"))
        html = superuser.post(page_of(row, "trigger/"), follow=True).content.decode()
    assert f">job {there}</a>, which holds the key already: nothing new was enqueued." in html
    assert JobRecord.objects.count() == 1


def test_pause_for_a_span_until_a_time_or_for_good_and_resume(superuser: Client) -> None:
    row = add()

    def said(what: str, **form: Any) -> str:
        return as_read(superuser.post(page_of(row, f"{what}/"), form, follow=True).content.decode())

    assert "Paused nightly report until" in said("pause", span="8h", reason="moving house")
    row.refresh_from_db()
    assert row.paused_until is not None
    assert abs(row.paused_until - timezone.now() - 8 * HOUR) < timedelta(minutes=1)
    assert "Paused nightly report until 2031-05-01 12:00 UTC" in said("pause", span="", until="2031-05-01T12:00")
    assert "was paused so already" in said("pause", span="", until="2031-05-01T12:00")
    for form in ({"span": "1 fortnight"}, {"until": "soon"}, {"until": "2020-01-01T00:00"}):
        assert "nothing was done" in said("pause", **form)
    assert "until it is resumed" in said("pause")
    assert f'href="{LIST}?q=nightly+report"' in html_of(superuser, "/admin/jobs/auditentry/?verb=pause_recurring")
    html = html_of(superuser, page_of(row))
    assert "moving house" in html
    assert "Next, if it were resumed now" in html
    assert "Resumed nightly report." in said("resume")
    assert "was not paused" in said("resume")


def test_delete_asks_first_and_refuses_what_was_changed_meanwhile(superuser: Client) -> None:
    row = add()
    assert "Jobs that it has enqueued stay" in html_of(superuser, page_of(row, "delete/"))
    for version in ("", "x", "2020-01-01T00:00:00+00:00"):
        html = superuser.post(page_of(row, "delete/"), {"version": version}, follow=True).content.decode()
        assert "was changed meanwhile" in html
    answer = superuser.post(page_of(row, "delete/"), {"version": row.version, "reason": "x"}, follow=True)
    assert "Deleted nightly report." in answer.content.decode()
    assert not RecurringJob.objects.exists()
    assert superuser.get(page_of(row)).status_code == 404


def test_backfill_shows_how_many_and_which_before_it_does_it(superuser: Client) -> None:
    row = add(cron="0 * * * *")
    url = page_of(row, "backfill/")
    assert "Preview</button>" in html_of(superuser, url)
    form = {"start": "2026-03-01T00:30", "end": "2026-03-01T05:00", "form_key": "k", "reason": "lost"}
    html = superuser.post(url, {**form, "do": "preview"}).content.decode()
    for words in ("5 occurrences", "2026-03-01 01:00:00", "2026-03-01 05:00:00", "Backfill 5 jobs"):
        assert words in html
    assert not JobRecord.objects.exists()
    html = superuser.post(url, {**form, "do": "run"}, follow=True).content.decode()
    assert "Backfilled nightly report: 5 jobs enqueued." in html
    html = superuser.post(url, {**form, "do": "run"}, follow=True).content.decode()
    assert "nothing was done now" in html
    assert JobRecord.objects.count() == 5
    assert AuditEntry.objects.get(verb="backfill_recurring").count == 5
    for wrong, words in (
        ({"end": "2031-01-01T00:00"}, "is not past: what is due later comes by itself"),
        ({"end": "2026-02-01T00:00"}, "is not before end"),
        ({"start": "2020-01-01T00:00"}, "More than 1,000 occurrences"),
        ({"start": "nonsense"}, "Enter a valid date/time"),
    ):
        response = superuser.post(url, {**form, **wrong, "do": "run"})
        assert response.status_code == 400
        assert words in response.content.decode()
    assert JobRecord.objects.count() == 5


def test_each_act_needs_its_own_permission(make_user: MakeUser) -> None:
    row = add()
    acts = {"trigger": {}, "backfill": {}, "pause": {}, "resume": {}, "delete": {"version": row.version}}
    needs = {"trigger": "trigger", "backfill": "trigger", "pause": "pause", "resume": "pause", "delete": "delete"}
    for held in ("view", "trigger", "pause", "delete"):
        client = logged_in(make_user(held, "view_jobrecord", "view_recurringjob", f"{held}_recurringjob"))
        html = html_of(client, page_of(row))
        for act, form in acts.items():
            assert (page_of(row, f"{act}/") in html) == (needs[act] == held and act != "resume")
            if needs[act] != held:
                assert client.post(page_of(row, f"{act}/"), form).status_code == 403
    blind = logged_in(make_user("blind", "view_jobrecord", "trigger_recurringjob", "pause_recurringjob"))
    assert blind.post(page_of(row, "trigger/")).status_code == 403
    assert not JobRecord.objects.exists()


# --- the day


def test_day_shows_what_piles_up_in_the_zone_asked_for(superuser: Client) -> None:
    for n in range(3):
        add(f"report {n}", "30 2 * * *", timezone="Europe/Berlin")
    add("always", None, every=timedelta(seconds=5))
    job_scheduler.pause_recurring(add("paused", "30 2 * * *").name)
    html = html_of(superuser, f"{LIST}day/?day=2031-03-29&zone=Europe/Berlin")
    for words in (
        "Saturday, 29 March 2031", "17,283 firings of 4 recurring jobs", "Busiest: 02:30 to 02:45, 183 firings",
        "report 0</a>", "report 2</a>", "1 recurring job that is fired each minute or more often, 180 times",
        'aria-label="17,283 firings on that day; 183 in the fullest quarter of an hour"',
    ):  # fmt: skip
        assert words in html
    assert "paused</a>" not in html
    assert "report 0</a>" in html_of(superuser, f"{LIST}day/?day=2031-03-29&quarter=6")  # in UTC
    other = html_of(superuser, f"{LIST}day/?day=2031-03-29&quarter=7")
    assert "report 0</a>" not in other
    assert "Busiest" not in other
    for query, words in (
        ("day=soon", "Write a day as"),
        ("day=9999-12-31", "Choose a day"),
        ("zone=Mars", "is not known"),
    ):
        response = superuser.get(f"{LIST}day/?{query}")
        assert response.status_code == 400
        assert words in response.content.decode()
    RecurringJob.objects.all().delete()
    assert "Nothing is due on that day" in html_of(superuser, f"{LIST}day/")


@pytest.mark.once
@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("30 6 * * *", "À 06:30 chaque jour, fuseau Europe/Berlin"),
        ("*/10 9-17 * * MON,FRI", "Toutes les 10 minutes de 09:00 à 17:50 le lundi et le vendredi"),
        ("0 9 * * MON#2", "À 09:00 le deuxième lundi de chaque mois"),
    ],
)
def test_rule_is_told_in_the_readers_language(superuser: Client, cron: str, words: str) -> None:
    row = add(cron=cron, timezone="Europe/Berlin")
    assert words in superuser.get(page_of(row), headers={"accept-language": "fr"}).content.decode()
