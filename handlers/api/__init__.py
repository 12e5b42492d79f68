"""The HTTP API for programs that are not Django: ``path("api/v1/", include("handlers.api.urls"))``.

What is needed to make and revoke tokens imports without django-ninja, which comes with the extra ``[api]``.
"""
