"""Jobs that ended long ago are erased."""

from __future__ import annotations

from datetime import datetime

from django.db import connections
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from handlers.exceptions import InvalidJob
from handlers.lifecycle.moves import Change, Move, Step, apply
from handlers.models import (
    AttemptError,
    AttemptLog,
    Gate,
    GateParent,
    JobHistory,
    JobPayload,
    JobRecord,
    JobResult,
    JobSignal,
    JobStep,
    JobTag,
    JobTrace,
    NodeInput,
    RQOrigin,
    RunState,
    TaskMetadata,
    UniqueKey,
    Workflow,
    WorkflowNode,
)
from handlers.models.kept import database
from handlers.models.sql import is_postgresql
from handlers.states import ACTIVE, FINAL, State
from handlers.writing import writing

AGEING = [State.SUCCEEDED, State.DELETED]  # as the index jobs_ageing has them
# Others may wait for it: they have to hear of its end before it is erased.
UNMENDED = Change(
    State.FAILED, (Step(State.DELETED, "it failed, and nobody has retried it for as long as such jobs are kept"),)
)


def age_out(state: State, *, before: datetime, limit: int = 500) -> int:
    """Erase up to ``limit`` jobs that ended in ``state`` before ``before``, with all that hangs on them; how many.

    None of whose end others have not heard so far: as of a job that has opened a workflow which is under way. A failed
    job for which others may wait is deleted first, and counts as well.
    """
    if state not in FINAL:
        raise InvalidJob(f"only final states age out, not {state}", field="state")
    alias = database()
    with writing(alias):
        rows = JobRecord.objects.using(alias).filter(state=state, finished_at__lt=before).order_by("finished_at", "pk")
        if state in AGEING:
            rows = rows.filter(state__in=AGEING)  # SQLite takes a partial index only when its own condition is there
        if is_postgresql(connections[alias]):
            rows = rows.select_for_update(skip_locked=True)
        rows = rows.exclude(_is_awaited(alias))
        found = list(rows.values_list("pk", "token", "watched")[:limit])
        first = [Move(pk, token, UNMENDED) for pk, token, watched in found if watched and state == State.FAILED]
        deleted = apply(first, actor="scheduler", using=alias)
        stay = {move.job_id for move in first}
        if any(watched for *_, watched in found):
            # Read anew now that they are locked: meanwhile somebody may have begun to wait for one.
            awaited = JobRecord.objects.using(alias).filter(_is_awaited(alias), pk__in=[pk for pk, *_ in found])
            stay.update(awaited.values_list("pk", flat=True))
        ids = [pk for pk, *_ in found if pk not in stay]
        gates = WorkflowNode.objects.using(alias).filter(pk__in=ids, workflow_id=None).values_list("gate_id", flat=True)
        theirs = [gate for gate in gates if gate]
        Gate.objects.using(alias).filter(pk__in=theirs)._raw_delete(alias)
        GateParent.objects.using(alias).filter(Q(parent_id__in=ids) | Q(gate_id__in=theirs))._raw_delete(alias)
        for model in (
            JobHistory,
            AttemptError,
            AttemptLog,
            JobPayload,
            JobResult,
            JobSignal,
            JobStep,
            JobTag,
            JobTrace,
            RunState,
            TaskMetadata,
            NodeInput,
            WorkflowNode,
        ):
            children = model._default_manager.using(alias).filter(job_id__in=ids)
            children._raw_delete(alias)
        RQOrigin.objects.using(alias).filter(job_id__in=ids, in_redis=False)._raw_delete(alias)
        UniqueKey.objects.using(alias).filter(Q(held_until=None) | Q(held_until__lt=Now()), job_id__in=ids).delete()
        JobRecord.objects.using(alias).filter(pk__in=ids)._raw_delete(alias)
    return len(ids) + len(deleted.moved)


def _is_awaited(using: str) -> Q:
    """Of which jobs others have not heard how they ended. Of one that failed they may wait for another end."""
    nodes = WorkflowNode.objects.using(using).filter(pk=OuterRef("pk"), outcome="")
    unmet = GateParent.objects.using(using).filter(parent_id=OuterRef("pk"), verdict="")
    return Q(watched=True) & ~Q(state=State.FAILED) & (Q(Exists(nodes)) | Q(Exists(unmet)))


def forget_keys(limit: int = 5_000) -> bool:
    """Erase up to ``limit`` keys whose period is over and that no job holds any more; whether there may be more.

    The others go with their jobs, which may be erased long before a period is over.
    """
    alias = database()
    over = UniqueKey.objects.using(alias).filter(held_until__lt=Now())
    holder = JobRecord.objects.using(alias).filter(pk=OuterRef("job_id"), state__in=ACTIVE)
    keys = list(over.exclude(Exists(holder)).values_list("pk", flat=True)[:limit])
    over.filter(pk__in=keys).delete()  # unless one was taken anew meanwhile
    return len(keys) == limit


def forget_workflows(*, before: datetime, limit: int = 100) -> bool:
    """Erase up to ``limit`` workflows that ended before ``before``, once their jobs are; whether there may be more."""
    alias = database()
    nodes = WorkflowNode.objects.using(alias).filter(workflow_id=OuterRef("pk"))
    over = Workflow.objects.using(alias).filter(finished_at__lt=before).order_by("finished_at", "pk")
    ids = list(over.exclude(Exists(nodes)).values_list("pk", flat=True)[:limit])
    Gate.objects.using(alias).filter(workflow_id__in=ids).delete()
    Workflow.objects.using(alias).filter(pk__in=ids).delete()
    return len(ids) == limit
