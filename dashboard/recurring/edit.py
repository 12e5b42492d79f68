"""Making a recurring job and changing one: a form for its rule and its arguments, with a preview before saving."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _

from dashboard.kit import catalogue
from dashboard.kit.arguments import OMIT
from dashboard.kit.drafts import is_draft
from dashboard.kit.forms import PayloadForm, payload_form
from dashboard.kit.named import OneName
from dashboard.kit.once import act_once
from dashboard.kit.pages import by, why
from dashboard.kit.payload_page import ENQUEUE, code_of, is_engines_own, is_raw
from dashboard.kit.sensitive import may_see
from dashboard.kit.text import inert
from dashboard.recurring.access import ADD, CHANGE, found, need, need_target, reach_of, to_page
from dashboard.recurring.form import ZONES, RecurringForm, zones
from dashboard.recurring.rule import Upcoming, rule_words, upcoming, warnings
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.job_types import JobType
from handlers.models import RecurringJob
from handlers.recurrence.definition import RULE, check_name, check_times, define, times_of
from handlers.selection import Reach

STALE = "expect"  # the argument that the engine names when another version was seen


@dataclass(frozen=True)
class Preview:
    """What would be saved."""

    rule: str
    zone: str
    has_jitter: bool
    coming: list[Upcoming]
    warnings: tuple[str, ...]
    code: str


def new(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Make one: its type first, then the form."""
    need(request, ADD, _("You may not make recurring jobs."))
    need_target(request)
    return _edit(site, request, None)


def edit(site: AdminSite, request: HttpRequest, entry_id: int) -> HttpResponse:
    """Change one."""
    need(request, CHANGE, _("You may not change recurring jobs."))
    row = found(request, entry_id, CHANGE, ENQUEUE)
    need_target(request, row.job_type)
    if row.in_code:
        told = _("The code declares %(name)s: change it there, or pause it here.") % {"name": inert(row.name)}
        messages.warning(request, told)
        return to_page(request, row.pk)
    return _edit(site, request, row)


def _edit(site: AdminSite, request: HttpRequest, row: RecurringJob | None) -> HttpResponse:
    posted = request.POST if request.method == "POST" else None
    chosen = (request.GET if posted is None else posted).get("type", "")
    asked = chosen or (row.job_type if row else "")
    need_target(request, asked)
    reach = reach_of(request, CHANGE if row else ADD, ENQUEUE)
    types = _types(reach)
    job_type = catalogue.find(asked)
    if job_type is not None and job_type.name not in types:
        job_type = None
    box = OneName("type", [(name, name) for name in types])
    chosen_type = box.render("type", job_type.name if job_type else "", {"id": "id_type"})
    context: dict[str, Any] = {"row": row, "type_box": chosen_type, "asked": inert(asked[:200])}
    if job_type is None:
        return _page(site, request, context, status=400 if chosen else 200)
    form, arguments = _forms(request, row, job_type, reach)
    is_switched = posted is not None and posted.get("arguments_of") != job_type.name
    preview, stale = None, False
    if posted is not None and not is_switched and form.is_valid() & arguments.is_valid():
        preview = _preview(request, row, job_type, form, arguments.data_json)
        if preview and posted.get("do") == "save" and not is_draft(request):
            try:
                return _save(request, row, job_type, form, arguments.data_json)
            except InvalidJob as error:
                stale = error.field == STALE
                form.refuse(error)
    context |= {
        "job_type": job_type,
        "form": form,
        "args": arguments,
        "is_raw": "raw" in arguments.fields,
        "is_switched": is_switched,
        "preview": preview if not form.errors else None,
        "stale": stale,
        "version": posted.get("version", "") if posted is not None else row.version if row else "",
        "zones": zones(),
        "zones_id": ZONES,
    }
    return _page(site, request, context, status=400 if form.errors or arguments.errors else 200)


def _forms(
    request: HttpRequest, row: RecurringJob | None, job_type: JobType, reach: Reach
) -> tuple[RecurringForm, PayloadForm]:
    """The form, and that of the arguments; the latter as it was typed only if it is of this type."""
    posted, sees = request.POST if request.method == "POST" else None, may_see(request)
    form = RecurringForm(posted, row=row, hides=not sees, job_type=job_type, reach=reach)
    typed = posted if posted is not None and posted.get("arguments_of") == job_type.name else None
    # Another type's arguments are none of this one's, and what is hidden in them stays hidden.
    stored = row.data if row and catalogue.find(row.job_type) is job_type else OMIT
    return form, payload_form(job_type, raw=is_raw(request))(typed, stored=stored, sees_sensitive=sees)


def _preview(
    request: HttpRequest, row: RecurringJob | None, job_type: JobType, form: RecurringForm, data: Any
) -> Preview | None:
    """What the form comes to; None where the engine refuses it, which the form then says."""
    now = timezone.now()
    try:
        name = row.name if row else check_name(form.cleaned_data["name"])
        columns = define(name, job_type.decode(data), form.cleaned_data["cron"] or None, form.options)
        check_times(columns, now)
        first, anchor = _first(row, columns, now)
        times = replace(times_of(name, columns), anchor=anchor)
        coming = upcoming(times, first or times.after(now))
    except InvalidJob as error:
        form.refuse(error)
        return None
    code = code_of(request, job_type, data, queue=form.options.queue)
    return Preview(
        rule_words(columns), columns["zone"], bool(columns["jitter_seconds"]), coming, warnings(columns), code
    )


def _first(row: RecurringJob | None, columns: dict[str, Any], now: datetime) -> tuple[datetime | None, datetime]:
    """When it is due first, where the rule stays as it is; and from when intervals count."""
    if row and all(getattr(row, name) == columns[name] for name in RULE):
        return row.due_at, row.anchor_at or now
    return None, columns["start_at"] or now


def _save(
    request: HttpRequest, row: RecurringJob | None, job_type: JobType, form: RecurringForm, data: Any
) -> HttpResponse:
    name = row.name if row else form.cleaned_data["name"]
    expect = (request.POST.get("version", "") or "?") if row else ""

    def act() -> str:
        is_changed = job_scheduler.add_or_update_recurring(
            name, job_type.decode(data), form.cleaned_data["cron"] or None, **_arguments(form), keep_context=True,
            by=by(request), reason=why(request), expect=expect,
        )  # fmt: skip
        return f"{RecurringJob.objects.get(name=name).pk} {int(is_changed)}"

    answer, is_new = act_once(request, act)
    saved, _space, is_changed = answer.partition(" ")
    told = {"name": inert(name)}
    if not is_new:
        messages.info(request, _("This form was sent before and saved it then; nothing was done now."))
    elif is_changed == "1":
        messages.success(request, _("Saved %(name)s. When it runs next stands below.") % told)
    else:
        messages.info(request, _("Nothing was changed: %(name)s was like that already.") % told)
    return to_page(request, int(saved))


def _arguments(form: RecurringForm) -> dict[str, Any]:
    return {name: getattr(form.options, name) for name in asdict(form.options)}


def _types(reach: Reach) -> list[str]:
    """The types that a person may choose."""
    every = [row.job_type for row in catalogue.types() if not is_engines_own(row.job_type)]
    within = reach.types()
    return sorted(known.name for known in every if known.name in within)


def _page(site: AdminSite, request: HttpRequest, context: dict[str, Any], status: int) -> TemplateResponse:
    row = context["row"]
    title = _("Edit %(name)s") % {"name": inert(row.name)} if row else _("New recurring job")
    full = {**site.each_context(request), "title": title, **context}
    response = TemplateResponse(request, "dashboard/recurring/form.html", full, status=status)
    add_never_cache_headers(response)
    return response
