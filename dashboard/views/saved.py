"""The saved views that a person has: their own, and those that are shared. Bounded, and on the audit where shared."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, router
from django.db.models import BigIntegerField, CharField, DateTimeField, Q, Value
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit.languages import in_language
from dashboard.kit.pages import person_of
from dashboard.kit.reach import seen
from dashboard.kit.search import list_query, selection_of
from dashboard.kit.text import inert
from dashboard.models import Preferences, SavedView
from handlers.audit import audit, user_name
from handlers.exceptions import JobsError
from handlers.selection import InvalidSelection, Reach, Selection, forbidden_paths, hidden
from handlers.writing import writing

SHARE = "jobsite_dashboard.share_savedview"
REMOVE = "jobsite_dashboard.delete_savedview"  # what others share
VERBS = ("share_view", "change_view", "unshare_view", "remove_view")  # on the audit

EACH = 50  # views of one person
SHARED = 100  # of all together
LONGEST_NAME = 60  # characters
LONGEST_QUERY = 4_000  # characters of an address, in which a letter may be six
IN_NAVIGATION = 12
_COLUMNS = ("id", "person", "person_name", "name", "query", "is_shared", "saved_at")


class NotSaved(JobsError, ValueError):
    """Why a view is not as somebody wanted it. ``field``: of the form; empty: none of these."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Entry(NamedTuple):
    """One view as menus show it."""

    view: SavedView
    name: str
    url: str
    is_own: bool
    is_current: bool = False


class Kept(NamedTuple):
    """What is kept for a person and each page asks for."""

    views: list[SavedView]  # their own, and those that are shared
    single_keys: bool  # whether these act


def kept(request: HttpRequest) -> Kept:
    """Read once for a page, in one statement: the preferences stand among the views as one that has no name."""
    known = getattr(request, "_kept_of_person", None)
    if known is None:
        person, text = person_of(request), Value("", output_field=CharField())
        views = SavedView.objects.filter(Q(person=person) | Q(is_shared=True)).values_list(*_COLUMNS)
        own = Preferences.objects.filter(person=person).annotate(
            pk_none=Value(0, output_field=BigIntegerField()), person_none=text, name=text, query=text,
            at_none=Value(None, output_field=DateTimeField()),
        )  # fmt: skip
        columns = ("pk_none", "person", "person_none", "name", "query", "single_keys", "at_none")
        rows = list(views.union(own.values_list(*columns), all=True).order_by("name", "id")[: EACH + SHARED + 1])
        found = [SavedView(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]
        known = Kept([row for row in found if row.name], all(row.is_shared for row in found if not row.name))
        request._kept_of_person = known  # type: ignore[attr-defined]
    return cast("Kept", known)


def seen_by(request: HttpRequest) -> list[Entry]:
    """The views that this person sees, their own first: read once for a page."""
    known = getattr(request, "_saved_views", None)
    if known is None:
        person, reach = person_of(request), seen(request)
        shown = [view for view in kept(request).views if view.person == person or _names_no_others(reach, view)]
        url = reverse("admin:job_view", args=[0], current_app=getattr(request, "current_app", None))
        found = [
            Entry(view, inert(view.name), f"{url.removesuffix('0/')}{view.pk}/", view.person == person)
            for view in shown
        ]
        known = sorted(found, key=lambda entry: not entry.is_own)
        request._saved_views = known  # type: ignore[attr-defined]
    return cast("list[Entry]", known)


def in_navigation(request: HttpRequest) -> list[Entry]:
    """The first of them, with the one that the page shows marked, for the console's navigation."""
    return current(request, seen_by(request))[:IN_NAVIGATION]


def current(request: HttpRequest, entries: list[Entry]) -> list[Entry]:
    """``entries`` with those marked whose filter is that of the job list which ``request`` asks for."""
    at = getattr(request, "current_app", None)
    is_list = request.path == reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=at)
    here = _parts(list_query(request.GET)) if is_list else []
    return [entry._replace(is_current=bool(here) and _parts(entry.view.query) == here) for entry in entries]


def menu(request: HttpRequest) -> dict[str, Any]:
    """The context of ``dashboard/views/menu.html``."""
    entries = current(request, seen_by(request))
    return {
        "views": entries,
        "view": next((entry for entry in entries if entry.is_current), None),
        "view_query": list_query(request.GET),
        "may_share_views": request.user.has_perm(SHARE),
        "longest_view_name": LONGEST_NAME,
    }


def find(request: HttpRequest, view_id: int, *, own: bool = False) -> SavedView | None:
    """The view, if this person may see it, or with ``own`` change it; None: there is none for them."""
    which = Q(person=person_of(request)) if own else Q(person=person_of(request)) | Q(is_shared=True)
    found: SavedView | None = SavedView.objects.filter(which, pk=view_id).first() if view_id < 2**63 else None
    is_shown = found and (found.person == person_of(request) or _names_no_others(seen(request), found))
    return found if is_shown else None


def _names_no_others(reach: Reach, view: SavedView) -> bool:
    """Whether all types and queues that it names are within what a person sees."""
    if reach.is_whole:
        return True
    try:
        asked = Selection.guess(**_given(view.query))
    except InvalidSelection:
        return False
    return set(asked.types) <= reach.types() and set(asked.queues) <= reach.queues()


def save(request: HttpRequest, name: str, query: str, *, shared: bool, replace: bool = False) -> SavedView:
    """A new view of this person, or with ``replace`` the one of this name with another filter. Raises NotSaved."""
    person = person_of(request)
    name, query = _checked(name), list_query(QueryDict(query))
    view = SavedView.objects.filter(person=person, name=name).first()
    shared = shared or (view is not None and view.is_shared)
    _check_query(request, query, shared=shared)
    if view is not None and not replace:
        raise NotSaved("name", _("You have a view of this name: choose another name, or replace its filter."))
    if view is None:
        _check_room(person)
        view = SavedView(person=person, name=name)
    return _store(request, view, query=query, shared=shared)


def change(request: HttpRequest, view: SavedView, name: str, *, shared: bool) -> SavedView:
    """Give a view of this person another name, or share it or no longer. Raises NotSaved."""
    name = _checked(name)
    if shared:
        _check_query(request, view.query, shared=shared)
    if SavedView.objects.filter(person=view.person, name=name).exclude(pk=view.pk).exists():
        raise NotSaved("name", _("You have a view of this name: choose another name."))
    view.name = name
    return _store(request, view, query=view.query, shared=shared)


def remove(request: HttpRequest, view_id: int) -> str | None:
    """Remove a view of this person, or a shared one if they may; its name, None: there is none that they may remove."""
    view = find(request, view_id)
    if view is None or not may_remove(request, view):
        return None
    with writing(router.db_for_write(SavedView)):
        view.delete()
        if view.is_shared:
            _tell(request, "remove_view", view)
    _forget(request)
    return view.name


def may_remove(request: HttpRequest, view: SavedView) -> bool:
    """Whether this person may: it is theirs, or shared and they have the permission."""
    return view.person == person_of(request) or (view.is_shared and request.user.has_perm(REMOVE))


def _store(request: HttpRequest, view: SavedView, *, query: str, shared: bool) -> SavedView:
    was_shared = bool(view.pk) and view.is_shared
    if shared and not was_shared:
        if not request.user.has_perm(SHARE):
            raise NotSaved("shared", _("You may not share views."))
        if SavedView.objects.filter(is_shared=True)[:SHARED].count() >= SHARED:
            raise NotSaved("shared", _("%(number)s views are shared already: remove one first.") % {"number": SHARED})
    view.query, view.is_shared, view.saved_at = query, shared, timezone.now()
    view.person_name = user_name(cast("AbstractBaseUser", request.user))
    verb = "unshare_view" if was_shared and not shared else "change_view" if was_shared else "share_view"
    try:
        with writing(router.db_for_write(SavedView)):
            view.save()
            if shared or was_shared:
                _tell(request, verb, view)
    except IntegrityError:  # sent twice at the same moment
        raise NotSaved("name", _("You have a view of this name: choose another name.")) from None
    _forget(request)
    return view


def _checked(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise NotSaved("name", _("Give the view a name."))
    if len(name) > LONGEST_NAME:
        told = ngettext("At most %(number)s character.", "At most %(number)s characters.", LONGEST_NAME)
        raise NotSaved("name", told % {"number": LONGEST_NAME})
    if inert(name) != name:
        raise NotSaved("name", _("A name cannot hold characters that nobody sees."))
    return name


def _check_query(request: HttpRequest, query: str, *, shared: bool) -> None:
    try:
        selection = selection_of(request, QueryDict(query))
    except InvalidSelection as error:
        raise NotSaved("", _("This filter cannot be read: %(why)s") % {"why": inert(in_language(error))}) from None
    if not query or selection.is_empty:
        raise NotSaved("", _("This list has no filter: search, or choose a state or a type, and save that."))
    if len(query) > LONGEST_QUERY:
        raise NotSaved("", _("This filter is too long to be saved."))
    if shared and (secret := forbidden_paths(selection)):
        told = _("args.%(path)s is sensitive: who opened the view would see what it looks for. Keep it to yourself.")
        raise NotSaved("shared", told % {"path": secret[0]})


def _check_room(person: str) -> None:
    if SavedView.objects.filter(person=person)[:EACH].count() >= EACH:
        raise NotSaved("", _("You have %(number)s views already: delete one first.") % {"number": EACH})


def _tell(request: HttpRequest, verb: str, view: SavedView) -> None:
    """Write down what was done to a view that others see, or saw."""
    try:
        told: dict[str, Any] = {"search": str(hidden(Selection.guess(**_given(view.query))))[:2_000]}
    except InvalidSelection:
        told = {}
    audit(cast("AbstractBaseUser", request.user), verb, f"view {view.name}", 1, data=told)


def _given(query: str) -> dict[str, Any]:
    asked = QueryDict(query)
    return {"text": " ".join(asked.getlist("q"))} | {name: asked.getlist(name) for name in asked if name != "q"}


def _parts(query: str) -> list[tuple[str, list[str]]]:
    return sorted(QueryDict(query).lists())


def _forget(request: HttpRequest) -> None:
    for name in ("_saved_views", "_kept_of_person"):
        request.__dict__.pop(name, None)
