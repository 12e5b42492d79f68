"""Addresses: the console, and the demo shop when it is on."""

from __future__ import annotations

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path, reverse_lazy
from django.views.generic import RedirectView

from dashboard.site import site

handler400 = "dashboard.errors.bad_request"
handler403 = "dashboard.errors.forbidden"
handler404 = "dashboard.errors.page_not_found"
handler500 = "dashboard.errors.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", site.urls),
    path("api/v1/", include("handlers.api.urls")),
]
if settings.DEMO:
    urlpatterns.append(path("shop/", include("jobsite.demo.urls")))
    site.site_url = reverse_lazy("shop:shop")  # the console's "View site"
