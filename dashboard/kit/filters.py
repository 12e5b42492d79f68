"""Filters whose choices come from what is declared, never from a scan of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.utils.translation import gettext_lazy

SPANS = (
    ("1h", gettext_lazy("Last hour")),
    ("24h", gettext_lazy("Last 24 hours")),
    ("7d", gettext_lazy("Last 7 days")),
    ("30d", gettext_lazy("Last 30 days")),
)

MOST = 200  # choices of a select: where there are more, one types
FEW = 50  # names that are suggested there

Choices = list[tuple[str, str]]


class DeclaredFilter(SimpleListFilter):
    """A filter that keeps an unknown value as a choice: an old permalink still says what it shows."""

    is_select = True  # False: shown in another way
    names_url = ""  # the name of the address that suggests choices by what is typed; empty: all are in the page

    def offered(self) -> Choices:
        """The declared choices, and the present value where it is none of them."""
        declared = [(str(choice), str(label)) for choice, label in self.lookup_choices]
        value = self.value()
        # A form sends each of its selects: the empty one is "any", which its page has already.
        return declared if not value or value in dict(declared) else [*declared, (value, value)]

    @property
    def is_typed(self) -> bool:
        """Whether there are so many choices that one types, and the page has a few suggestions."""
        return bool(self.names_url) and len(self.lookup_choices) > MOST

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """A link for each that is offered."""
        self.lookup_choices = [*self.offered()]
        return super().choices(changelist)

    def has_output(self) -> bool:
        """Shown even with a single choice, so that the page keeps its shape."""
        return True
