"""The options of a select or of a list of suggestions, as HTML; a page may have thousands."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe


def options(choices: Iterable[tuple[str, str]], chosen: str = "") -> SafeString:
    """An option for each value and its words, the ``chosen`` one selected."""
    made = _options(tuple((str(value), str(words)) for value, words in choices))
    if not chosen:
        return made
    value = f'<option value="{escape(chosen)}"'
    return mark_safe(made.replace(f"{value}>", f"{value} selected>", 1))  # noqa: S308 - escaped


# The choices are declared in code, mostly, so the next page has the same. Page after page, a template's loop over two
# thousand takes more than all else.
@lru_cache(maxsize=256)
def _options(choices: tuple[tuple[str, str], ...]) -> SafeString:
    made = (f'<option value="{escape(value)}">{escape(words)}</option>' for value, words in choices)
    return mark_safe("".join(made))  # noqa: S308 - escaped
