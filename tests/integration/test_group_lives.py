"""The life of a failure group: people put it away, failures bring it back, and each change is told once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from handlers import deploys, failure_groups, folding, job_scheduler
from handlers.exceptions import InvalidJob
from handlers.models import AuditEntry, FailureGroup, GroupEvent
from handlers.recovery import Recovery
from tests.app.jobs import Fail
from tests.running import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


def fail(times: int = 1) -> FailureGroup:
    """The group after some more failures of its one kind."""
    ids = [job_scheduler.enqueue(Fail(9, "one")) for _ in range(times)]
    run(*ids)
    folding.fold_all()
    return FailureGroup.objects.get()


def told(*kinds: str) -> list[str]:
    """The events, or those of some kinds."""
    found = GroupEvent.objects.order_by("pk").values_list("kind", flat=True)
    return [kind for kind in found if not kinds or kind in kinds]


def of_regression() -> dict[str, Any]:
    """What is told of the one time that it came back."""
    return dict(GroupEvent.objects.get(kind="regressed").data or {})


def test_new_group_is_open_and_told_once(settings: Any) -> None:
    settings.JOBS = {"VERSION": "1"}
    group = fail()
    assert (group.state, group.is_open, group.first_version, group.versions) == ("open", True, "1", [["1", 1]])
    settings.JOBS = {"VERSION": "2"}
    group = fail(2)
    assert (group.first_version, group.last_version, group.versions) == ("1", "2", [["1", 1], ["2", 2]])
    assert (told(), group.count) == (["new"], 3)


def test_resolved_group_regresses_with_its_next_failure() -> None:
    group = fail()
    assert job_scheduler.resolve_group(group.pk, by="ann", reason="mended")
    assert not job_scheduler.resolve_group(group.pk), "it is"
    folding.fold_all()
    assert FailureGroup.objects.get().state == "resolved"
    group = fail()
    assert (group.state, group.is_open, group.count, group.state_by) == ("regressed", True, 2, "scheduler")
    assert group.regressed_at == group.last_at
    assert told() == ["new", "resolved", "regressed"]
    assert of_regression()["resolved_by"] == "ann"
    fail()
    assert told("regressed") == ["regressed"], "once for each time that it was resolved"
    entry = AuditEntry.objects.get(verb="resolve_group")
    assert (entry.username, entry.reason, entry.count) == ("ann", "mended", 1)
    assert entry.target == f"failure group {group.pk} ({group.exception})"


def test_failure_from_before_it_was_resolved_does_not_reopen_it_when_it_is_counted_later() -> None:
    group = fail()
    run(job_scheduler.enqueue(Fail(9, "one")))  # not folded yet
    job_scheduler.resolve_group(group.pk)
    folding.fold_all()
    assert FailureGroup.objects.values_list("state", "count").get() == ("resolved", 2)


def test_old_workers_do_not_reopen_what_a_version_mends(settings: Any) -> None:
    settings.JOBS = {"VERSION": "1"}
    deploys.mark("1")
    group = fail()
    assert job_scheduler.resolve_group(group.pk, "2")
    assert fail().state == "resolved"
    deploys.mark("2")
    assert fail().state == "resolved"
    settings.JOBS = {"VERSION": "2"}
    assert fail().state == "regressed"
    assert of_regression()["version"] == "2"


def test_next_version_is_any_that_is_not_in_use_yet(settings: Any) -> None:
    group = fail()
    with pytest.raises(InvalidJob, match="no version is known here"):
        job_scheduler.resolve_group(group.pk, "next")
    settings.JOBS = {"VERSION": "1"}
    assert job_scheduler.resolve_group(group.pk, "next")
    assert fail().state == "resolved"
    settings.JOBS = {"VERSION": "2"}
    assert fail().state == "regressed"


def test_ignored_group_stays_so_until_it_has_happened_so_often() -> None:
    group = fail()
    assert job_scheduler.ignore_group(group.pk, times=3)
    assert fail(2).state == "ignored"
    assert fail().state == "open"
    assert told() == ["new", "ignored", "unignored"]
    job_scheduler.ignore_group(group.pk)
    assert fail(5).state == "ignored", "for good"


def test_ignored_group_opens_when_its_time_is_over_whichever_scheduler_looks() -> None:
    group = fail()
    assert job_scheduler.ignore_group(group.pk, until=timezone.now() + timedelta(hours=1))
    Recovery().tick()
    assert fail().state == "ignored"
    FailureGroup.objects.update(ignored_until=timezone.now() - timedelta(seconds=1))

    def look() -> int:
        try:
            return failure_groups.end_ignoring()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        assert sum(each.result() for each in [pool.submit(look), pool.submit(look)]) == 1
    assert FailureGroup.objects.get().state == "open"
    assert told("unignored") == ["unignored"]


def test_two_folds_and_a_person_at_once_lose_nothing() -> None:
    group = fail()
    job_scheduler.resolve_group(group.pk)
    run(*[job_scheduler.enqueue(Fail(9, "one")) for _ in range(20)])

    def act(number: int) -> None:
        try:
            if number % 2:
                folding.fold(limit=5)
            else:
                job_scheduler.note_group(group.pk, f"note {number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(8)))
    folding.fold_all()
    assert FailureGroup.objects.values_list("count", "state").get() == (21, "regressed")
    assert told("regressed") == ["regressed"]
    assert GroupEvent.objects.filter(kind="note").count() == 4


def test_verbs_leave_alone_what_has_moved_on_since_it_was_seen() -> None:
    group = fail()
    assert job_scheduler.ignore_group(group.pk, expect=group.mark)
    assert not job_scheduler.resolve_group(group.pk, expect=group.mark)
    assert not job_scheduler.reopen_group(group.pk, expect=group.mark)
    group.refresh_from_db()
    assert group.state == "ignored"
    assert job_scheduler.reopen_group(group.pk, expect=group.mark)
    assert not job_scheduler.reopen_group(group.pk)
    assert told() == ["new", "ignored", "reopened"]


def test_what_makes_no_sense_is_refused_and_nothing_written() -> None:
    group = fail()
    now = timezone.now()
    for act, field in (
        (lambda: job_scheduler.resolve_group(group.pk, "x" * 65), "version"),
        (lambda: job_scheduler.ignore_group(group.pk, until=now), "until"),
        (lambda: job_scheduler.ignore_group(group.pk, until=now.replace(tzinfo=None)), "until"),
        (lambda: job_scheduler.ignore_group(group.pk, until=now + timedelta(days=9_999)), "until"),
        (lambda: job_scheduler.ignore_group(group.pk, times=0), "times"),
        (lambda: job_scheduler.note_group(group.pk, " "), "text"),
        (lambda: job_scheduler.note_group(group.pk, "x" * 2_001), "text"),
        (lambda: job_scheduler.resolve_group("nothing"), "group"),
        (lambda: job_scheduler.resolve_group("a\0b"), "group"),
    ):
        with pytest.raises(InvalidJob) as refused:
            act()
        assert refused.value.field == field
    assert (told(), FailureGroup.objects.get().state) == (["new"], "open")


def test_assignee_and_notes_are_kept_with_who_and_when() -> None:
    group, ann = fail(), User.objects.create_user("ann")
    assert job_scheduler.assign_group(group.pk, ann, by=ann)
    assert not job_scheduler.assign_group(group.pk, ann, by=ann)
    job_scheduler.note_group(group.pk, "The carrier's\x00 certificate is over.", by=ann)
    note = GroupEvent.objects.get(kind="note")
    assert (note.actor, note.text) == ("user:ann", "The carrier's\N{REPLACEMENT CHARACTER} certificate is over.")
    assert list(AuditEntry.objects.values_list("verb", flat=True).order_by("pk")) == ["assign_group", "note_group"]
    User.objects.update(is_active=False)
    ann.refresh_from_db()
    with pytest.raises(InvalidJob, match="not active"):
        job_scheduler.assign_group(group.pk, ann)
    ann.delete()
    assert FailureGroup.objects.get().assignee_id is None


def test_notes_are_bounded_and_events_age_out() -> None:
    group = fail()
    GroupEvent.objects.bulk_create(
        GroupEvent(group=group, kind=kind, at=timezone.now() - timedelta(days=500), text="x")
        for kind in ["note"] * 100 + ["assigned"] * 5
    )
    with pytest.raises(InvalidJob, match="up to 100 notes"):
        job_scheduler.note_group(group.pk, "one more")
    assert not failure_groups.forget()
    assert set(told()) == {"new", "note"}
