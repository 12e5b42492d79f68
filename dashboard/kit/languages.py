"""In which language a person reads the console: what can be chosen, and how the engine's words are shown in it.

Choosing is Django's own way, a cookie that LocaleMiddleware reads. A site without that middleware has one language.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.middleware.locale import LocaleMiddleware
from django.utils.module_loading import import_string
from django.utils.translation import get_language, get_language_info, gettext, ngettext

from dashboard.kit.numbers import in_figures
from handlers.wording import Words

OURS = ("en", "de", "fr")  # that the console is written in, or has a catalog for


class Language(NamedTuple):
    """One that can be chosen. ``name``: as its own readers write it."""

    code: str
    name: str
    is_current: bool


def languages() -> tuple[Language, ...]:
    """Those of the console that the site has, too; none where there is nothing to choose."""
    return _languages(get_language() or "")


def has_catalog() -> bool:
    """Whether what is shown is to be translated: scripts then need the words, too."""
    return (get_language() or "en").partition("-")[0] != "en"


def in_language(said: object) -> str:
    """An error of the engine, or its words, in the reader's language; whatever else as it is."""
    if isinstance(said, BaseException):
        said = said.args[0] if said.args and isinstance(said.args[0], Words) else str(said)
    said = said if isinstance(said, Words) else str(said)  # which may be words, too: of what writes itself in such
    return said.shown(gettext, ngettext, in_figures) if isinstance(said, Words) else said


@cache
def _languages(now: str) -> tuple[Language, ...]:
    found = [Language(code, _name(code), code in {now, now.partition("-")[0]}) for code in _codes()]
    return tuple(found) if len(found) > 1 else ()


def _name(code: str) -> str:
    own = str(get_language_info(code)["name_local"])
    return own[:1].upper() + own[1:]


@cache
def _codes() -> list[str]:
    """Once: the settings do not change."""
    if not settings.USE_I18N or not any(_chooses(path) for path in settings.MIDDLEWARE):
        return []
    there = {code for code, _name in settings.LANGUAGES}
    return [code for code in OURS if code in there]


def _chooses(path: str) -> bool:
    middleware = import_string(path)
    return isinstance(middleware, type) and issubclass(middleware, LocaleMiddleware)


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if setting in {"LANGUAGES", "MIDDLEWARE", "USE_I18N"}:
        _codes.cache_clear()
        _languages.cache_clear()
