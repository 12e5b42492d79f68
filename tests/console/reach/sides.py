"""Two sides of one site: the same of each kind on both, with the side's word in all that a page could tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.urls import URLPattern
from django.utils import timezone

from dashboard.models import SavedView
from handlers import Event, Job, Limit, Saga, handles, job_scheduler, starts
from handlers.alerts import add_rule, mute_rule
from handlers.alerts.edits import Terms
from handlers.api.clients import create_client
from handlers.audit import audit
from handlers.models import (
    AlertIncident,
    AttemptLog,
    AuditEntry,
    BulkOperation,
    FailureGroup,
    JobCount,
    JobRecord,
    JobSignal,
    LimitOverride,
    PolicyAssignment,
    QueueSwitch,
    RecurringJob,
    StoredPolicy,
    TypeSwitch,
    WorkerProcess,
    Workflow,
    WorkflowNode,
)
from handlers.models.count import Period
from handlers.registry import registry
from handlers.states import State
from tests.console.factories import fail_delivery, make_job, make_saga
from tests.console.test_matrix import World

NEAR, FAR = "zznear", "zzfar"  # the words: what is within reach of somebody, and what is not
SHARED = "refused"  # a word that is on both sides


@dataclass(frozen=True)
class NearWork(Job):
    """One side's work: zznear."""

    text: str = NEAR
    zznear_sum: int = 0


@dataclass(frozen=True)
class FarWork(Job):
    """The other side's: zzfar."""

    text: str = FAR
    zzfar_sum: int = 0


@dataclass(frozen=True)
class Began(Event):
    """What sagas of both sides begin with."""

    name: str


@dataclass(frozen=True)
class Known:
    """What they know."""

    name: str = ""


def _declare_sagas() -> None:
    class NearSaga(Saga[Known], name=f"app.{NEAR}Saga", queue=NEAR):
        @starts(Began, key="name")
        def began(self, event: Began) -> None:
            """Never called."""

    class FarSaga(Saga[Known], name=f"app.{FAR}Saga", queue=FAR):
        @starts(Began, key="name")
        def began(self, event: Began) -> None:
            """Never called."""


def _run(job: Any) -> None:
    """Never called."""


@contextmanager
def declared() -> Iterator[None]:
    """The types of both sides, each on its own queue."""
    with registry.isolated():
        for side, kind in ((NEAR, NearWork), (FAR, FarWork)):
            declare = handles(
                kind, name=f"app.{side}", queue=side, tags=(f"{side}-tag",), title=lambda job: f"about {job.text}",
                aliases=(f"app.{side}-once",), limits=[Limit(f"{side}-tills", concurrency=5)],
            )  # fmt: skip
            declare(_run)
        _declare_sagas()
        yield


class Side(World):
    """One side: what an address or a form of the console names is its own."""

    def _argument(self, name: str, argument: str) -> Any:
        facts = self.facts
        if argument == "name":
            if name.startswith("limit"):
                return facts["limit"]
            return facts["type"] if "type" in name or name == "enqueue_one" else facts["queue"]
        if argument == "fingerprint":
            return facts["resolved"] if name == "reopen_group" else facts["group_key"]
        if argument == "entry_id" and name == "undo":
            return facts["undoable"]
        return super()._argument(name, argument)

    def url(self, name: str, pattern: URLPattern) -> str:
        """An address that leads to something; a rule about bulk runs is nobody's who is limited."""
        return super().url(name, pattern).replace("kind=bulk", "kind=share")

    def form(self, name: str) -> dict[str, Any]:
        """What the page's form sends."""
        made = super().form(name)
        if name == "alert_rule":
            made |= {"queue": self.facts["queue"], "wait_minutes": "3"}
        elif name == "alert_new":
            made |= {"queue": self.facts["queue"], "job_type": self.facts["type"]}
            made |= {"percent": "25", "least": "20", "minutes": "15"}
        swapped = {"app.Note": self.facts["type"], "default": self.facts["queue"], "mail": self.facts["queue"]}
        return {key: swapped.get(value, value) if isinstance(value, str) else value for key, value in made.items()}

    @property
    def ids(self) -> list[int]:
        """The ids of its jobs."""
        found: list[int] = self.facts["jobs"]
        return found


def furnish(side: str, by: User) -> Side:
    """All of one side. ``by``: who did on both sides what can be undone."""
    now, kind, queue = timezone.now(), f"app.{side}", side
    told: dict[str, Any] = {
        "job_type": kind, "queue": queue, "payload": {"text": side, "n": 7}, "message": f"{side} {SHARED}",
        "exception": f"{side}.Error", "traceback": f"Traceback\n{side}\n", "fingerprint": f"{side}1",
        "correlation": "both", "tags": [f"{side}-own", "both"],
    }  # fmt: skip
    parent = make_job(State.SUCCEEDED, **told)
    told["parent_id"] = parent.pk
    every = [make_job(state, **told) for state in State]
    by_state = {State(job.state): job for job in every}
    failed, deleted, running = (by_state[state] for state in (State.FAILED, State.DELETED, State.PROCESSING))
    waiting = by_state[State.WAITING]
    JobSignal.objects.create(
        job=waiting, name="came", status="came", attempt=1, at=now, data={"text": side}, by=f"user:{side}"
    )
    retrying = make_job(State.SCHEDULED, retrying=True, **told)
    waits = make_job(State.ENQUEUED, age=timedelta(hours=2), **told)
    AttemptLog.objects.create(job=failed, attempt=1, lines=[["2026-05-04T07:01:02.345+00:00", "INFO", side, side]])
    failed.history.update(reason=f"{side} {SHARED}")
    for name, state in ((f"{side}1", "open"), (f"{side}2", "resolved")):
        FailureGroup.objects.create(
            pk=name, first_at=now, last_at=now, state=state, exception=f"{side}.Error", frame=f"{side}.py:1 in {side}",
            message=f"{side} {SHARED}", job_type=kind, count=3, last_job_id=failed.pk,
        )  # fmt: skip
    hour = now.replace(minute=0, second=0, microsecond=0)
    for row in ({"queue": queue}, {"job_type": kind}, {"job_type": kind, "fingerprint": f"{side}1"}):
        for outcome in ("failed", "succeeded"):
            JobCount.objects.create(period=Period.HOUR, at=hour, outcome=outcome, count=3, **row)
    QueueSwitch.objects.create(name=queue, paused_at=now, by="user:olga", reason=side)
    TypeSwitch.objects.create(name=kind, paused_at=now, by="user:olga", reason=side)
    policy = StoredPolicy.objects.create(name=f"slow {side}", updated_at=now)
    PolicyAssignment.objects.create(job_type=kind, policy=policy)
    LimitOverride.objects.create(name=f"{side}-tills", concurrency=9, updated_at=now)
    operation = BulkOperation.objects.create(
        verb="retry", selection={"states": ["failed"], "types": [kind], "queues": [queue]}, upper_id=failed.pk, count=1,
        created_at=now, progressed_at=now, reason=side, note=side, username="olga",
    )  # fmt: skip
    job_scheduler.add_or_update_recurring(f"{side} hourly", (NearWork if side == NEAR else FarWork)(), "0 * * * *")
    recurring = RecurringJob.objects.get(job_type=kind)
    workflow = Workflow.objects.create(title=f"Order {side}", created_at=now, total=1, failed=1, paused_at=now)
    node = make_job(**told)
    JobRecord.objects.filter(pk=node.pk).update(watched=True)
    WorkflowNode.objects.create(pk=node.pk, workflow_id=workflow.pk, job_type=kind, outcome="failed")
    saga = make_saga(f"name {side}", saga_type=f"app.{side}Saga", correlation="both", data={"name": side})
    fail_delivery(saga, failed, f"{side} {SHARED}")
    other = User.objects.create_user(f"{side}-target")
    view = SavedView.objects.create(
        person="nobody", person_name="target", name=f"{side} failed", query=f"state=failed&type={kind}", is_shared=True,
        saved_at=now,
    )  # fmt: skip
    rule = add_rule(Terms(f"{side} waits", "wait", queue=queue, threshold=60, emails=["ops@shop.example"]))
    mute_rule(rule.pk, now + timedelta(hours=1))
    AlertIncident.objects.create(rule=rule, key=queue, words=f"{side} waits", began_at=now, seen_at=now)
    audit(by, "delete", f"job {deleted.pk}", 1, side, {"job_ids": [deleted.pk], "from": {"enqueued": 1}})
    undoable = AuditEntry.objects.order_by("-pk")[0]
    deleted.history.update(actor=f"user:{by.get_username()}")
    audit("olga", "pause_queue", f"queue {queue}", 1, side)
    WorkerProcess.objects.create(
        name=f"{side}.1.0", host=f"{side}-host", pid=1, kind="worker", started_at=now, heartbeat_at=now,
        queues=[queue], job_id=running.pk, job_since=now,
    )  # fmt: skip
    assignee = User.objects.create_user(f"{side}-colleague", is_staff=True)
    return Side(
        {
            "type": kind, "queue": queue, "limit": f"{side}-tills", "group_key": f"{side}1", "resolved": f"{side}2",
            "failed": failed.pk, "token": failed.token, "jobrecord": failed.pk, "undoable": undoable.pk,
            "succeeded": by_state[State.SUCCEEDED].pk, "succeeded_token": by_state[State.SUCCEEDED].token,
            "deleted": deleted.pk, "deleted_token": deleted.token, "running": running.pk,
            "running_token": running.token, "waiting": waiting.pk,
            "waiting_token": waiting.token, "policy": policy.pk, "version": policy.version, "operation": operation.pk,
            "auditentry": undoable.pk, "saga": saga.pk,
            "workflow": workflow.pk, "node": node.pk, "node_token": node.token,
            "recurring": recurring.pk, "recurring_version": recurring.version,
            "client": create_client(f"{side}-billing", verbs=["read"])[0].pk, "view": view.pk, "rule": rule.pk,
            "rule_version": rule.version, "user": other.pk, "assignee": assignee.pk,
            "group": Group.objects.create(name=f"{side} empty").pk,
            "content_type": ContentType.objects.get_for_model(JobRecord).pk,
            "jobs": [parent.pk, *(job.pk for job in every), retrying.pk, waits.pk, node.pk],
        }
    )  # fmt: skip
