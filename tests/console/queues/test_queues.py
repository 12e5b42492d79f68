"""The Queues page: its figures, and pausing for a while."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from dashboard.kit import health, statements
from handlers.models import QueueSwitch, WorkerProcess
from handlers.states import State
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db
PAGE = "/admin/queues/"


def test_queues_shows_rates_and_workers(viewer: Client) -> None:
    shown = viewer.get(PAGE).content.decode()
    assert "In/min" in shown
    assert "Workers" in shown


def test_pause_for_a_while_ends_by_itself(superuser: Client) -> None:
    answer = superuser.post(f"{PAGE}default/pause/", {"span": "1h", "reason": "why"}, follow=True)
    assert "It resumes by itself at" in answer.content.decode()
    until = QueueSwitch.objects.get(name="default").until
    assert until is not None
    assert timedelta(minutes=59) < until - timezone.now() <= timedelta(hours=1)


def test_pause_for_an_unknown_span_does_nothing(superuser: Client) -> None:
    answer = superuser.post(f"{PAGE}default/pause/", {"span": "x"}, follow=True)
    assert "nothing was done" in answer.content.decode()
    assert not QueueSwitch.objects.exists()


def test_queue_that_nobody_names_has_no_button_unless_it_is_paused(superuser: Client) -> None:
    make_job(State.ENQUEUED, queue="gone")
    assert "/admin/queues/gone/" not in superuser.get(PAGE).content.decode()
    QueueSwitch.objects.create(name="gone", paused_at=timezone.now())
    assert "/admin/queues/gone/resume/" in superuser.get(PAGE).content.decode()
    answer = superuser.post(f"{PAGE}gone/resume/", follow=True).content.decode()
    assert "Queue gone runs again" in answer
    assert not QueueSwitch.objects.exists()


def test_number_that_is_not_known_is_not_told_as_none(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs of one queue hide those of the other from a look at the first of them."""
    few = statements.LOOK
    monkeypatch.setattr(statements, "LOOK", 3)
    monkeypatch.setattr(statements, "IN_HAND", statements.IN_HAND.replace(f"LIMIT {few + 1}", "LIMIT 4"))
    for state in (State.SCHEDULED, State.PROCESSING):
        for queue in ("default", "default", "default", "default", "mail"):
            make_job(state, queue=queue)
    make_job(State.ENQUEUED, queue="mail")
    shown = viewer.get(PAGE).content.decode()
    mail = re.sub(r"\s+", " ", shown).split("?queue=mail&amp;state=enqueued")[1].split("</tr>")[0]
    assert ">0+<" not in shown
    assert mail.count("none of the") == 2
    assert mail.count(">?</a>") == 2
    assert "4" in shown.split("?queue=default&amp;state=scheduled")[1][:10]


def row(client: Client, queue: str) -> str:
    """The queue's row of the table."""
    return client.get(PAGE).content.decode().partition(f'<tr id="queue-{queue}"')[2].partition("</tr>")[0]


def test_row_tells_who_serves_the_queue_since_when_its_jobs_wait_and_that_the_code_forgot_it(
    viewer: Client, superuser: Client
) -> None:
    job = make_job(State.ENQUEUED, queue="gone")
    gone = row(viewer, "gone")
    assert "No live worker serves it: 1 waits, since" in gone
    assert f"{job.enqueued_at:%Y-%m-%d %H:%M}" in gone
    assert "The code no longer names it." in gone
    assert "manage.py worker --queues gone" in gone
    assert "Move all" not in gone, "a viewer moves nothing"
    assert 'href="/admin/bulk/new/?verb=move&amp;queue=gone"' in row(superuser, "gone")
    assert "Move all" not in row(superuser, "system")
    now = timezone.now()
    WorkerProcess.objects.create(
        name="w", host="h", pid=1, kind="worker", started_at=now, heartbeat_at=now, queues=["gone", "mail"]
    )
    health.forget()
    served = row(viewer, "gone")
    assert "No live worker" not in served
    assert "The code no longer names it." in served
    assert re.search(r'data-label="Workers"><a [^>]*>1</a>', served)
    assert re.search(r'data-label="Workers"><a [^>]*>1</a>', row(viewer, "system")), "every worker serves it"
    assert "No live worker serves it." in row(viewer, "default")
