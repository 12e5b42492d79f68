"""Signing in and out, and one's own password: Django's pages, which lead to no other site and leave an audit entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib.admin import AdminSite
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.db import DEFAULT_DB_ALIAS
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from handlers.writing import writing

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class SigningIn(AdminSite):
    """The stock site, for accounts that come, go and change their password."""

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The stock page. Whoever has nowhere to go, or was to go to another site, comes to the start page."""
        wanted = request.POST.get(REDIRECT_FIELD_NAME, request.GET.get(REDIRECT_FIELD_NAME))
        if not is_here(request, wanted):  # Django would go to LOGIN_REDIRECT_URL, which need not be an address of ours
            _go_on_to(request, reverse("admin:index", current_app=self.name))
        from dashboard.access import sign_ins  # needs models, which are not loaded when this module is

        answer = super().login(request, extra_context)
        if request.method == "POST":
            sign_ins.note(request, answer)
        return answer

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The stock page, which leads to no other site either."""
        wanted = request.POST.get(REDIRECT_FIELD_NAME, request.GET.get(REDIRECT_FIELD_NAME))
        if wanted is not None and not is_here(request, wanted):  # Django would ask for its own address once more
            _go_on_to(request, reverse("admin:index", current_app=self.name))
        return super().logout(request, extra_context)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The stock page; the new password and its audit entry are written together or not at all."""
        from dashboard.access import sign_ins
        from dashboard.people.entries import audit_password

        if request.method == "POST" and (until := sign_ins.refused(request, request.POST.get("old_password", ""))):
            return sign_ins.not_now(self, request, until)
        if request.method != "POST":
            return super().password_change(request, extra_context)
        with writing(DEFAULT_DB_ALIAS):
            answer = super().password_change(request, extra_context)
            if answer.status_code == 302:  # else the form is shown again
                audit_password(cast("AbstractBaseUser", request.user), request.user)
        return answer


def is_here(request: HttpRequest, address: str | None) -> bool:
    """Whether ``address`` is one of this site."""
    return url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())


def _go_on_to(request: HttpRequest, address: str) -> None:
    """Let ``request`` ask for ``address`` as the next page, however it came."""
    for name in ("GET", "POST") if request.method == "POST" else ("GET",):
        given = getattr(request, name).copy()
        given[REDIRECT_FIELD_NAME] = address
        setattr(request, name, given)
