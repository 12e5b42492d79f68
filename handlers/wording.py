"""The engine's words for people: English where they are kept or sent, in the reader's language where they are shown.

Pure: whoever shows them brings the translation along, so that no log, record, command or answer of the API ever depends
on who asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self


class Figures(str):
    """Numbers as English writes them, with their units if there are any: ``1,000``, ``0.5 s``."""

    __slots__ = ()


class Words(str):
    """English text that remembers of what it was made: ``worded("queue: %(name)s is paused", name=name)``."""

    __slots__ = ("number", "plural", "template", "values")

    template: str
    plural: str
    number: int | None
    values: dict[str, Any]

    def __new__(cls, template: str, plural: str, number: int | None, values: dict[str, Any]) -> Self:
        """``plural`` and ``number``: of words that differ by a number; else empty and None."""
        chosen = template if number is None or number == 1 else plural
        made = super().__new__(cls, chosen % values if values else chosen)
        made.template, made.plural, made.number, made.values = template, plural, number, values
        return made

    def shown(
        self,
        gettext: Callable[[str], str],
        ngettext: Callable[[str, str, int], str],
        figures: Callable[[str], str] = str,
    ) -> str:
        """The same in the language of ``gettext``, ``ngettext`` and ``figures``; words among the values, too."""
        text = gettext(self.template) if self.number is None else ngettext(self.template, self.plural, self.number)
        values = {
            name: value.shown(gettext, ngettext, figures)
            if isinstance(value, Words)
            else figures(value)
            if isinstance(value, Figures)
            else value
            for name, value in self.values.items()
        }
        return text % values if values else text


def worded(text: str, /, **values: Any) -> Words:
    """``text`` with ``values`` for its ``%(name)s``. A text without values has no placeholders, and its % are plain."""
    return Words(text, "", None, values)


def nworded(singular: str, plural: str, number: int, /, **values: Any) -> Words:
    """``singular`` or ``plural`` by ``number``, which is the value ``count``, too, unless that is given."""
    return Words(singular, plural, number, {"count": number, **values})
