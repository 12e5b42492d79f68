"""Who runs jobs: worker processes and schedulers, and the button that asks one to stop."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from dashboard import verbs
from dashboard.text import inert
from handlers.exceptions import InvalidJob
from handlers.fleet import LIVE
from handlers.gateway import job_scheduler
from handlers.models import WorkerProcess

STOP = "jobs.stop_workerprocess"
SHOWN_LOST = timedelta(hours=1)  # a process that went silent is shown as lost for so long
MOST = 500  # rows on the page


def workers(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every worker process and scheduler, the lost ones marked."""
    now = timezone.now()
    known = WorkerProcess.objects.filter(heartbeat_at__gte=now - SHOWN_LOST).order_by("host", "name")
    rows: list[dict[str, Any]] = [
        {"process": process, "lost": process.heartbeat_at < now - LIVE} for process in known[: MOST + 1]
    ]
    shown = rows[:MOST]
    context = {
        **site.each_context(request),
        "title": "Workers",
        "workers": [row for row in shown if row["process"].kind == "worker"],
        "schedulers": [row for row in shown if row["process"].kind == "scheduler"],
        "cut": len(rows) > MOST,
        "most": MOST,
        "may_stop": request.user.has_perm(STOP),
    }
    return TemplateResponse(request, "dashboard/workers.html", context)


@require_POST
def stop_worker(request: HttpRequest) -> HttpResponse:
    """Ask one worker to finish and stop."""
    if not request.user.has_perm(STOP):
        raise PermissionDenied("You may not stop workers.")
    name = request.POST.get("name", "").replace("\x00", "")[:100]
    reason = request.POST.get("reason", "")[: verbs.MAX_REASON]
    by = cast("AbstractBaseUser", request.user)  # nobody anonymous holds a permission
    try:
        asked = job_scheduler.stop_worker(name, by=by, reason=reason)
    except InvalidJob as error:
        messages.error(request, str(error))
    else:
        if asked:
            messages.success(request, f"Worker {inert(name)} is asked to finish and stop; it stays until its job ends.")
        else:
            messages.warning(request, f"Worker {inert(name)} had been asked to stop before; nothing was done.")
    return HttpResponseRedirect(reverse("admin:workers", current_app=request.current_app))
