"""Choosing by name: a select of what there is, and where that is too much for one, a field in which one types.

A few names are in the page, those that hold what is typed come from the server (``names.js``); without a script one
types the whole name. Whether it is one of the choices, the field says.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard.kit import filters
from dashboard.kit.options import options
from dashboard.kit.text import inert

AS_TYPED = {"autocomplete": "off", "spellcheck": "false"}


class OneName(forms.Select):
    """One of the choices. That of the empty name says what none means."""

    def __init__(self, of: str, choices: Iterable[tuple[str, Any]] = ()) -> None:
        """``of``: ``type`` or ``queue``, whose names are suggested."""
        super().__init__(choices=choices)
        self.of = of

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """A select, or an input with suggestions."""
        if not _are_many(self.choices):
            return super().render(name, value, attrs, renderer)
        none = dict(self.choices).get("", "")
        own = {"name": name, "value": inert(value or ""), "placeholder": none, **(attrs or {})}
        return _input(self.of, self.choices, own)


class SomeNames(forms.SelectMultiple):
    """Some of the choices; where one types, one a line."""

    def __init__(self, of: str) -> None:
        """``of``: ``type`` or ``queue``, whose names are suggested."""
        super().__init__()
        self.of = of

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """A select, or a box for names, one a line, with an input that adds to it."""
        if not _are_many(self.choices):
            return super().render(name, value, attrs, renderer)
        own = flatatt({**(attrs or {}), **AS_TYPED, "name": name, "rows": 4})
        adds = {
            "data-adds": (attrs or {}).get("id", ""),
            "placeholder": _("Add by name"),
            "aria-label": _("Add by name"),
        }
        box = format_html("<textarea{}>\n{}</textarea>", own, inert("\n".join(value or [])))
        return format_html("{}{}", box, _input(self.of, self.choices, adds))

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """The names, however they were sent."""
        sent = super().value_from_datadict(data, files, name) or []
        return list(dict.fromkeys(line.strip() for each in sent for line in str(each).splitlines() if line.strip()))


def _are_many(choices: Any) -> bool:
    return sum(1 for _each in islice(choices, filters.MOST + 2)) > filters.MOST + 1


def _input(of: str, choices: Any, attributes: dict[str, Any]) -> SafeString:
    places = f"names-{of}"
    own = {
        "type": "text", "list": places, "class": "by-name", "maxlength": 200,
        "data-names": f"{reverse('admin:jobs_names')}?of={of}", **AS_TYPED, **attributes,
    }  # fmt: skip
    few = islice(((str(value), "") for value, _words in choices if value), filters.FEW)
    return format_html('<input{}><datalist id="{}">{}</datalist>', flatatt(own), places, options(few))
