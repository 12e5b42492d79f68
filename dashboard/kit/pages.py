"""What the pages of a room have in common: who may, who it is, and the answer within the console."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from dashboard.kit.verbs import MAX_REASON


def need(request: HttpRequest, permission: str, words: str) -> None:
    """Raise PermissionDenied, which says ``words``, to who lacks the permission."""
    if not request.user.has_perm(permission):
        raise PermissionDenied(words)


def by(request: HttpRequest) -> AbstractBaseUser:
    """Who does it, where a permission was asked for: nobody anonymous holds one."""
    return cast("AbstractBaseUser", request.user)


def person_of(request: HttpRequest) -> str:
    """The text of their key, by which the console keeps what is theirs: accounts may be of any kind."""
    return str(request.user.pk)[:150]


def why(request: HttpRequest) -> str:
    """The reason that the form gives; cut to what the audit keeps."""
    return request.POST.get("reason", "")[:MAX_REASON]


def sent_from(request: HttpRequest, otherwise: str) -> str:
    """The page of this site that the form stood on, or else that of the name ``otherwise``."""
    back = request.POST.get("back", "")[:4_000]
    if back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return back
    return reverse(f"admin:{otherwise}", current_app=request.current_app)


def page(
    site: AdminSite, request: HttpRequest, name: str, title: str, context: dict[str, Any], status: int = 200
) -> TemplateResponse:
    """The template ``name`` of ours, such as ``limits/limit``."""
    full = {**site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"dashboard/{name}.html", full, status=status)
