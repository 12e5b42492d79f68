"""The page of one's own account."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from dashboard.account import keys
from dashboard.kit.pages import by, page, sent_from


def account(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Who one is here, and how the console behaves; what is sent is kept, and leads back to where it was sent from."""
    if request.method == "POST":
        if (asked := request.POST.get("single_keys")) in ("on", "off"):
            keys.switch(request, asked == "on")
            messages.success(
                request, _("Single keys act again.") if asked == "on" else _("Single keys do nothing any more.")
            )
        return HttpResponseRedirect(sent_from(request, "account"))
    user = by(request)
    groups = getattr(user, "groups", None)
    roles = sorted(groups.values_list("name", flat=True)[:50]) if groups is not None else []
    context = {
        "name": user.get_username(),
        "roles": roles,
        "is_superuser": getattr(user, "is_superuser", False),
    }
    return page(site, request, "account/account", _("Your account"), context)
