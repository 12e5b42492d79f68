"""Arguments and errors come from strangers: shown inert, bounded, and not able to look like something else."""

from __future__ import annotations

import pytest
from django.db.models import JSONField, Value
from django.test import Client

from handlers import job_scheduler
from handlers.models import AuditEntry, Occurrence, RecurringJob
from handlers.states import State
from tests.app.jobs import Note
from tests.console.factories import make_job

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
RTL = "invoice\u202egnp.exe"


@pytest.mark.once
@pytest.mark.parametrize("state", [State.FAILED, State.SCHEDULED, State.DELETED])
def test_markup_is_shown_as_text_on_every_page(superuser: Client, state: State) -> None:
    job = make_job(
        state,
        job_type=f"evil.{SCRIPT}",
        payload={"a": SCRIPT, SCRIPT: [SCRIPT]},
        message=SCRIPT,
        exception=f"evil.{SCRIPT}",
        traceback=f'  File "{SCRIPT}", line 1, in {SCRIPT}\n    {SCRIPT}\n',
        retrying=state is State.SCHEDULED,
    )
    job.history.create(
        from_state="failed",
        to_state="enqueued",
        at=job.created_at,
        reason=SCRIPT,
        actor=SCRIPT,
        data={"worker": SCRIPT},
    )
    AuditEntry.objects.create(
        at=job.created_at, username=SCRIPT, verb=SCRIPT[:30], target=SCRIPT, count=1, reason=SCRIPT
    )
    job_scheduler.add_or_update_recurring(SCRIPT, Note(SCRIPT), "0 9 * * *", by=SCRIPT, reason=SCRIPT)
    job_scheduler.pause_recurring(SCRIPT, by=SCRIPT, reason=SCRIPT)
    row = RecurringJob.objects.get()
    Occurrence.objects.create(recurring=row, due_at=job.created_at, fired_at=job.created_at, how="due", job_id=job.pk)
    recurring = f"/admin/recurring/{row.pk}/"
    tick = {"action": "delete", "index": "0", "_selected_action": job.pk, "expect": f"{job.pk}:{job.token}"}
    pages = [
        superuser.get(url)
        for url in (
            "/admin/",
            "/admin/jobs/jobrecord/",
            f"/admin/jobs/jobrecord/{job.pk}/change/",
            "/admin/jobs/jobrecord/?type=" + "%3Cscript%3Ealert(1)%3C/script%3E",
            "/admin/jobs/jobrecord/?q=%3Cscript%3Ealert(1)%3C/script%3E",
            "/admin/jobs/auditentry/",
            "/admin/recurring/",
            *(f"{recurring}{what}" for what in ("", "edit/", "backfill/", "delete/")),
        )
    ]
    # A type that is gone, and a rule that cannot be read any more.
    RecurringJob.objects.update(job_type=SCRIPT, cron=SCRIPT, zone=SCRIPT, next_at=job.created_at, paused_at=None)
    pages += [superuser.get(url) for url in ("/admin/recurring/", "/admin/recurring/day/", recurring)]
    pages.append(superuser.post("/admin/jobs/jobrecord/", tick))
    pages.append(superuser.post("/admin/jobs/jobrecord/", tick | {"action": "move"}))
    pages.append(superuser.post(f"/admin/jobs/jobrecord/{job.pk}/move/", tick))
    pages.append(superuser.get("/admin/bulk/new/?verb=move"))
    for page in pages:
        html = page.content.decode()
        assert page.status_code == 200
        assert "<script>alert" not in html
        assert "<img src=x" not in html


@pytest.mark.once
def test_direction_changing_characters_are_shown_as_escapes(viewer: Client) -> None:
    job = make_job(job_type=RTL, payload={"name": RTL}, message=RTL, traceback=RTL)
    for url in ("/admin/", "/admin/jobs/jobrecord/", f"/admin/jobs/jobrecord/{job.pk}/change/"):
        html = viewer.get(url).content.decode()
        assert "\u202e" not in html
        assert "invoice\\u202egnp.exe" in html


def test_huge_text_is_bounded(viewer: Client) -> None:
    job = make_job(
        payload={"text": "x" * 900_000, "more": ["y" * 1_000] * 500}, message="m" * 500_000, traceback="t" * 500_000
    )
    page = viewer.get(f"/admin/jobs/jobrecord/{job.pk}/change/")
    assert len(page.content) < 1_000_000
    assert "more characters" in page.content.decode()
    assert len(viewer.get("/admin/jobs/jobrecord/").content) < 60_000


@pytest.mark.parametrize("payload", [None, 0, "text", [], [1, 2], {}, {"not an identifier": 1}, {"a": {"b": [None]}}])
def test_any_json_value_can_be_shown_as_a_call(viewer: Client, payload: object) -> None:
    job = make_job()
    job.arguments.data = Value(payload, JSONField())
    job.arguments.save()
    assert viewer.get(f"/admin/jobs/jobrecord/{job.pk}/change/").status_code == 200


def test_job_without_arguments_is_still_shown(viewer: Client) -> None:
    job = make_job()
    job.arguments.delete()
    assert "arguments are missing" in viewer.get(f"/admin/jobs/jobrecord/{job.pk}/change/").content.decode()


@pytest.mark.parametrize(
    "data", ["text", [1], {"duration_seconds": "x"}, {"duration_seconds": 1e300}, {"worker": None}]
)
def test_odd_history_data_is_survived(viewer: Client, data: object) -> None:
    job = make_job()
    job.history.update(data=data)
    assert viewer.get(f"/admin/jobs/jobrecord/{job.pk}/change/").status_code == 200
