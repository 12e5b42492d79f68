"""System checks of what the console needs of a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from dashboard.kit import lockouts, rendering
from dashboard.site import site
from handlers import addresses


@register(Tags.urls)
def check_console(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """An installed console can be reached: without its addresses no page of it, and no link to one, can be made."""
    try:
        if getattr(settings, "ROOT_URLCONF", None):
            reverse(f"{site.name}:index")
            return []
    except NoReverseMatch:
        pass
    return [
        Error(
            "The console is installed, and ROOT_URLCONF has no address for it.",
            hint='Add path("jobs/", include("dashboard.urls")) to it, in no namespace of your own, or take "dashboard"'
            " out of INSTALLED_APPS.",
            id="dashboard.E001",
        )
    ]


@register(Tags.templates)
def check_templates(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The pages' templates came along: in a checkout they lie beside the package, not in it."""
    if (rendering.TEMPLATES / "dashboard").is_dir():
        return []
    return [
        Error(
            f"The console's templates are not in {rendering.TEMPLATES}.",
            hint="Install the package (pip install, of the checkout or its wheel), or put the folder that holds"
            " dashboard, handlers and templates on Python's path as a whole.",
            id="dashboard.E004",
        )
    ]


@register(Tags.security)
def check_proxies(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The proxies that are trusted are such."""
    try:
        addresses.trusted(tuple(getattr(settings, addresses.SETTING, ())))
    except ImproperlyConfigured as error:
        return [Error(str(error), id="dashboard.E002")]
    return []


@register(Tags.security)
def check_lockouts(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Who knows of lock-outs is there."""
    try:
        lockouts.lockouts()
    except ImportError as error:
        hint = "Name a class such as dashboard.kit.lockouts.Lockouts, by its dotted path, or nothing."
        return [Error(f"{lockouts.SETTING}: {error}", hint=hint, id="dashboard.E003")]
    return []


@register(Tags.security)
def check_idle(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The time after which people are signed out is one."""
    from dashboard.access import idle  # needs models, which are not loaded when this module is

    try:
        idle.minutes()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="dashboard.E005")]
    return []
