"""What a person wants to see of each job in the list: kept for them, wherever they sign in."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.pages import person_of
from dashboard.models import JobColumns

# In the order in which they stand. The state and the job itself are always there.
COLUMNS = {
    "arguments": gettext_lazy("arguments"),
    "tags": gettext_lazy("tags"),
    "queue": gettext_lazy("queue"),
    "priority": gettext_lazy("priority"),
    "attempts": gettext_lazy("attempts"),
    "last_error": gettext_lazy("last error"),
    "created": gettext_lazy("created"),
    "started": gettext_lazy("started"),
    "finished": gettext_lazy("finished"),
    "took": gettext_lazy("duration"),
    "when": gettext_lazy("when"),
    "ran_on": gettext_lazy("worker"),
}
USUAL = ("arguments", "tags", "queue", "attempts", "last_error", "when", "ran_on")
IN_JOB = ("arguments", "tags")  # below the job's name, and no columns of the table


def chosen(request: HttpRequest) -> tuple[str, ...]:
    """The columns that this person has chosen, or the usual ones."""
    if not hasattr(request, "_job_columns"):
        row = JobColumns.objects.filter(person=person_of(request)).first()
        names = row.names if row is not None and isinstance(row.names, list) else USUAL
        request._job_columns = tuple(name for name in COLUMNS if name in names)  # type: ignore[attr-defined]
    made: tuple[str, ...] = request._job_columns  # type: ignore[attr-defined]
    return made


def choices(request: HttpRequest) -> list[dict[str, Any]]:
    """Each column with whether it is chosen, for the form."""
    names = chosen(request)
    return [{"name": name, "words": words, "chosen": name in names} for name, words in COLUMNS.items()]


def choose(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Keep what was chosen, and go back to the list."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    rows = JobColumns.objects
    if "usual" in request.POST:
        rows.filter(person=person_of(request)).delete()
    else:
        names = [name for name in COLUMNS if name in request.POST.getlist("column")]
        rows.update_or_create(person=person_of(request), defaults={"names": names})
    messages.success(request, _("The list shows the columns that you chose."))
    query = QueryDict(request.POST.get("back", "")[:4_000]).urlencode()
    url = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=site.name)
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
