"""The console's addresses: ``path("admin/", include("dashboard.urls"))``, under any path."""

from __future__ import annotations

from django.urls import path

from dashboard.site import site

urlpatterns = [path("", site.urls)]
