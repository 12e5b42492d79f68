"""What is said to a form whose CSRF token is of another login: ``CSRF_FAILURE_VIEW = "dashboard.csrf.refused"``."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.csrf import csrf_failure

from dashboard.access import asked, pages
from dashboard.errors import form_refused
from dashboard.kit.rendering import in_console
from dashboard.signing_in import is_here
from dashboard.site import site


def refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Nothing was done; a form of the console's own gets back what was typed. Another app's gets Django's page."""
    match = request.resolver_match
    if match is None or match.namespace != site.name:
        return csrf_failure(request, reason)
    if not _is_own(request):
        return form_refused()
    request.current_app = site.name
    if match.url_name == "login":
        if site.has_permission(request):  # signed in meanwhile, in another tab
            return HttpResponseRedirect(_next(request))
        return pages.login_again(site, request, asked.read(site, request.POST.get(asked.FIELD, "")), str(pages.STALE))
    if not site.has_permission(request):
        return pages.signed_out(site, request)
    return in_console(pages.nothing_done(site, request, asked.of(site, request), str(pages.SIGNED_IN_ANEW)))


def _is_own(request: HttpRequest) -> bool:
    """Whether a page of this site sent the form: another one's gets nothing that its visitor might press."""
    sender = urlsplit(request.headers.get("Origin") or request.headers.get("Referer") or "")
    return (sender.scheme, sender.netloc) == (request.scheme, request.get_host())


def _next(request: HttpRequest) -> str:
    wanted = request.POST.get(REDIRECT_FIELD_NAME, "")
    return wanted if is_here(request, wanted) else reverse("admin:index", current_app=site.name)
