"""What a saved view still means: what of its filter cannot be read any more is told, and the rest is shown."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from dashboard.kit.languages import in_language
from dashboard.kit.search import SEARCH, selection_of
from dashboard.kit.text import inert
from handlers.selection import InvalidSelection

MOST_WORDS = 100  # of a search whose parts are tried one by one


def readable(request: HttpRequest, query: str) -> tuple[str, list[str]]:
    """The part of ``query`` that this person can read now, and why not the others, in words."""
    asked = QueryDict(query)
    problems = []
    kept = QueryDict(mutable=True)
    for name, values in asked.lists():
        words = [word for value in values for word in value.split()] if name == SEARCH else values
        if not _problem(request, name, values):
            fitting = list(values)
        else:
            whys = [(word, _problem(request, name, [word])) for word in words[:MOST_WORDS]]
            problems += [
                _("%(part)s was left out: %(why)s") % {"part": _part(name, w), "why": why} for w, why in whys if why
            ]
            fitting = [word for word, why in whys if not why]
            fitting = [" ".join(fitting)] if name == SEARCH else fitting
        if "".join(fitting).strip():
            kept.setlist(name, fitting)
    if why := _problem_of(request, kept):
        return "", [*problems, why]  # each part by itself can be read, and they do not go together
    return kept.urlencode(), problems


def _part(name: str, value: str) -> str:
    return inert(value if name == SEARCH else f"{name}:{value}", 100)


def _problem(request: HttpRequest, name: str, values: Sequence[str]) -> str:
    query = QueryDict(mutable=True)
    query.setlist(name, list(values))
    return _problem_of(request, query)


def _problem_of(request: HttpRequest, query: QueryDict) -> str:
    try:
        selection_of(request, query)
    except InvalidSelection as error:
        return inert(in_language(error), 300)
    return ""
