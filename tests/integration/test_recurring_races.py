"""A recurring job is fired while somebody does something else to it, on another connection: in whichever order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import JobRecord, Occurrence, RecurringJob
from handlers.recurrence import firing
from tests.app.jobs import Note
from tests.processes import wait_for
from tests.running import at_once, waits_for_a_lock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

ROUNDS = 10
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def due_now() -> datetime:
    """A recurring job whose hour has just come; when."""
    for model in (Occurrence, RecurringJob, JobRecord):
        model._default_manager.all().delete()
    job_scheduler.add_or_update_recurring("it", Note("old"), every=HOUR)
    at = timezone.now() - SECOND
    RecurringJob.objects.update(due_at=at, next_at=at, anchor_at=at)
    return at


def change() -> bool:
    return job_scheduler.add_or_update_recurring("it", Note("new"), every=2 * HOUR)


def backfill() -> list[Any]:
    return job_scheduler.backfill_recurring("it", timezone.now() - HOUR, timezone.now() - SECOND / 2)


VERBS: dict[str, Callable[[], Any]] = {
    "pause": lambda: job_scheduler.pause_recurring("it"),
    "pause until": lambda: job_scheduler.pause_recurring("it", timezone.now() + HOUR),
    "remove": lambda: job_scheduler.remove_recurring("it"),
    "trigger": lambda: job_scheduler.trigger_recurring("it"),
    "change": change,
    "backfill": backfill,
}


def check(verb: str, due: datetime, *, fired_first: bool | None = None) -> None:
    """What follows, whoever was first; and nothing more comes of that hour."""
    rows = Occurrence.objects.order_by("due_at")
    fired = rows.filter(how="due").count()
    if fired_first is not None:
        assert fired == (fired_first or verb == "trigger")
    assert firing.fire_due().jobs == 0
    extra = {"trigger": 1, "backfill": 1 - fired}.get(verb, 0)
    assert rows.count() == fired + extra
    assert {*rows.values_list("job_id", flat=True)} == {*JobRecord.objects.values_list("pk", flat=True)}
    texts = {each.payload["text"] for each in JobRecord.objects.all()}
    assert texts <= {"old"}, "what was changed first is due only later"
    assert rows.filter(due_at=due).count() == (1 if verb in ("trigger", "backfill") else fired)
    found = RecurringJob.objects.filter(name="it").first()
    if found is None:
        assert verb == "remove"
        return
    assert found.fired == rows.count(), "neither writes over what the other has written"
    assert (found.last_job_id is not None) == bool(found.fired)
    if verb == "pause":
        assert (found.due_at, found.next_at) == (None, None)
    else:
        hours = 2 if verb == "change" else 1
        assert found.due_at is not None
        assert due + hours * HOUR <= found.due_at <= due + (hours + 1) * HOUR
        assert found.every_seconds == hours * 3_600


@pytest.mark.parametrize("verb", VERBS)
def test_at_one_moment_both_are_done_as_if_one_had_come_after_the_other(verb: str) -> None:
    for _ in range(ROUNDS):
        due = due_now()
        at_once(firing.fire_due, VERBS[verb])
        firing.fire_due()  # where it had passed over the row: it was in another one's hands
        check(verb, due)


@pytest.mark.postgresql  # on SQLite whoever writes second has not begun
@pytest.mark.parametrize("verb", VERBS)
def test_who_comes_while_it_is_being_fired_waits_and_builds_on_that(verb: str) -> None:
    due = due_now()
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert firing.fire_due().jobs == 1
            second = pool.submit(at_once, VERBS[verb])
            wait_for("it waits", waits_for_a_lock)
        second.result(60)
    check(verb, due, fired_first=True)


@pytest.mark.postgresql
@pytest.mark.parametrize("verb", VERBS)
def test_a_scheduler_passes_over_what_somebody_has_in_hand_and_waits_for_nobody(verb: str) -> None:
    due = due_now()
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        VERBS[verb]()
        ((jobs, looked_at),) = pool.submit(at_once, firing.fire_due).result(60)
        assert (jobs, looked_at) == (0, 0)
    firing.fire_due()
    check(verb, due, fired_first=False)
