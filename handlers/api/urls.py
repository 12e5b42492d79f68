"""The API's addresses: ``path("api/v1/", include("handlers.api.urls"))``, under any path."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

try:
    import ninja  # noqa: F401 - asked for here, where a site without it can be told
except ImportError as error:
    raise ImproperlyConfigured(
        f"handlers.api.urls needs django-ninja ({error}): install the extra [api], or leave the API out of the urls."
    ) from error

from handlers.api.site import url_patterns

app_name = "jobs_api_v1"
urlpatterns = url_patterns()
