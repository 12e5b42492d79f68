"""Pages for what goes wrong: in the console's look, telling nothing of the inside, and without a database.

A project's ``urls.py`` takes them for all of its addresses: ``handler404 = "dashboard.errors.page_not_found"``.
"""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from dashboard.kit.moments import marked, plain
from dashboard.kit.rendering import Page, engine

SHEETS = ("admin/css/base.css", "admin/css/login.css", "dashboard/tokens.css", "dashboard/shell.css")
logger = logging.getLogger(__name__)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404."""
    return alone(
        404, _("There is no page here"), [_("The address was cut short on its way, or what it led to is gone.")]
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """500. Says when, so that whoever keeps the site finds it in the log."""
    at = plain(timezone.now(), seconds=True)
    lines = [
        _("Something on the server failed, at %(at)s. The log of that moment says what.") % {"at": at},
        _("If you had pressed a button: what it did is on the audit. Jobs go on without the console."),
    ]
    return alone(500, _("This did not work"), lines)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400."""
    return alone(400, _("This cannot be read"), [_("What your browser sent is no request that this site understands.")])


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403, outside the console's own pages."""
    return alone(403, _("Not permitted"), [_("You may not see this, or not do this.")])


def form_refused() -> HttpResponse:
    """403 for a form whose CSRF token does not fit: nobody knows who sent it."""
    lines = [
        _("CSRF verification failed: nothing was done."),
        _(
            "The form came from another site, or your browser keeps no cookies or does not say where a form comes"
            " from, both of which this site needs."
        ),
    ]
    return alone(403, _("This form was not taken"), lines)


def alone(status: int, title: str, lines: list[str]) -> HttpResponse:
    """A page that needs nothing but its template; in plain text where not even that is to be had."""
    try:
        page = Page(engine().get_template("dashboard/kit/alone.html"))
        context = {
            "status": status,
            "title": title,
            "lines": [marked(line, beside=True) for line in lines],
            "script": static("dashboard/times.js"),
            "home": _home(),
            "language": get_language() or "en",
            "sheets": [static(sheet) for sheet in SHEETS],
        }
        return HttpResponse(page.render(context), status=status)
    except Exception:  # whatever it is, the error that one was to be told of is worse
        logger.exception("the page for status %d could not be rendered", status)
        return HttpResponse("\n\n".join([title, *lines, ""]), status=status, content_type="text/plain; charset=utf-8")


def _home() -> str:
    try:
        return reverse("console:index")
    except NoReverseMatch:
        return "/"
