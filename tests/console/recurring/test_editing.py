"""Making recurring jobs and changing them: a preview before saving, words beside the field, and nothing forced."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from handlers import context, job_scheduler
from handlers.models import AuditEntry, RecurringJob
from handlers.recurrence.declared import CODE
from handlers.recurrence.definition import Options, define
from handlers.recurrence.verbs import put
from tests.app.jobs import Note, Pay
from tests.console.conftest import MakeUser, logged_in
from tests.console.reading import as_read

pytestmark = pytest.mark.django_db

LIST = "/admin/recurring/"
NEW = f"{LIST}new/"
FORM = {
    "name": "nightly report", "type": "app.Note", "arguments_of": "app.Note", "arg-text": "hello", "cron": "30 2 * * *",
    "every": "", "timezone": "Europe/Berlin", "start": "2031-03-28T00:00:00", "end": "", "misfire": "one",
    "catch_up": "100", "catch_up_within": "1 d", "overlap": "allow", "jitter": "", "queue": "", "pause_after": "0",
    "heartbeat_url": "", "reason": "asked for by sales",
}  # fmt: skip


def send(client: Client, url: str = NEW, do: str = "save", status: int = 0, **changes: Any) -> str:
    """Post the form; the page that comes of it."""
    response = client.post(url, FORM | {"do": do} | changes, follow=True)
    assert not status or response.status_code == status, response.status_code
    return unescape(response.content.decode())


def edit_of(row: RecurringJob) -> str:
    return f"{LIST}{row.pk}/edit/"


def fields_of(client: Client, url: str) -> dict[str, str]:
    """What the page's form would send unchanged."""
    html = client.get(url).content.decode()
    found = re.findall(r'<input[^>]*\bname="([^"]+)"(?:[^>]*\bvalue="([^"]*)")?', html)
    chosen = re.findall(r'<select name="([^"]+)"[^>]*>.*?<option value="([^"]*)" selected>', html, re.DOTALL)
    return {name: unescape(value) for name, value in [*found, *chosen] if name != "csrfmiddlewaretoken"}


def test_what_becomes_of_a_line_where_clocks_change_is_said_beside_its_field(superuser: Client) -> None:
    html = superuser.get(f"{NEW}?type=app.Note").content.decode()
    [beside] = re.findall(r'<p class="help" id="id_cron_helptext">(.*?)</p>', html)
    assert "Where clocks go forward, a time that is skipped fires at the first moment after it." in beside
    assert "a line of fixed hours fires once, and one of every so many minutes or hours in both passes." in beside
    assert 'aria-describedby="id_cron_helptext"' in html


def test_preview_shows_the_next_firings_in_the_zone_and_in_utc_and_saves_nothing(superuser: Client) -> None:
    html = superuser.get(NEW).content.decode()
    assert '<option value="app.Note">' in html
    assert "jobs.RunBulk" not in html
    assert f'href="{NEW}?type=app.Note"' in superuser.get("/admin/job-types/app.Note/").content.decode()
    assert 'name="arg-text"' in superuser.get(f"{NEW}?type=app.Note").content.decode()
    html = send(superuser, do="preview", status=200)
    for words in (
        "Preview, not saved", "Fri 2031-03-28 02:30:00 CET", "Sun 2031-03-30 03:00:00 CEST", "Sun 2031-03-30 01:00:00",
        "Note(text='hello')", 'value="nightly report"', "Europe/Zurich",
    ):  # fmt: skip
        assert words in html
    assert html.count('data-label="UTC"') == 5
    html = send(superuser, do="preview", cron="0 9 13 * FRI", status=200)
    assert "Day of month and day of week must both hold" in html
    assert "At 09:00 on the 13th of each month but only on Fridays, Europe/Berlin time" in html
    html = send(superuser, do="preview", cron="", every="1 h 30 min", jitter="10 min", start="2031-01-01T00:00")
    for words in ("Every 1 h 30 min", "Wed 2031-01-01 01:30:00", "With its jitter"):
        assert words in html
    assert "never due between" in send(superuser, do="preview", end="2031-03-28T01:00")
    assert not RecurringJob.objects.exists()
    assert not AuditEntry.objects.exists()


def test_saving_makes_it_once_and_says_when_it_runs(superuser: Client) -> None:
    html = send(superuser, form_key="k", heartbeat_url="https://hc.example/1", queue="mail", every="")
    row = RecurringJob.objects.get()
    assert "Saved nightly report." in html
    assert "Sun 2031-03-30 03:00:00 CEST" in html
    assert (row.cron, row.zone, row.data, row.queue, row.created_by, row.heartbeat_url) == (
        "30 2 * * *", "Europe/Berlin", {"text": "hello"}, "mail", "user:admin", "https://hc.example/1",
    )  # fmt: skip
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.username, entry.reason) == ("add_recurring", "admin", "asked for by sales")
    again = send(superuser, form_key="k", heartbeat_url="https://hc.example/1", queue="mail", every="")
    assert "nothing was done now" in again
    assert "There is a recurring job 'nightly report' already: choose another name." in send(superuser, status=400)
    assert RecurringJob.objects.get().version == row.version


@pytest.mark.once
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("cron", "61 * * * *", "Minute: '61' is out of range: write 0 to 59"),
        ("cron", "0 0 30 2 *", "does not fire within five years"),
        ("cron", "", "Must be a line such as '0 9 * * MON-FRI', or give every="),
        ("every", "5 min", "Give either a cron line or every=, not both"),
        ("every", "a while", "Write a length of time"),
        ("every", "9" * 12 + " d" + " 1 d" * 9, "longer than any calendar"),
        ("timezone", "Mars/Olympus", "'Mars/Olympus' is not known"),
        ("end", "2020-01-01T00:00", "lies before start"),
        ("start", "soon", "Enter a valid date/time"),
        ("jitter", "9999 d", "must be a timedelta".capitalize()),
        ("catch_up", "0", "Must be a whole number from 1 to 10,000"),
        ("pause_after", "-1", "Must be a whole number from 0"),
        ("misfire", "sometimes", "Select a valid choice"),
        ("queue", "nowhere", "Select a valid choice"),
        ("heartbeat_url", "file:///etc/passwd", "Must be an http or https address"),
        ("name", " ", "This field is required"),
        ("name", "a\u202eb", "printable characters"),
        ("arg-order_id", "many", "valid integer"),
    ],
)
def test_what_does_not_fit_is_said_beside_the_field_and_what_was_typed_stays(
    superuser: Client, field: str, value: str, words: str
) -> None:
    of = {"type": "app.Ship", "arguments_of": "app.Ship"} if field == "arg-order_id" else {}
    for do in ("preview", "save"):
        html = send(superuser, do=do, status=400, **of, **{field: value})
        line = next(part for part in html.split('<div class="form-line')[1:] if f'name="{field}"' in part)
        assert line.startswith(" errors"), line[:300]
        assert words in line
        assert 'value="nightly report"' in html or field == "name"
    assert not RecurringJob.objects.exists()


def test_edit_begins_with_what_is_stored_and_changes_what_was_typed(superuser: Client) -> None:
    send(superuser, jitter="1 h 30 min", pause_after="3")
    row = RecurringJob.objects.get()
    url, form = edit_of(row), fields_of(superuser, edit_of(row))
    expected = {
        "cron": "30 2 * * *", "timezone": "Europe/Berlin", "jitter": "1 h 30 min", "start": "2031-03-28T00:00:00",
        "arg-text": "hello", "version": row.version, "pause_after": "3",
    }  # fmt: skip
    assert form | expected == form
    html = superuser.post(url, form | {"do": "save"}, follow=True).content.decode()
    assert "Nothing was changed: nightly report was like that already." in html
    html = superuser.post(url, form | {"do": "preview", "arg-text": "other"}).content.decode()
    assert "Sun 2031-03-30 03:00:00 CEST" in html
    html = superuser.post(
        url, form | {"do": "save", "arg-text": "other", "timezone": "UTC"}, follow=True
    ).content.decode()
    assert "Saved nightly report." in html
    assert "Sun 2031-03-30 02:30:00 UTC</td>" in as_read(html)
    assert "changed it: data, zone" in html
    row.refresh_from_db()
    assert (row.data, row.zone, row.name) == ({"text": "other"}, "UTC", "nightly report")
    # The form from before: told, and not forced, however often.
    for _ in range(2):
        response = superuser.post(url, form | {"do": "save", "arg-text": "third"})
        assert response.status_code == 400
        assert "was changed since this form was made" in response.content.decode()
        assert "third" in response.content.decode()
    assert RecurringJob.objects.get().data == {"text": "other"}
    RecurringJob.objects.all().delete()
    assert superuser.post(url, form | {"do": "save"}).status_code == 404


def test_context_is_kept_by_an_edit_and_none_of_the_person_who_makes_one(superuser: Client) -> None:
    with context(tenant="acme"):
        job_scheduler.add_or_update_recurring("it", Note("it"), "0 9 * * *")
    row = RecurringJob.objects.get()
    form = fields_of(superuser, edit_of(row))
    with context(user="olga"):  # as a middleware of the site's has it
        html = superuser.post(edit_of(row), form | {"do": "save"}, follow=True).content.decode()
        assert "Nothing was changed" in html
        superuser.post(edit_of(row), form | {"do": "save", "arg-text": "other"})
        send(superuser)
    row.refresh_from_db()
    assert (row.data, row.context) == ({"text": "other"}, {"tenant": "acme"})
    assert RecurringJob.objects.get(name="nightly report").context is None


def test_another_type_asks_for_its_own_arguments_and_shows_none_of_the_old_ones(
    make_user: MakeUser, superuser: Client
) -> None:
    job_scheduler.add_or_update_recurring(
        "pay", Pay(7, "tok-secret"), "0 9 * * *", heartbeat_url="https://hc.example/0f3a"
    )
    row = RecurringJob.objects.get()
    editor = logged_in(
        make_user("ed", "view_jobrecord", "view_recurringjob", "change_recurringjob", "enqueue_jobrecord")
    )
    page = editor.get(edit_of(row)).content.decode()
    assert "tok-secret" not in page
    assert "0f3a" not in page
    form = fields_of(editor, edit_of(row))
    assert (form["heartbeat_url"], form["arg-order_id"]) == ("", "7")
    editor.post(edit_of(row), form | {"do": "save", "arg-order_id": "8"})
    row.refresh_from_db()
    # What was hidden was kept.
    assert (row.data["order_id"], row.data["token"], row.heartbeat_url) == (8, "tok-secret", "https://hc.example/0f3a")
    form = fields_of(editor, edit_of(row)) | {"type": "app.Note"}
    for do in ("type", "save"):
        html = editor.post(edit_of(row), form | {"do": do}).content.decode()
        assert "The type was changed, and nothing saved: fill in its arguments." in html
        assert "tok-secret" not in html
        assert "tok-secret" not in editor.post(f"{edit_of(row)}?raw=1", form | {"do": do}).content.decode()
    assert "tok-secret" not in editor.get(f"{edit_of(row)}?type=app.Note&raw=1").content.decode()
    form |= {"arguments_of": "app.Note", "arg-text": "quiet now", "do": "save", "no_heartbeat": "on"}
    editor.post(edit_of(row), form)
    row.refresh_from_db()
    assert (row.job_type, row.data, row.heartbeat_url) == ("app.Note", {"text": "quiet now"}, "")
    assert 'value="https://hc.example/0f3a"' not in superuser.get(edit_of(row)).content.decode()


def test_making_and_changing_need_the_permission_to_enqueue_on_both_sides(make_user: MakeUser) -> None:
    job_scheduler.add_or_update_recurring("it", Note("it"), "0 9 * * *")
    row = RecurringJob.objects.get()
    sees = ("view_jobrecord", "view_recurringjob")
    form = FORM | {"do": "save", "version": row.version}
    for place, held in enumerate((("add_recurringjob", "change_recurringjob"), ("enqueue_jobrecord",))):
        client = logged_in(make_user(f"half-{place}", *sees, *held))
        for url in (NEW, edit_of(row)):
            assert client.get(url).status_code == client.post(url, form).status_code == 403
        assert "New recurring job" not in client.get(LIST).content.decode()
    whole = logged_in(make_user("whole", *sees, "add_recurringjob", "change_recurringjob", "enqueue_jobrecord"))
    own = {"type": "jobs.SendHeartbeat", "arguments_of": "jobs.SendHeartbeat", "arg-recurring_id": "1"}
    for url in (NEW, edit_of(row)):
        assert whole.get(url).status_code == 200
        assert whole.post(url, form | own).status_code == 403
        assert "is not registered here" in whole.post(url, form | {"type": "os.system"}).content.decode()
    RecurringJob.objects.filter(pk=row.pk).update(job_type="jobs.SendHeartbeat", data={"recurring_id": 1})
    assert whole.post(edit_of(row), form).status_code == 403
    RecurringJob.objects.filter(pk=row.pk).update(job_type="jobs.Gone")
    assert whole.get(edit_of(row)).status_code == whole.post(edit_of(row), form).status_code == 403
    assert RecurringJob.objects.get().data == {"recurring_id": 1}


def test_one_whose_type_is_gone_gets_another(superuser: Client) -> None:
    send(superuser)
    RecurringJob.objects.update(job_type="app.Gone", data={"secret": "tok-secret"})
    row = RecurringJob.objects.get()
    assert (
        "The type app.Gone is not registered here. Choose one that is." in superuser.get(edit_of(row)).content.decode()
    )
    form = fields_of(superuser, f"{edit_of(row)}?type=app.Note")
    assert "tok-secret" not in str(form)
    superuser.post(edit_of(row), form | {"arg-text": "again", "do": "save"})
    row.refresh_from_db()
    assert (row.job_type, row.data) == ("app.Note", {"text": "again"})


def test_one_of_the_code_is_not_edited(superuser: Client) -> None:
    put("declared", define("declared", Note("it"), "0 9 * * *", Options()), by=CODE, in_code=True)
    row = RecurringJob.objects.get()
    for method in (superuser.get, superuser.post):
        html = method(edit_of(row), FORM | {"do": "save"}, follow=True).content.decode()
        assert "The code declares declared: change it there" in html
    assert "is declared in the code with recurring()" in send(superuser, name="declared", status=400)
    assert RecurringJob.objects.get().version == row.version
