"""Jobs that ended long ago are erased."""

from __future__ import annotations

from datetime import datetime

from django.db import connections, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from handlers.exceptions import InvalidJob
from handlers.models import (
    AttemptError,
    AttemptLog,
    Gate,
    GateParent,
    JobHistory,
    JobPayload,
    JobRecord,
    JobResult,
    NodeInput,
    UniqueKey,
    Workflow,
    WorkflowNode,
)
from handlers.models.kept import database
from handlers.models.sql import is_postgresql, take_lock
from handlers.states import ACTIVE, FINAL, State

AGEING = [State.SUCCEEDED, State.DELETED]  # as the index jobs_ageing has them


def age_out(state: State, *, before: datetime, limit: int = 500) -> int:
    """Erase up to ``limit`` jobs that ended in ``state`` before ``before``, with all that hangs on them."""
    if state not in FINAL:
        raise InvalidJob(f"only final states age out, not {state}", field="state")
    alias = database()
    with transaction.atomic(using=alias):
        take_lock(connections[alias])
        rows = JobRecord.objects.using(alias).filter(state=state, finished_at__lt=before).order_by("finished_at", "pk")
        if state in AGEING:
            rows = rows.filter(state__in=AGEING)  # SQLite takes a partial index only when its own condition is there
        if is_postgresql(connections[alias]):
            rows = rows.select_for_update(skip_locked=True)
        ids = list(rows.values_list("pk", flat=True)[:limit])
        gates = WorkflowNode.objects.using(alias).filter(pk__in=ids, workflow_id=None).values_list("gate_id", flat=True)
        Gate.objects.using(alias).filter(pk__in=list(gates))._raw_delete(alias)
        GateParent.objects.using(alias).filter(parent_id__in=ids)._raw_delete(alias)
        for model in (JobHistory, AttemptError, AttemptLog, JobPayload, JobResult, NodeInput, WorkflowNode):
            children = model._default_manager.using(alias).filter(job_id__in=ids)
            children._raw_delete(alias)
        UniqueKey.objects.using(alias).filter(Q(held_until=None) | Q(held_until__lt=Now()), job_id__in=ids).delete()
        JobRecord.objects.using(alias).filter(pk__in=ids)._raw_delete(alias)
    return len(ids)


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
