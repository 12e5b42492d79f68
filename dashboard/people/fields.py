"""What the pages show of the site's own user model: of Django's fields those that it has, and its login."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.core.exceptions import FieldDoesNotExist

MODEL: Any = get_user_model()
LOGIN: str = MODEL.USERNAME_FIELD


def is_field(name: str) -> bool:
    """Whether ``name`` is a field of the user model, not a mere attribute."""
    try:
        MODEL._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def present(names: Iterable[Any]) -> tuple[str, ...]:
    """Those of Django's ``names`` that the model has, once each; ``username`` stands for the login."""
    given = (LOGIN if name == "username" else name for name in names)
    return tuple(dict.fromkeys(name for name in given if is_field(name)))


def fieldsets() -> tuple[tuple[Any, Any], ...]:
    """The stock form's, with what the model has."""
    found, seen = [], set[str]()
    for title, options in UserAdmin.fieldsets or ():
        names = [name for name in present(options["fields"]) if name not in seen]  # the login may be the email, too
        seen.update(names)
        if names:
            found.append((title, {**options, "fields": tuple(names)}))
    return tuple(found)


def add_fieldsets() -> tuple[tuple[Any, Any], ...]:
    """The stock form's for somebody new, with what the model requires."""
    required = [name for name in MODEL.REQUIRED_FIELDS if not MODEL._meta.get_field(name).blank]
    login = tuple(dict.fromkeys((LOGIN, *required)))
    return tuple(
        (title, {**options, "fields": (*login, *(name for name in options["fields"] if name != "username"))})
        for title, options in UserAdmin.add_fieldsets
    )
