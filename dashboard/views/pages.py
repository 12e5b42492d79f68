"""The pages of saved views: all that a person sees, saving the list as one, changing, removing, and its address."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.drafts import is_draft
from dashboard.kit.languages import in_language
from dashboard.kit.once import act_once
from dashboard.kit.pages import page
from dashboard.kit.search import SEARCH, selection_of
from dashboard.kit.text import inert
from dashboard.views import saved
from dashboard.views.reading import readable
from handlers.selection import InvalidSelection


class ViewForm(forms.Form):
    """A view's name, and who sees it."""

    name = forms.CharField(label=gettext_lazy("Name"), required=False, max_length=saved.LONGEST_NAME, strip=True)
    shared = forms.BooleanField(label=gettext_lazy("Share it with everybody who sees jobs"), required=False)
    replace = forms.BooleanField(label=gettext_lazy("Replace the filter of my view of this name"), required=False)

    def __init__(self, *args: Any, may_share: bool, may_replace: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        if not may_share:
            del self.fields["shared"]
        if not may_replace:
            del self.fields["replace"]

    def refuse(self, error: saved.NotSaved) -> None:
        """Put the message at its field."""
        self.add_error(error.field if error.field in self.fields else None, in_language(error))


def views(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every view that this person sees."""
    rows = [
        {
            "entry": entry,
            "search": _search(entry.view.query),
            "problem": _problem(request, entry.view.query),
            "may_remove": saved.may_remove(request, entry.view),
        }
        for entry in saved.seen_by(request)
    ]
    return page(site, request, "views/views", _("Saved views"), {"rows": rows})


def view(site: AdminSite, request: HttpRequest, view_id: int) -> HttpResponse:
    """The address of a view: leads to the list with its filter, as far as that still means anything."""
    found = saved.find(request, view_id)
    if found is None:
        return _gone(request)
    query, problems = readable(request, found.query)
    for words in problems:
        messages.warning(request, _("The view “%(name)s”: %(what)s") % {"name": inert(found.name), "what": words})
    if not query:
        messages.error(
            request,
            _("Nothing of the view “%(name)s” can be read any more. Delete it, or save another filter by its name.")
            % {"name": inert(found.name)},
        )
        return _to(request, "job_views")
    return HttpResponseRedirect(f"{_url(request, 'jobsite_jobs_jobrecord_changelist')}?{query}")


def new(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Save the filter of a list under a name."""
    sent = request.POST if request.method == "POST" else None
    query = (request.POST if sent is not None else request.GET).get("query", "")
    may_share = request.user.has_perm(saved.SHARE)
    form = ViewForm(sent, may_share=may_share, may_replace="replace" in request.POST)
    if sent is not None and not is_draft(request) and form.is_valid():
        given = form.cleaned_data
        options = {"shared": given.get("shared", False), "replace": given.get("replace", False)}
        try:
            pk, _is_new = act_once(request, lambda: str(saved.save(request, given["name"], query, **options).pk))
        except saved.NotSaved as error:
            form = ViewForm(sent, may_share=may_share, may_replace=error.field == "name")
            form.refuse(error)
        else:
            messages.success(request, _("Saved the view “%(name)s”.") % {"name": inert(given["name"])})
            return _to(request, "job_view", int(pk))
    context = {
        "form": form,
        "query": query,
        "search": _search(query),
        "back": f"{_url(request, 'jobsite_jobs_jobrecord_changelist')}?{QueryDict(query).urlencode()}",
        "button": _("Save the view"),
    }
    return page(site, request, "views/edit", _("Save as a view"), context, status=400 if form.errors else 200)


def edit(site: AdminSite, request: HttpRequest, view_id: int) -> HttpResponse:
    """Give a view of one's own another name, share it or no longer."""
    found = saved.find(request, view_id, own=True)
    if found is None:
        return _gone(request)
    sent = request.POST if request.method == "POST" else None
    initial = {"name": found.name, "shared": found.is_shared}
    may_share = found.is_shared or request.user.has_perm(saved.SHARE)
    form = ViewForm(sent, initial=initial, may_share=may_share)
    if sent is not None and not is_draft(request) and form.is_valid():
        given = form.cleaned_data
        try:
            saved.change(request, found, given["name"], shared=given.get("shared", found.is_shared))
        except saved.NotSaved as error:
            form.refuse(error)
        else:
            messages.success(request, _("Changed the view “%(name)s”.") % {"name": inert(found.name)})
            return _to(request, "job_views")
    context = {
        "form": form,
        "search": _search(found.query),
        "back": _url(request, "job_views"),
        "button": _("Change the view"),
    }
    return page(site, request, "views/edit", _("Change a view"), context, status=400 if form.errors else 200)


def delete(site: AdminSite, request: HttpRequest, view_id: int) -> HttpResponse:
    """Remove a view: one's own, or one that others share. POST only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    found = saved.find(request, view_id)
    if found is not None and not saved.may_remove(request, found):
        raise PermissionDenied(_("You may not remove views that others share."))
    name = saved.remove(request, view_id)
    if name is None:
        return _gone(request)
    messages.success(request, _("Removed the view “%(name)s”.") % {"name": inert(name)})
    return _to(request, "job_views")


def _search(query: str) -> str:
    """What a filter looks for, in the words that were typed and chosen: ``since:2h`` goes with the time."""
    asked = QueryDict(query)
    words = asked.getlist(SEARCH) + [
        f"{name}:{value}" for name in asked if name != SEARCH for value in asked.getlist(name)
    ]
    return inert(" ".join(words), 500)


def _problem(request: HttpRequest, query: str) -> str:
    """Why this person cannot read all of a filter; empty where they can."""
    try:
        selection_of(request, QueryDict(query))
    except InvalidSelection as error:
        return inert(in_language(error), 300)
    return ""


def _gone(request: HttpRequest) -> HttpResponse:
    messages.warning(request, _("There is no such view, or no longer: it was removed, or is not shared any more."))
    return _to(request, "job_views")


def _to(request: HttpRequest, name: str, *args: Any) -> HttpResponseRedirect:
    return HttpResponseRedirect(_url(request, name, *args))


def _url(request: HttpRequest, name: str, *args: Any) -> str:
    return reverse(f"admin:{name}", args=args, current_app=getattr(request, "current_app", None))
