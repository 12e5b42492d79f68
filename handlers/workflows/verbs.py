"""The gateway's verbs for jobs that wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connections

from handlers import lifecycle
from handlers.audit import By, actor_name, audit
from handlers.current import current
from handlers.deadlines import Expiry
from handlers.exceptions import InvalidJob
from handlers.failures import clean
from handlers.job_ids import job_ids
from handlers.lifecycle import JobId, NewJob, watching
from handlers.models import JobRecord, Require, WatchedMove, When, Workflow, WorkflowNode
from handlers.models.sql import database_now, lock_jobs
from handlers.payloads import Command, Job
from handlers.publishing import publish_on_commit
from handlers.states import State
from handlers.tagging import Tags
from handlers.twins import twin
from handlers.wording import worded
from handlers.workflows.building import CHUNK, Builder
from handlers.workflows.flow import Extension, Flow, Node, Planned, Rule
from handlers.workflows.gates import check_rule
from handlers.workflows.governing import cancel, govern, publish_waiting_on_commit
from handlers.writing import writing

Work = Job | Command
LONGEST_TITLE = 200
VERBS = (
    "enqueue_workflow", "extend_workflow", "continue_with", "pause_workflow", "resume_workflow", "cancel_workflow",
    "retry_workflow", "skip",
)  # fmt: skip


class WorkflowVerbs:
    """The part of the gateway that is about workflows."""

    _new: Callable[..., tuple[list[NewJob], Any]]  # the gateway's

    @contextmanager
    def workflow(
        self,
        title: str = "",
        *,
        correlation: str | None = None,
        on_success: Work | None = None,
        on_end: Work | None = None,
        by: By = None,
        reason: str = "",
    ) -> Iterator[Flow]:
        """Make a set of jobs that wait for each other: ``with job_scheduler.workflow("Order 7") as flow:``.

        Written whole, in the caller's transaction, or not at all: the block is one itself. ``on_success`` runs once all
        nodes have succeeded, ``on_end`` once none is left to run. One that a handler opens is part of its job for those
        who wait for that. Raises InvalidJob for a block without a node, or what its calls raise.
        """
        if not isinstance(title, str) or len(title) > LONGEST_TITLE:
            raise InvalidJob(f"title: must be a text of at most {LONGEST_TITLE} characters", field="title")
        alias, parent = lifecycle.database(), current.get()
        with writing(alias):
            workflow = Workflow.objects.using(alias).create(
                title=clean(title, LONGEST_TITLE),
                created_at=database_now(connections[alias]),
                created_by=clean(actor_name(by), 150),
                opened_by=parent.job_id if parent else None,
            )
            if correlation is None:
                correlation = parent.family if parent else f"workflow-{workflow.pk}"
            builder = Builder(workflow, actor_name(by), alias)
            flow = Flow(self._maker(correlation), builder.write, chunk=CHUNK)
            flow.workflow_id = workflow.pk
            with flow.block():
                yield flow
            if not flow.count:
                raise InvalidJob(
                    "workflow: has no node: call flow.enqueue in its block, or open none", field="workflow"
                )
            ends = {"on_success": on_success, "on_end": on_end}
            nodes = {name: _plan_end(flow, name, job) for name, job in ends.items() if job is not None}
            flow.end()
            builder.check()
            workflow.total, workflow.correlation = builder.count, correlation
            workflow.on_success, workflow.on_end = (nodes[name].job_id if name in nodes else None for name in ends)
            workflow.save(using=alias)
            audit(by, "enqueue_workflow", f"workflow {workflow.pk}", builder.count, reason, None)

    def continue_with(
        self,
        parent: Any,
        job: Work,
        *,
        when: str = When.SUCCESS,
        queue: str | None = None,
        delay: timedelta | None = None,
        priority: int | None = None,
        tags: Tags = (),
        correlation: str | None = None,
        by: By = None,
        reason: str = "",
    ) -> JobId:
        """Run ``job`` once the job ``parent`` (its id), which may have ended already, has ended as ``when`` says.

        Or once each of several has, a list of ids. ``when`` is ``success``, ``failure``, ``deleted``, or ``ended`` in
        any of these ways; ``delay`` after that. If it ends otherwise for good, ``job`` is deleted. Raises InvalidJob
        (``parent``: there is no such job), or NoHandler.
        """
        rule_of = check_rule(when, Require.ALL)
        given = parent if isinstance(parent, list) else [parent]
        parents = job_ids(given)
        if not all(map(job_ids, zip(given, strict=True))) or not given:
            raise _no_parent(parent, lifecycle.database())
        alias = lifecycle.database()
        with writing(alias):
            # From here on whatever moves it tells of that; if it has ended before, this does.
            if JobRecord.objects.using(alias).filter(pk__in=parents).update(watched=True) < len(parents):
                raise _no_parent(parent, alias)
            nodes = [WorkflowNode(job_id=each) for each in parents]
            WorkflowNode.objects.using(alias).bulk_create(nodes, ignore_conflicts=True)
            if connections[alias].features.has_select_for_update:
                # A workflow that it has opened may end at this moment, by someone who does not see this node so far:
                # once that is committed, we see it.
                list(Workflow.objects.using(alias).filter(opened_by__in=parents).order_by("pk").select_for_update())
            builder = Builder(Workflow(), actor_name(by), alias)
            flow = Flow(self._maker(correlation), builder.write, chunk=CHUNK)
            rule = Rule(tuple(Node(flow, "", each) for each in parents), *rule_of)
            (new,) = flow.make([job], queue=queue, delay=delay, priority=priority, tags=tags, awaits=True)
            node = Node(flow, new.job_type)
            flow.plan([Planned(node, new, rule, delay)])
            flow.end()
            _look_at(parents, alias)
            audit(by, "continue_with", f"job {parents[0]}", 1, reason, {"job_ids": [node.job_id]})
        return node.job_id

    @contextmanager
    def extend_workflow(
        self, workflow_id: int | None = None, *, correlation: str | None = None, by: By = None, reason: str = ""
    ) -> Iterator[Extension]:
        """Add jobs to a workflow that is under way: in a handler, by default, to that of its own job.

        ``flow.node(job_id)`` is one of the jobs that it has, ``flow.this`` the one that runs here. Raises InvalidJob
        for an unknown workflow, or one that has ended.
        """
        alias, job = lifecycle.database(), current.get()
        with writing(alias):
            if workflow_id is None and job is not None:
                found = WorkflowNode.objects.using(alias).filter(pk=job.job_id)
                workflow_id = found.values_list("workflow_id", flat=True).first()
            if workflow_id is None:
                raise InvalidJob(
                    "workflow: name it outside of its own jobs: job_scheduler.extend_workflow(workflow_id)",
                    field="workflow",
                )
            workflow = _locked(workflow_id, alias)
            # Those of the end wait for all others: nobody can wait for them.
            nodes = WorkflowNode.objects.using(alias).filter(workflow_id=workflow.pk, counts=True)
            if workflow.finished_at or workflow.cancelled_at:
                raise InvalidJob(f"workflow: {workflow.pk} has ended, so nothing can be added to it", field="workflow")
            builder = Builder(workflow, actor_name(by), alias)
            flow = Extension(
                self._maker(correlation or workflow.correlation),
                builder.write,
                chunk=CHUNK,
                has=lambda job_id: nodes.filter(pk=job_id).exists(),
                this=job.job_id if job else None,
            )
            flow.workflow_id = workflow.pk
            with flow.block():
                yield flow
            flow.end()
            builder.check()
            Workflow.objects.using(alias).filter(pk=workflow.pk).update(total=workflow.total + builder.count)
            _look_at(sorted(flow.existing), alias)
            audit(by, "extend_workflow", f"workflow {workflow.pk}", builder.count, reason, None)

    def pause_workflow(self, workflow_id: int, *, by: By = None, reason: str = "") -> bool:
        """Let no further job of it start. Running ones finish. Whether it was not paused, nor over."""
        alias = lifecycle.database()
        with writing(alias):
            rows = Workflow.objects.using(alias).filter(pk=_known(workflow_id), paused_at=None, finished_at=None)
            paused = rows.update(paused_at=database_now(connections[alias])) == 1
            audit(by, "pause_workflow", f"workflow {workflow_id}", int(paused), reason, None)
        return paused

    def resume_workflow(self, workflow_id: int, *, by: By = None, reason: str = "") -> bool:
        """Let its jobs start again; whether it was paused."""
        alias = lifecycle.database()
        with writing(alias):
            rows = Workflow.objects.using(alias).filter(pk=_known(workflow_id), paused_at__isnull=False)
            resumed = rows.update(paused_at=None) == 1
            audit(by, "resume_workflow", f"workflow {workflow_id}", int(resumed), reason, None)
            if resumed:
                publish_waiting_on_commit(_known(workflow_id), alias)
        return resumed

    def cancel_workflow(self, workflow_id: int, *, by: By = None, reason: str = "") -> bool:
        """Delete all of its jobs that have not succeeded; running ones are asked to stop. Whether it was not over.

        ``on_end`` runs then. The first thousand at once, the rest in the background.
        """
        alias = lifecycle.database()
        with writing(alias):
            why = reason or "its workflow was cancelled"
            cancelled = cancel(_known(workflow_id), actor_name(by), why, alias)
            audit(by, "cancel_workflow", f"workflow {workflow_id}", int(cancelled), reason, None)
        return cancelled

    def retry_workflow(self, workflow_id: int, *, by: By = None, reason: str = "") -> int:
        """Run all of its failed jobs again, and what depends on them; how many at once, the rest in the background."""
        alias = lifecycle.database()
        with writing(alias):
            count = govern("retry", _known(workflow_id), 0, actor_name(by), reason, alias)
            audit(by, "retry_workflow", f"workflow {workflow_id}", count, reason, None)
        return count

    def skip(self, job_id: Any, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """Delete a failed job that others wait for, and let these go on as if it had succeeded."""
        alias = lifecycle.database()
        with writing(alias):
            ids = job_ids([job_id])
            jobs = JobRecord.objects.using(alias).filter(pk__in=ids, state=State.FAILED)
            jobs = jobs if expect is None else jobs.filter(token=expect)
            jobs = lock_jobs(jobs)
            known = list(jobs.values_list("pk", flat=True))
            if not WorkflowNode.objects.using(alias).filter(pk__in=known).update(skip=True):
                return False
            applied = lifecycle.delete(known, actor=actor_name(by), reason=reason or "skipped")
            audit(by, "skip", f"job {ids[0]}", len(applied.moved), reason, {"job_ids": ids})
            publish_on_commit(applied.messages, using=alias, stale=applied.stale)
        return bool(applied.moved)

    acontinue_with = twin(continue_with)
    apause_workflow = twin(pause_workflow)
    aresume_workflow = twin(resume_workflow)
    acancel_workflow = twin(cancel_workflow)
    aretry_workflow = twin(retry_workflow)
    askip = twin(skip)

    def _maker(self, correlation: str | None) -> Callable[..., list[NewJob]]:
        def make(
            jobs: Iterable[Work],
            *,
            queue: str | None = None,
            expires: Expiry = None,
            delay: timedelta | None = None,
            priority: int | None = None,
            tags: Tags = (),
            without: Collection[str] = (),
            awaits: bool = False,
            places: Sequence[int] | None = None,
        ) -> list[NewJob]:
            new, _ = self._new(
                jobs, queue, correlation, expires, unique=False, priority=priority, tags=tags, delay=delay,
                without=without, watched=True, awaits=awaits, places=places,
            )  # fmt: skip
            return new

        return make


def _plan_end(flow: Flow, role: str, job: Work) -> Node:
    try:
        (new,) = flow.make([job], awaits=True)
    except InvalidJob as error:
        raise InvalidJob(f"{role}: {error}", field=role) from error
    node = Node(flow, new.job_type)
    flow.plan([Planned(node, new, None, None, counts=False)])
    return node


def _no_parent(parent: Any, alias: str) -> InvalidJob:
    """Of one that is no job; of several, the first that is none."""
    if not isinstance(parent, list):
        return InvalidJob(f"parent: there is no job {str(parent)[:50]!r}", field="parent")
    there = set(JobRecord.objects.using(alias).filter(pk__in=job_ids(parent)).values_list("pk", flat=True))
    for place, each in enumerate(parent):
        if not there.issuperset(job_ids([each]) or [0]):
            field = f"parent.{place}"
            return InvalidJob(f"{field}: there is no job {str(each)[:50]!r}", field=field)
    return InvalidJob("parent: the list names no job", field="parent")


def _known(workflow_id: Any) -> int:
    (known,) = job_ids([workflow_id]) or (0,)
    return known


def _locked(workflow_id: Any, alias: str) -> Workflow:
    rows = Workflow.objects.using(alias).filter(pk=_known(workflow_id))
    if (workflow := rows.select_for_update().first()) is None:  # SQLite passes the lock over
        raise InvalidJob(
            worded("workflow: there is no workflow %(workflow_id)s", workflow_id=repr(str(workflow_id)[:50])),
            field="workflow",
        )
    return workflow


def _look_at(ids: Sequence[int], alias: str) -> None:
    """Have those who wait for these jobs brought up to date after the commit: some may have ended already."""
    if ids:
        connection = connections[alias]
        WatchedMove.objects.using(alias).create(jobs=list(ids), at=database_now(connection))
        watching.tell(connection)
