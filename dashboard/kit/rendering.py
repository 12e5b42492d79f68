"""The console's own template engine: ours come first, then the stock admin's, then the site's.

So only here is ``admin/base_site.html``, which every stock page extends, the console's. The site's own, and a theme's,
change nothing in the console; and whatever the site renders by itself finds no template and no tag of ours.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.template import TemplateDoesNotExist, engines
from django.template.backends.django import DjangoTemplates, Template
from django.template.context import make_context
from django.template.response import SimpleTemplateResponse
from django.utils.safestring import SafeString

from dashboard.kit.waiting import answered

Response = TypeVar("Response", bound=HttpResponseBase)

PACKED = Path(__file__).parents[1] / "pages"  # where a wheel has them: no other engine looks into a folder of that name
TEMPLATES = PACKED if PACKED.is_dir() else Path(__file__).parents[2] / "templates"
STOCK = Path(admin.__file__).parent / "templates"
FIRST = [str(TEMPLATES / "dashboard" / "site"), str(TEMPLATES), str(STOCK)]


class Page:
    """A template whose numbers are those of machines, in every language: they stand in addresses and forms, too.

    A number for people comes through a filter, such as ``thousands``.
    """

    def __init__(self, template: Template) -> None:
        self._template = template

    def render(self, context: dict[str, Any] | None = None, request: HttpRequest | None = None) -> SafeString:
        """The page as text."""
        made = make_context(context, request, autoescape=self._template.backend.engine.autoescape)
        made.use_l10n = False
        with answered():
            return self._template.template.render(made)


@cache
def engine() -> DjangoTemplates:
    """The site's engine for Django templates, with our folders and tags before its own."""
    site = next((each for each in engines.all() if isinstance(each, DjangoTemplates)), None)
    if site is None:
        raise ImproperlyConfigured("TEMPLATES has no backend DjangoTemplates, which the console needs.")
    params: dict[str, Any] = {key: value for key, value in engines.templates[site.name].items() if key != "BACKEND"}
    options = params["OPTIONS"]
    libraries = {"libraries": {**options.get("libraries", {}), "console": "dashboard.tags"}}
    loaders = options.get("loaders")
    first = {"loaders": [("django.template.loaders.filesystem.Loader", FIRST), *loaders]} if loaders else {}
    made = {"NAME": "console", "DIRS": [*FIRST, *params["DIRS"]], "OPTIONS": {**options, **libraries, **first}}
    return type(site)({**params, **made})


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting in {"TEMPLATES", "DEBUG", "STATIC_URL", "STORAGES"}:
        engine.cache_clear()


def in_console(response: Response) -> Response:
    """``response``; a page that is still to be rendered will be so by the console's engine."""
    if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
        response.template_name = _find(response.template_name)
    return response


def _find(wanted: Any) -> Any:
    if not isinstance(wanted, str | list | tuple):
        return wanted  # a template already
    names = [wanted] if isinstance(wanted, str) else wanted
    missing = []
    for name in names:
        try:
            return Page(engine().get_template(name))
        except TemplateDoesNotExist as error:
            missing.append(error)
    raise TemplateDoesNotExist(", ".join(names), chain=missing)
