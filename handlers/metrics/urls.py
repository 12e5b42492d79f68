"""``path("", include("handlers.metrics.urls"))``: /metrics and /readyz."""

from __future__ import annotations

from django.urls import URLPattern, path

from handlers.metrics import views

urlpatterns: list[URLPattern] = [path("metrics", views.metrics), path("readyz", views.ready)]
