"""The limits' pages: what holds, who waits, and the form that changes a limit once its change was looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from dashboard.kit.differences import differences
from dashboard.kit.drafts import is_draft
from dashboard.kit.pages import by, need, page, why
from dashboard.kit.reach import concerning, in_words
from dashboard.kit.slots import terms_in_words
from dashboard.kit.switching import switch_once, tell
from dashboard.kit.text import sentence
from dashboard.kit.verbs import MAX_REASON
from dashboard.limits.form import LimitForm
from handlers.admission.edits import VERBS, code_facts, facts, reset_limit, set_limit
from handlers.admission.places import Standing, standings
from handlers.admission.terms import of_code
from handlers.exceptions import InvalidJob
from handlers.models import AuditEntry
from handlers.registry import registry

VIEW, CHANGE = "jobsite_jobs.view_limitoverride", "jobsite_jobs.change_limitoverride"
HISTORY = 10  # changes of a limit that its page shows
NO_VERSION = -1  # a form that says none saw none


def limits(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every limit: who has it, what holds, who waits."""
    need(request, VIEW, _("You may not see limits."))
    context = {"rows": [_row(request, standing) for standing in standings(_names(request))]}
    return page(site, request, "limits/limits", _("Limits"), context)


def limit(site: AdminSite, request: HttpRequest, name: str) -> HttpResponse:
    """One limit, and the form that changes it: a POST shows what would change, and saves that once it was seen."""
    need(request, VIEW, _("You may not see limits."))
    standing = next(iter(standings(_names(request, name))), None)
    if standing is None:
        return _gone(request, name)
    if request.method == "POST":
        _need_change(request, standing.types)
    version = standing.override.version if standing.override else 0
    now = facts(standing.override) if standing.override else code_facts(name)
    form = LimitForm(name, request.POST if request.method == "POST" else None, initial={**now, "version": version})
    is_valid = form.is_bound and form.is_valid()
    # Only what the page has shown as a change is saved.
    was_seen = is_valid and request.POST.get("do") == "save" and request.POST.get("seen") == form.digest
    if was_seen and not is_draft(request) and _save(request, name, form):
        return HttpResponseRedirect(_url(request, name))
    context = {
        **_row(request, standing),
        "form": form,
        "may_change": _has_all(request, standing.types, CHANGE),
        "version": version,
        "changes": differences(now, form.values) if is_valid and not form.errors else None,
        "back_to_code": differences(now, code_facts(name)) if standing.override else [],
        "stale": form.is_bound and form["version"].value() != str(version),
        "values_now": differences(None, now),
        "history": _history(name) if _has_all(request, standing.types, "jobsite_jobs.view_auditentry") else [],
        "max_reason": MAX_REASON,
    }
    return page(site, request, "limits/limit", name, context, status=400 if form.errors else 200)


def reset(site: AdminSite, request: HttpRequest, name: str) -> HttpResponse:
    """Let the code's values hold again. POST only; the page that leads here says what they are."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    need(request, CHANGE, _("You may not change limits."))
    standing = next(iter(standings(_names(request, name))), None)
    if standing is None:
        return _gone(request, name)
    _need_change(request, standing.types)
    version, reason = request.POST.get("version", ""), why(request)
    seen = int(version) if version.isascii() and version.isdecimal() and len(version) < 10 else NO_VERSION
    try:
        found = switch_once(request, lambda: reset_limit(name, expect_version=seen, by=by(request), reason=reason))
    except InvalidJob as error:
        messages.error(request, sentence(error))
    else:
        told = {"name": name}
        done = _("The limit %(name)s has the code's values again.") % told
        tell(request, found, done, _("The limit %(name)s has them already.") % told)
    return HttpResponseRedirect(_url(request, name))


def _save(request: HttpRequest, name: str, form: LimitForm) -> bool:
    seen, reason = form.cleaned_data["version"], form.cleaned_data["reason"]
    expected = NO_VERSION if seen is None else seen
    try:
        found = switch_once(
            request, lambda: set_limit(name, **form.values, expect_version=expected, by=by(request), reason=reason)
        )
    except InvalidJob as error:
        form.refuse(error)
        return False
    told = {"name": name}
    done = _("Changed %(name)s. It holds in every worker, and those for whom there is room now are admitted.") % told
    tell(request, found, done, _("The limit %(name)s had these values already.") % told)
    return True


def _names(request: HttpRequest, *names: str) -> list[str] | None:
    """Of all limits, or of those of ``names``, those that types within this person's reach have; None: all."""
    reach = concerning(request, VIEW)
    if reach.is_whole:
        return list(names) or None
    types = reach.types()
    known = {limit.name for job_type in registry.all() if job_type.name in types for limit in job_type.limits}
    return sorted(known.intersection(names) if names else known)


def _has_all(request: HttpRequest, types: Iterable[str], *permissions: str) -> bool:
    """Whether this person holds ``permissions`` for all jobs of all ``types``, which are those of a limit."""
    held = all(request.user.has_perm(name) for name in permissions)
    return held and all(concerning(request, VIEW, *permissions).has_all_of_type(name) for name in types)


def _need_change(request: HttpRequest, types: Iterable[str]) -> None:
    need(request, CHANGE, _("You may not change limits."))
    if not _has_all(request, types, CHANGE):
        limit = in_words(concerning(request, VIEW, CHANGE))
        raise PermissionDenied(_("This limit holds for jobs beyond it, too. %(limit)s") % {"limit": limit})


def _row(request: HttpRequest, standing: Standing) -> dict[str, Any]:
    """Numbers only where they count no job beyond this person's reach, and no name of one."""
    types = concerning(request, VIEW).types()
    return {
        "standing": standing,
        "types": [name for name in standing.types if name in types],
        "is_counted": _has_all(request, standing.types),
        "words": terms_in_words(standing.terms),
        "code_words": terms_in_words(of_code(standing.limit)),
    }


def _history(name: str) -> list[dict[str, Any]]:
    """The newest changes of this limit that are on the audit."""
    entries = AuditEntry.objects.filter(verb__in=VERBS, target=f"limit {name}").order_by("-pk")[:HISTORY]
    told = []
    for entry in entries:
        data = entry.data if isinstance(entry.data, dict) else {}
        told.append({"entry": entry, "differences": differences(data.get("before"), data.get("after"))})
    return told


def _gone(request: HttpRequest, name: str) -> HttpResponse:
    told = _("No job type that is registered here has a limit %(name)s.") % {"name": name[:100]}
    messages.warning(request, told)
    return HttpResponseRedirect(reverse("admin:limits", current_app=request.current_app))


def _url(request: HttpRequest, name: str) -> str:
    return reverse("admin:limit", args=[name], current_app=request.current_app)
