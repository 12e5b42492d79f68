"""The page of one saga: where it stands, what it waits for, and what has happened in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.kit import catalogue
from dashboard.kit import reach as reaching
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.text import inert, pretty_json
from dashboard.kit.verbs import MAX_REASON, RETRY
from dashboard.sagas.access import CHANGE, found, may, may_complete, may_retry, need_open
from dashboard.sagas.changes import seen
from dashboard.sagas.standing import Standing
from dashboard.sagas.stories import LOOKED_AT
from dashboard.sagas.turns import turns_of
from handlers.models import Delivery, DeliveryState, JobRecord, SagaKey, SagaRecord, SagaTimeout, SagaTurn
from handlers.selection.conditions import HAS_CORRELATION, IN_PAYLOADS
from handlers.states import FINAL, State

SHOWN = 20  # of each that it waits for


class Failed(NamedTuple):
    """An event or a timeout that was brought to it in vain."""

    title: str
    at: datetime  # when it was published, or due
    why: str
    job_id: int
    job: JobRecord | None


def saga(site: AdminSite, request: HttpRequest, saga_id: int) -> TemplateResponse:
    """One of them."""
    need_open(request)
    row, now = found(request, saga_id), timezone.now()
    standing = Standing(row, now)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": f"{standing.title} · {inert(row.saga_type)}",
        "standing": standing,
        "row": row,
        "keys": _keys(row),
        "state": pretty_json(seen(request, row.saga_type, row.data)),
        "is_known": catalogue.find(row.saga_type) is not None,
        "may_complete": may_complete(request) and may(request, row, CHANGE),
        "may_retry": may_retry(request) and may(request, row, CHANGE, RETRY.permission),
        "max_reason": MAX_REASON,
        "too_slow": False,
    }
    try:
        with time_limit():
            context |= {"failed": [], "timeouts": [], "jobs": []} if standing.is_over else _stands_at(request, row)
            context["turns"] = turns_of(request, row)
            context["standing"] = replace(standing, job_failed=context.get("has_failed", False))
    except TookTooLong:
        context["too_slow"] = True
    return TemplateResponse(request, "dashboard/sagas/saga.html", context)


def _keys(row: SagaRecord) -> list[tuple[str, str]]:
    """By what it is found: names and values, as people write them."""
    rows = SagaKey.objects.filter(saga_id=row.pk).order_by("pk")[:SHOWN]
    return [(inert(key.name), inert(key.value.strip('"'))) for key in rows]


def _stands_at(request: HttpRequest, row: SagaRecord) -> dict[str, Any]:
    """What was brought to it in vain, and what it waits for."""
    timeouts = list(SagaTimeout.objects.filter(saga_id=row.pk).order_by("due_at", "pk")[:SHOWN])
    failed = _failed(row, timeouts)
    return {"failed": failed, **_waits_for(request, row, timeouts, {each.job_id for each in failed})}


def _failed(row: SagaRecord, timeouts: Sequence[SagaTimeout]) -> list[Failed]:
    """What it has not taken because that failed, with the jobs that bring it: events, the first one first; timeouts."""
    rows = Delivery.objects.filter(saga_id=row.pk, state=DeliveryState.FAILED).select_related("event").order_by("pk")
    deliveries = list(rows[:SHOWN])
    ids = [each.job_id for each in deliveries] + [each.job_id for each in timeouts]
    jobs = JobRecord.objects.in_bulk(ids)
    came = [each for each in timeouts if (job := jobs.get(each.job_id)) and _has_failed(job)]
    turns = SagaTurn.objects.filter(job_id__in=[each.job_id for each in came]).exclude(error="").order_by("pk")
    why = dict(turns.values_list("job_id", "error")) if came else {}
    found = [
        Failed(inert(each.event.event_type), each.event.published_at, each.error, each.job_id, jobs.get(each.job_id))
        for each in deliveries
    ]
    for each in came:
        title = _("Timeout %(name)s") % {"name": inert(each.name)}
        found.append(Failed(title, each.due_at, why.get(each.job_id, ""), each.job_id, jobs[each.job_id]))
    return found


def _has_failed(job: JobRecord) -> bool:
    """Whether its last attempt has: it is to be retried, by itself or by a person."""
    return job.state == State.FAILED or job.is_retrying


def _waits_for(
    request: HttpRequest, row: SagaRecord, timeouts: Sequence[SagaTimeout], failed: Collection[int]
) -> dict[str, Any]:
    """Timeouts to come, and jobs of its story that have not ended: first what failed, and does not go on by itself.

    Of those that this person may see.
    """
    own = {*failed, *(timeout.job_id for timeout in timeouts)}
    newest = JobRecord.objects.filter(HAS_CORRELATION, arguments__correlation=row.correlation).order_by(
        f"-{IN_PAYLOADS}"
    )
    reach = reaching.seen(request)
    looked_at = newest.only("job_type", "queue", "state", "failures", "run_at", "error")[:LOOKED_AT]
    rows = (job for job in looked_at if reach.covers(job.job_type, job.queue))
    ended = FINAL - {State.FAILED}
    jobs = [job for job in rows if State(job.state) not in ended and job.pk not in own] if row.correlation else []
    jobs.sort(key=lambda job: job.state != State.FAILED)
    return {
        "timeouts": [timeout for timeout in timeouts if timeout.job_id not in failed],
        "jobs": jobs[:SHOWN],
        "more_jobs": len(jobs) > SHOWN,
        "has_failed": bool(jobs) and jobs[0].state == State.FAILED,
    }
