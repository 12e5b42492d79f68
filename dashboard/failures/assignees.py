"""Whose business a failure group can be: people who may enter the console."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.http import HttpRequest

from dashboard.kit.text import inert

MOST = 200  # that a form offers
MODEL: Any = get_user_model()


def names_of(ids: Iterable[Any]) -> dict[Any, str]:
    """The logins of the accounts, by their keys."""
    users = MODEL._default_manager.filter(pk__in={key for key in ids if key is not None})
    return {user.pk: inert(str(user.get_username()), 150) for user in users}


def choices(request: HttpRequest, present: Any) -> list[tuple[str, str, bool]]:
    """Who can be chosen, as (key, login, whether it is so), this person first. ``present``: the assignee's key."""
    found = {str(request.user.pk): inert(str(request.user.get_username()), 150)}
    if present is not None:
        found |= {str(key): name for key, name in names_of([present]).items()}
    if _has("is_staff"):
        active = {"is_active": True} if _has("is_active") else {}
        staff = MODEL._default_manager.filter(is_staff=True, **active).order_by(MODEL.USERNAME_FIELD)
        for user in staff[:MOST]:
            found.setdefault(str(user.pk), inert(str(user.get_username()), 150))
    return [(key, name, key == str(present)) for key, name in found.items()]


def find(text: str) -> Any:
    """The account of this key that may enter the console; None where there is none."""
    try:
        user = MODEL._default_manager.filter(pk=text).first()
    except (ValueError, ValidationError, OverflowError):
        return None
    return user if user is not None and user.is_active and user.is_staff else None


def _has(name: str) -> bool:
    try:
        MODEL._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True
