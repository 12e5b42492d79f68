"""How numbers are written in the reader's language."""

from __future__ import annotations

from functools import cache

from django.utils.formats import get_format
from django.utils.translation import get_language


def thousands(value: int) -> str:
    """A whole number with its thousands apart. (Django's own filters are for decimals, and take ten times as long.)"""
    text = f"{value:,}"
    return text if len(text) < 4 else text.translate(_marks(get_language() or "en"))


def in_figures(text: str) -> str:
    """Numbers as English writes them, with or without units, as the reader's language does: ``1.5 s`` is ``1,5 s``."""
    return text.translate(_marks(get_language() or "en"))


def decimal_mark() -> str:
    """What stands before the tenths."""
    return _marks(get_language() or "en")[ord(".")]


@cache
def _marks(language: str) -> dict[int, str]:
    def mark(name: str) -> str:
        return str(get_format(name, language, use_l10n=True))

    return {ord(","): mark("THOUSAND_SEPARATOR"), ord("."): mark("DECIMAL_SEPARATOR")}
