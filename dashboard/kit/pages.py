"""What the pages of a room have in common: who may, who it is, and the answer within the console."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse


def need(request: HttpRequest, permission: str, words: str) -> None:
    """Raise PermissionDenied, which says ``words``, to who lacks the permission."""
    if not request.user.has_perm(permission):
        raise PermissionDenied(words)


def by(request: HttpRequest) -> AbstractBaseUser:
    """Who does it, where a permission was asked for: nobody anonymous holds one."""
    return cast("AbstractBaseUser", request.user)


def page(
    site: AdminSite, request: HttpRequest, name: str, title: str, context: dict[str, Any], status: int = 200
) -> TemplateResponse:
    """The template ``name`` of ours, such as ``limits/limit``."""
    full = {**site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"dashboard/{name}.html", full, status=status)
