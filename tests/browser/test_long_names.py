"""Names as long as they may be, without a place to break: they fit the screen, and push nothing off it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from handlers import Job, handles, job_scheduler
from handlers.models import (
    AttemptError,
    AttemptLog,
    AuditEntry,
    BulkOperation,
    FailureGroup,
    JobCount,
    JobRecord,
    Occurrence,
    RecurringJob,
    StoredPolicy,
    WorkerProcess,
)
from handlers.policy_edits import assign, save_policy
from handlers.registry import registry
from handlers.selection import Selection
from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.browser.pages import JOBS, LISTS
from tests.browser.pages import furnish as furnish_all
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

PERSON = "P" * 150
TYPE = "shop." + "T" * 195
QUEUE = "q" * 64
GONE = "g" * 64  # a queue that nobody serves or names
WORKER = "w" * 100
POLICY = "p" * 60
WORD = "x" * 500
GROUP = "00000000000000bb"
# What is wider than the screen, and where there is room for all of it also what scrolls inside the page.
WIDER = """(hasRoom) => {
  const inside = hasRoom ? document.querySelectorAll(".module, table.plain") : [];
  return [document.documentElement, ...inside]
    .map((element) => [element, element.scrollWidth - element.clientWidth])
    .filter(([, wider]) => wider > 1)
    .map(([element, wider]) => `${element.tagName} ${element.className}: ${wider} px too wide`);
}"""


@dataclass(frozen=True)
class Long(Job):
    """Its name is as long as it may be."""

    argument_with_a_long_name_that_goes_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on: str = "x"


def _nothing(job: Long) -> None:
    """Never called."""


@pytest.fixture(autouse=True)
def _long_type() -> Iterator[None]:
    with registry.isolated():
        handles(Long, name=TYPE, queue=QUEUE, aliases=("a" * 200,))(_nothing)
        yield


def furnish() -> tuple[User, list[JobRecord]]:
    """Something with a long name on every page."""
    now = timezone.now()
    user = User.objects.create_superuser(PERSON, password="secret", email=f"{'e' * 60}@{'d' * 60}.example")
    group = Group.objects.create(name="g" * 150)
    user.groups.add(group)
    payload = {"argument" * 20: WORD, "text": WORD}
    parent = make_job(State.SUCCEEDED, job_type=TYPE, queue=QUEUE, payload=payload)
    others = [
        make_job(state, job_type=TYPE, queue=QUEUE, payload=payload)
        for state in (State.PROCESSING, State.ENQUEUED, State.DELETED)
    ]
    JobRecord.objects.update(worker=WORKER)
    job = make_job(
        job_type=TYPE, queue=QUEUE, payload=payload, message=WORD, exception="E" * 200, fingerprint=GROUP,
        parent_id=parent.pk, correlation="c" * 64,
    )  # fmt: skip
    JobRecord.objects.filter(pk=job.pk).update(worker=WORKER, error="E" * 200, created_by=f"user:{PERSON}"[:150])
    job.history.update(actor=WORKER, reason=WORD)
    AttemptError.objects.filter(job=job).update(frame="f" * 300)
    AttemptLog.objects.create(job=job, attempt=1, lines=[["2026-05-04T07:01:02.345+00:00", "WARNING", "l" * 90, WORD]])
    FailureGroup.objects.create(
        fingerprint=GROUP, exception="E" * 200, frame="f" * 300, message=WORD, first_at=now, last_at=now, count=10**9
    )
    for period in ("hour", "day"):
        JobCount.objects.create(
            period=period, at=now.replace(minute=0, second=0, microsecond=0), job_type=TYPE, outcome="failed",
            fingerprint=GROUP, count=10**9,
        )  # fmt: skip
    WorkerProcess.objects.create(
        name=WORKER, kind="worker", host="h" * 100, pid=4411, queues=[QUEUE], started_at=now - timedelta(hours=5),
        heartbeat_at=now, done=10**9, failed=10**9, memory_bytes=10**12, job_id=job.pk,
    )  # fmt: skip
    job_scheduler.pause_queue(QUEUE, now + timedelta(days=3), by=user, reason=WORD)
    job_scheduler.pause_type(TYPE, by=user, reason=WORD)
    policy = save_policy(None, {"name": POLICY}, by=user, reason=WORD)
    assign(TYPE, policy, by=user)
    failed = Selection(states=("failed",), types=(TYPE,), text=(WORD[:300],))
    job_scheduler.start_bulk("retry", failed, by=user, reason=WORD)
    AuditEntry.objects.create(
        at=now, username=PERSON, verb="assign_policy", target=f"type {TYPE}"[:200], count=1, reason=WORD,
        source="2001:0db8:" * 4, data={"before": "b" * 60, "after": "a" * 60},
    )  # fmt: skip
    name, zone = f"{'N' * 195} last", "America/Argentina/ComodRivadavia"
    job_scheduler.add_or_update_recurring(
        name, Long("x" * 500), f"0 0 {','.join(map(str, range(1, 32)))} {','.join(map(str, range(1, 13)))} *",
        timezone=zone, jitter=timedelta(days=9), queue=QUEUE, heartbeat_url=f"https://{'h' * 300}.example/{'p' * 100}",
        by=user, reason=WORD,
    )  # fmt: skip
    recurring = RecurringJob.objects.get()
    for late in range(20):
        Occurrence.objects.create(
            recurring=recurring, due_at=now - timedelta(days=late), fired_at=now, how="missed", skipped=10**9,
        )  # fmt: skip
    RecurringJob.objects.update(last_at=now, last_job_id=job.pk, fired=10**12, skipped=10**12)
    Occurrence.objects.create(
        recurring=recurring, due_at=now + timedelta(days=1), fired_at=now, how="due", job_id=job.pk
    )
    job_scheduler.pause_recurring(name, now + timedelta(days=3), by=user, reason=WORD)
    waiting = make_job(State.ENQUEUED, job_type=TYPE, queue=GONE, payload=payload)
    moved = make_job(State.FAILED, job_type=TYPE, queue=GONE, payload=payload)
    assert job_scheduler.move(moved.pk, QUEUE, by=user, reason=WORD)
    return user, [parent, *others, waiting, moved, job]


def test_names_as_long_as_they_may_be_fit_the_screen(new_page: NewPage, live_server: Any) -> None:
    user, jobs = furnish()
    page = new_page()
    sign_in(page, live_server.url, PERSON)
    recurring = RecurringJob.objects.get().pk
    policy = f"/admin/retry-policies/{StoredPolicy.objects.get().pk}/"
    urls = [
        "/admin/",
        JOBS,
        f"{JOBS}?type={TYPE}&queue={QUEUE}&worker={WORKER}",
        *(f"{JOBS}{job.pk}/change/" for job in jobs),
        f"{JOBS}{jobs[-1].pk}/edit/",
        f"/admin/failures/?type={TYPE}",
        f"/admin/failures/{GROUP}/",
        "/admin/bulk/",
        f"/admin/bulk/new/?verb=retry&type={TYPE}",
        f"/admin/bulk/new/?verb=move&queue={GONE}",
        f"/admin/bulk/{BulkOperation.objects.get().pk}/",
        "/admin/queues/",
        "/admin/workers/",
        "/admin/job-types/",
        f"/admin/job-types/{TYPE}/",
        f"/admin/job-types/{TYPE}/enqueue/",
        f"/admin/job-types/?q={'t' * 200}",
        "/admin/recurring/",
        "/admin/recurring/day/?zone=America/Argentina/ComodRivadavia",
        f"/admin/recurring/new/?type={TYPE}",
        *(f"/admin/recurring/{recurring}/{what}" for what in ("", "edit/", "backfill/", "delete/")),
        "/admin/retry-policies/",
        policy,
        f"{policy}delete/",
        "/admin/jobs/auditentry/",
        "/admin/auth/user/",
        f"/admin/auth/user/{user.pk}/change/",
        f"/admin/auth/group/{user.groups.get().pk}/change/",
    ]
    found = []

    def look(what: str) -> None:
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 844})
            if wider := page.evaluate(WIDER, width == 1280):
                found.append(f"{what.replace(TYPE, 'TYPE')}, {width} px: {', '.join(wider)}")

    for url in urls:
        answer = page.goto(live_server.url + url)
        assert answer
        assert answer.status == 200, url
        look(url)
    page.goto(f"{live_server.url}{JOBS}{jobs[-1].pk}/change/")
    page.get_by_role("button", name="Move to another queue").click()
    page.get_by_label("To queue").wait_for()
    look("where to move it")
    assert not found, "\n".join(found)


def test_lists_in_a_language_of_long_words_fit_the_screen(new_page: NewPage, live_server: Any) -> None:
    User.objects.create_superuser("admin", password="secret")
    furnish_all()
    page, found = new_page(locale="de-DE"), []
    sign_in(page, live_server.url, "admin", heading="Übersicht")
    for path in LISTS:
        for width in (1440, 820, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(live_server.url + path)
            found += [f"{path}, {width} px: {wider}" for wider in page.evaluate(WIDER, width > 390)]
    assert page.evaluate("document.documentElement.lang") == "de"
    assert not found, "\n".join(found)
