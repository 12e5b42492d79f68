"""The page of one workflow: how far it is, what holds it up, and what belongs to it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Count as Counted
from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from dashboard.kit import serving
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.queries import CAP, Count
from dashboard.kit.queries import RETRYING as RETRYING_STATE
from dashboard.kit.reach import kept, seen
from dashboard.kit.verbs import MAX_REASON, RETRY
from dashboard.workflows.access import (
    CHANGE,
    RETRYING,
    SKIPPING,
    found,
    may,
    may_change,
    may_retry,
    may_skip,
    need_open,
    seen_of,
)
from dashboard.workflows.drawing import picture
from dashboard.workflows.folding import SMALL, fold
from dashboard.workflows.gantt import gantt
from dashboard.workflows.nodes import FILTERS, LIVE, SIZE, STATES, in_state, listed
from dashboard.workflows.standing import Standing
from handlers.models import JobRecord, NodeOutcome, Workflow, WorkflowNode
from handlers.states import State

SPLIT_SECONDS = 0.5  # telling them apart is not worth more
PARTS = {"workflow-jobs", "workflow-graph", "workflow-family", "workflow-times"}  # that cost something
NESTED = 20  # workflows that its jobs have opened which are shown


def workflow(site: AdminSite, request: HttpRequest, workflow_id: int) -> TemplateResponse:
    """One of them. A request for live parts has only these made."""
    need_open(request)
    row, now = found(request, workflow_id), timezone.now()
    standing = Standing(row, now)
    asked = request.headers.get("X-Live", "")
    wanted = set(asked.split(",")) if asked else PARTS
    context = {
        **site.each_context(request),
        "title": standing.title,
        "standing": standing,
        "row": row,
        "counts": counts(row),
        "may_change": may_change(request) and may(request, row, CHANGE),
        "may_retry": may_retry(request) and may(request, row, *RETRYING),
        "max_reason": MAX_REASON,
        **(_jobs(request, row, now) if wanted & {"workflow-jobs", "workflow-times"} else {}),
        **(_family(request, row) if "workflow-family" in wanted else {}),
        **(_graph(request, row) if "workflow-graph" in wanted else {}),
        "is_small": row.total <= SMALL,
    }
    return TemplateResponse(request, "dashboard/workflows/workflow.html", context)


def counts(row: Workflow) -> list[tuple[str, Count]]:
    """Its jobs by state: what has ended from the row's sums, the rest told apart among the first of them."""
    ended = {"failed": row.failed, "succeeded": row.succeeded, "skipped": row.skipped, "unneeded": row.unneeded}
    ended |= {"deleted": row.deleted}
    live = _live(row) if row.open else {}
    told = [("failed", Count(row.failed)), *live.items()]
    told += [(state, Count(number)) for state, number in ended.items() if state != "failed"]
    return [(state, count) for state, count in told if count.value]


def _live(row: Workflow) -> dict[str, Count]:
    """Those that have not ended, by state; ``left`` as one number where telling them apart takes too long."""
    nodes = WorkflowNode.objects.filter(workflow_id=row.pk, counts=True)
    try:
        with time_limit(SPLIT_SECONDS):
            if row.total > SMALL:
                # From the last ones on: what comes late in a workflow has been made late.
                ids = WorkflowNode.span(row.pk)
                rows_of = (in_state(row, state, nodes, ids).order_by("-pk").values_list("pk") for state in LIVE)
                return {state: Count.of(len(rows[: CAP + 1])) for state, rows in zip(LIVE, rows_of, strict=True)}
            left = nodes.filter(outcome=NodeOutcome.NOT_YET).values("pk")
            rows = JobRecord.objects.filter(pk__in=left).order_by().values_list("state").annotate(number=Counted("pk"))
            found = Counter(dict(rows))
    except TookTooLong:
        return {"left": Count(row.open)}
    found["inner"] = found.pop(State.SUCCEEDED, 0)
    return {state: Count(found[state]) for state in (*LIVE, "inner")}


def _jobs(request: HttpRequest, row: Workflow, now: datetime) -> dict[str, Any]:
    """The table of its jobs and their time line, or that it takes too long."""
    context: dict[str, Any] = {
        "states": STATES,
        "retrying": RETRYING_STATE,
        "size": SIZE,
        "may_retry_one": RETRY.allowed(request.user) and may(request, row, RETRY.permission),
        "may_skip": may_skip(request) and may(request, row, *SKIPPING),
        "asked": {name: request.GET.get(name, "") for name in FILTERS},
        "box_type": request.GET.get("box", "").partition(".")[2],
    }
    try:
        with time_limit():
            context["jobs"] = jobs = listed(request, row)
    except TookTooLong:
        return context
    context["gantt"] = gantt(jobs.drawn, row.created_at, now)
    queues = {each.job.queue for each in jobs.rows if each.job and each.job.state == State.ENQUEUED}
    context["troubles"] = [service for queue in sorted(queues) if (service := serving.of(request, queue)).trouble]
    return context


def _graph(request: HttpRequest, row: Workflow) -> dict[str, Any]:
    """The picture of what waits for what; ``graph_wanted`` alone where it takes too long to draw."""
    try:
        with time_limit():
            return {"graph_wanted": True, "graph": picture(request, fold(row))}
    except TookTooLong:
        return {"graph_wanted": True}


def _family(request: HttpRequest, row: Workflow) -> dict[str, Any]:
    """The jobs at its end, the one that opened it, and the workflows that its jobs opened."""
    ids = {"opener": row.opened_by, "on_success": row.on_success, "on_end": row.on_end}
    jobs = kept(request, JobRecord.objects.in_bulk([pk for pk in ids.values() if pk]))
    if not seen(request).is_whole:
        ids = {name: pk for name, pk in ids.items() if pk in jobs}
    outer = None
    if row.opened_by:
        node = WorkflowNode.objects.filter(pk=row.opened_by).values("workflow_id")
        outer = next(iter(seen_of(request, Workflow.objects.filter(pk__in=node)[:1])), None)
    inner = nested(request, row)
    now = timezone.now()
    return {
        "family": [(name, pk, jobs.get(pk)) for name, pk in ids.items() if pk],
        "outer": Standing(outer, now) if outer else None,
        "nested": [Standing(each, now) for each in inner[:NESTED]] if inner is not None else None,
        "more_nested": inner is not None and len(inner) > NESTED,
    }


def nested(request: HttpRequest, row: Workflow) -> list[Workflow] | None:
    """Workflows that its jobs have opened, the newest first; None where that takes too long to find."""
    # The ids of its jobs are near each other, so this looks at few openers of other workflows.
    first, last = WorkflowNode.span(row.pk)
    own = WorkflowNode.objects.filter(pk=OuterRef("opened_by"), workflow_id=row.pk)
    rows = Workflow.objects.filter(Exists(own), opened_by__gte=first, opened_by__lte=last)
    try:
        with time_limit(SPLIT_SECONDS):
            return seen_of(request, rows.order_by("-opened_by", "-pk")[: NESTED + 1])
    except TookTooLong:
        return None
