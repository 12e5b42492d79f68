"""What people do to a saga: bring what failed to it once more, or complete it by hand."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.kit.drafts import is_draft
from dashboard.kit.pages import by, page, why
from dashboard.kit.reach import check_job
from dashboard.kit.switching import switch_once, tell
from dashboard.kit.verbs import MAX_REASON, RETRY
from dashboard.sagas.access import CHANGE, found, may_complete, may_retry, need, to_page
from dashboard.sagas.standing import Standing
from handlers import job_scheduler
from handlers.models import Delivery, DeliveryState, SagaTimeout
from handlers.sagas.by_hand import complete_saga


def retry(request: HttpRequest, saga_id: int, job_id: int) -> HttpResponse:
    """Have the job of an event or a timeout that failed run again. POST only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    need(request, may_retry(request), _("You may not retry what comes to sagas."))
    row = found(request, saga_id, CHANGE, RETRY.permission)
    check_job(request, job_id, RETRY.permission)
    deliveries = Delivery.objects.filter(saga_id=row.pk, job_id=job_id, state=DeliveryState.FAILED)
    timeouts = SagaTimeout.objects.filter(saga_id=row.pk, job_id=job_id)
    if job_id >= 2**63 or not (deliveries.exists() or timeouts.exists()):
        raise Http404(_("Nothing of this saga has failed with that job, or it was handled since."))
    expect = request.POST.get("token", "").replace("\x00", "") or "?"
    switched = switch_once(
        request, lambda: job_scheduler.retry(job_id, by=by(request), reason=why(request), expect=expect)
    )
    done = _("Retried: job %(id)d brings it once more.") % {"id": job_id}
    moved_on = _("Job %(id)d had moved on since the page was made; nothing was done.") % {"id": job_id}
    tell(request, switched, done, moved_on)
    return to_page(request, row.pk)


def complete(site: AdminSite, request: HttpRequest, saga_id: int) -> HttpResponse:
    """Ask, and complete it. A reason is needed: the saga's own code says nothing of it."""
    need(request, may_complete(request), _("You may not complete sagas."))
    row = found(request, saga_id, CHANGE)
    standing = Standing(row, timezone.now())
    asks = request.method != "POST" or is_draft(request)
    if not asks and why(request).strip():
        seen = request.POST.get("turns", "")
        expect = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else -1
        switched = switch_once(
            request, lambda: complete_saga(row.pk, by=by(request), reason=why(request), expect=expect)
        )
        name = {"title": standing.title}
        moved_on = _("%(title)s has gone on since the page was made, or is over; nothing was done.") % name
        tell(request, switched, _("Completed %(title)s by hand.") % name, moved_on)
        return to_page(request, row.pk)
    context = {
        "row": row,
        "standing": standing,
        "timeouts": SagaTimeout.objects.filter(saga_id=row.pk).count(),
        "lacks_reason": not asks,
        "max_reason": MAX_REASON,
    }
    title = _("Complete %(title)s by hand") % {"title": standing.title}
    return page(site, request, "sagas/complete", title, context, status=200 if asks else 400)
