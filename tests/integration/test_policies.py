"""Policies that people edit while jobs run: the next failure already follows them."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from handlers import InvalidJob, job_scheduler, policies
from handlers.models import AuditEntry, JobHistory, PolicyAssignment, StoredPolicy
from handlers.policies import effective, effective_many
from handlers.policy_edits import assign, assign_types, delete_policy, save_policy
from handlers.registry import registry
from handlers.states import State
from tests.app.jobs import Fail, Hostile
from tests.running import NotingTransport, facts, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

SLOW = {"name": "mail-slow", "max_attempts": 5, "backoff": "fixed", "delay_seconds": 3600, "jitter": 0}


def saved(**changes: Any) -> StoredPolicy:
    """A stored policy."""
    return save_policy(None, SLOW | changes, by="test")


def data_of(row: AuditEntry | JobHistory) -> dict[str, Any]:
    """The row's facts."""
    assert row.data is not None
    return dict(row.data)


def last_reason(job_id: int) -> str:
    """Why the job is where it is."""
    return JobHistory.objects.filter(job=job_id).order_by("-pk")[0].reason


def test_assigned_policy_decides_the_next_failure_and_says_so() -> None:
    job = job_scheduler.enqueue(Fail(9))
    assign("app.Fail", saved(), by="test")
    run(job)
    assert last_reason(job) == "attempt failed with ValueError; retry 1 of 4 in 1 h, by policy mail-slow"
    failed = JobHistory.objects.get(job=job, to_state=State.FAILED)
    assert data_of(failed)["policy"] == "mail-slow"


def test_change_holds_at_once_and_the_code_again_after_the_delete() -> None:
    policy = saved()
    assign("app.Hostile", policy, by="test")
    first, second, third = (job_scheduler.enqueue(Hostile("str")) for _ in range(3))
    run(first)
    assert facts(first, "state") == (State.SCHEDULED,)
    save_policy(policy.pk, {"max_attempts": 1, "on_exhausted": "delete"}, expect_version=1, by="test")
    run(second)
    assert facts(second, "state") == (State.DELETED,)
    assert delete_policy(policy.pk, by="test") == ["app.Hostile"]
    run(third)
    assert facts(third, "state") == (State.FAILED,)
    assert not PolicyAssignment.objects.exists()


@pytest.mark.parametrize("how", ["atomic", "manual", "begin", "closed"])
def test_connection_that_a_handler_left_broken_does_not_lose_the_policy(how: str) -> None:
    assign("app.Hostile", saved(), by="test")
    # These handlers return; the failure comes from outside, with the connection as they left it.
    job = job_scheduler.enqueue(Hostile(how))
    run(job)
    assert facts(job, "state") == (State.SUCCEEDED,)
    assert effective(registry.get("app.Hostile")).name == "mail-slow"


def test_database_away_leaves_the_policy_last_known(monkeypatch: pytest.MonkeyPatch) -> None:
    job_type = registry.get("app.Fail")
    assign("app.Fail", saved(), by="test")
    assert effective(job_type).name == "mail-slow"

    def away(*args: Any) -> Any:
        raise OperationalError("the database is away")

    monkeypatch.setattr(policies, "effective_many", away)
    assert effective(job_type).policy.max_attempts == 5
    other = registry.get("app.Note")
    policies._last.pop("app.Note", None)
    assert effective(other) == policies.Effective(other.retry)


def test_row_that_makes_no_policy_leaves_the_codes() -> None:
    policy = saved()
    assign("app.Fail", policy, by="test")
    StoredPolicy.objects.filter(pk=policy.pk).update(delay_seconds=1e300)
    job_type = registry.get("app.Fail")
    assert effective(job_type) == policies.Effective(job_type.retry)
    StoredPolicy.objects.filter(pk=policy.pk).update(delay_seconds=1, backoff="what")
    assert effective(job_type).stored is None


def test_many_types_cost_one_query() -> None:
    assign("app.Fail", saved(), by="test")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = effective_many(registry.all())
    assert len(queries) == 1
    assert {name for name, one in found.items() if one.stored} == {"app.Fail"}
    assert found["app.Note"].policy == registry.get("app.Note").retry


def test_stale_edit_is_told_and_not_forced() -> None:
    policy = saved()
    save_policy(policy.pk, {"max_attempts": 6}, expect_version=1, by="ann")
    with pytest.raises(InvalidJob, match="someone changed 'mail-slow'") as caught:
        save_policy(policy.pk, {"max_attempts": 7}, expect_version=1, by="bob")
    assert caught.value.field == "version"
    with pytest.raises(InvalidJob, match="someone changed"):
        delete_policy(policy.pk, expect_version=1, by="bob")
    assert StoredPolicy.objects.get().max_attempts == 6
    delete_policy(policy.pk, expect_version=2, by="ann")
    with pytest.raises(InvalidJob, match="has been deleted"):
        save_policy(policy.pk, {"max_attempts": 7}, expect_version=2, by="bob")
    with pytest.raises(InvalidJob, match="has been deleted"):
        assign("app.Fail", policy, by="bob")


def test_name_is_used_once() -> None:
    saved()
    with pytest.raises(InvalidJob, match="there is a policy 'mail-slow' already") as caught:
        saved()
    assert caught.value.field == "name"
    assert StoredPolicy.objects.count() == 1


def test_unknown_type_cannot_be_assigned_but_can_be_freed() -> None:
    policy = saved()
    with pytest.raises(InvalidJob, match="is registered here"):
        assign("app.Gone", policy, by="test")
    PolicyAssignment.objects.create(job_type="app.Gone", policy=policy)
    assert assign("app.Gone", None, by="test")
    assert not assign("app.Gone", None, by="test")


def test_every_change_is_on_the_audit_with_before_and_after() -> None:
    policy = saved()
    save_policy(policy.pk, {"max_attempts": 6}, by="ann", reason="too soon")
    save_policy(policy.pk, {"max_attempts": 6}, by="ann", reason="nothing new")
    assert assign_types(policy, ["app.Fail", "app.Note"], by="ann") == 2
    assert assign_types(policy, ["app.Note"], by="ann") == 1
    delete_policy(policy.pk, by="ann")
    entries = list(AuditEntry.objects.order_by("pk"))
    assert [entry.verb for entry in entries] == [
        "save_policy", "save_policy", "assign_policy", "assign_policy", "assign_policy", "delete_policy",
    ]  # fmt: skip
    assert data_of(entries[0])["before"] is None
    assert (data_of(entries[1])["before"]["max_attempts"], data_of(entries[1])["after"]["max_attempts"]) == (5, 6)
    assert entries[1].reason == "too soon"
    assert (entries[4].target, data_of(entries[4])["before"], data_of(entries[4])["after"]) == (
        "type app.Fail", "mail-slow", None,
    )  # fmt: skip
    assert data_of(entries[5])["before"]["types"] == ["app.Note"]
    assert all(data_of(entry)["policies"] == [policy.pk] for entry in entries)


def test_wrong_type_among_several_changes_nothing(noting: NotingTransport) -> None:
    policy = saved()
    with pytest.raises(InvalidJob):
        assign_types(policy, ["app.Fail", "app.Nonsense"], by="test")
    assert not PolicyAssignment.objects.exists()
