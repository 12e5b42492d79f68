"""Names that people sign in with."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser


def user_named(name: str) -> AbstractBaseUser | None:
    """Whose login ``name`` is; None: nobody's."""
    model = get_user_model()
    try:
        found: AbstractBaseUser = model._default_manager.get_by_natural_key(name)
    except (model.DoesNotExist, ValueError):  # a NUL is in no name
        return None
    return found
