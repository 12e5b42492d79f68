"""The API's addresses: ``path("api/v1/", include("handlers.api.urls"))``, under any path."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

try:
    import ninja  # noqa: F401 - asked for here, where a site without it can be told
except ImportError as error:
    raise ImproperlyConfigured(
        f'The API needs django-ninja ({error}): pip install "jobsite[api]", or leave handlers.api.urls out of the urls.'
    ) from error

from handlers.api.site import url_patterns

app_name = "jobs_api_v1"
urlpatterns = url_patterns()
