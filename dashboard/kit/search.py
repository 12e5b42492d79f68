"""The list's address as a selection of jobs: what the list, its counts, the export and bulk operations all read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from dashboard.kit import reach
from dashboard.kit.sensitive import may_see
from handlers.selection import InvalidSelection, Reach, Selection, forbidden_paths

SEARCH = "q"
FILTERS = ("state", "type", "queue", "worker", "since", "until")
BEFORE = "before"  # show what is older than this id
AFTER = "after"  # show what is newer than this id
PLACES = (BEFORE, AFTER)  # where in the list: no part of the selection
IGNORED = (
    *PLACES,
    "p",
    "e",
    "o",
    "all",
    "format",
    "verb",
)  # of the stock list, and of the pages that take a list's address


def selection_of(request: HttpRequest, query: QueryDict | None = None, within: Reach | None = None) -> Selection:
    """The jobs that the address of ``request`` (or ``query``) asks for, as far as this person may ask.

    ``within``: how far, where that is not as far as they see. Raises InvalidSelection, saying what was wrong.
    """
    asked = request.GET if query is None else query
    unknown = sorted(set(asked) - {SEARCH, *FILTERS, *IGNORED})
    if unknown:
        raise InvalidSelection(
            "",
            _("there is no filter %(unknown)s; there are %(filters)s")
            % {"unknown": repr(unknown[0][:60]), "filters": ", ".join(FILTERS)},
        )
    given: dict[str, Any] = {name: [v for v in asked.getlist(name) if v.strip()] for name in FILTERS}
    selection = Selection.guess(" ".join(asked.getlist(SEARCH)), **{k: v for k, v in given.items() if v})
    selection = selection.kept_within(reach.seen(request) if within is None else within)
    if may_see(request):
        return selection
    if secret := forbidden_paths(selection):
        raise InvalidSelection(f"args.{secret[0]}", _("this argument is sensitive, and you may not see those"))
    return replace(selection, sensitive=False)


def list_query(query: QueryDict) -> str:
    """The address's part that says which jobs, without where in the list."""
    kept = query.copy()
    for name in set(kept) - {SEARCH, *FILTERS}:
        del kept[name]
    for name in list(kept):
        if not "".join(kept.getlist(name)).strip():
            del kept[name]
    return kept.urlencode()


def cleaned(query: QueryDict) -> str | None:
    """``query`` without the parts of a form that nobody filled in; None: it has none of these."""
    blank = [name for name in (SEARCH, *FILTERS) if name in query and not "".join(query.getlist(name)).strip()]
    if not blank:
        return None
    kept = query.copy()
    for name in blank:
        del kept[name]
    return kept.urlencode()


def without(query: QueryDict, name: str) -> QueryDict:
    """``query`` but for its part ``name``."""
    kept = query.copy()
    kept.pop(name, None)
    return kept


def place(query: QueryDict, name: str) -> int | None:
    """The id after which, or before which, the page begins. Raises InvalidSelection for anything else."""
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidSelection(name, _("%(text)s is no place in the list") % {"text": repr(text[:30])})
    return int(text)
