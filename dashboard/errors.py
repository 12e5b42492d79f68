"""Pages for what goes wrong: in the console's look, telling nothing of the inside, and without a database.

A project's ``urls.py`` takes them for all of its addresses: ``handler404 = "dashboard.errors.page_not_found"``.
"""

from __future__ import annotations

import logging
import sys
import traceback

from django.db import ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from dashboard.kit.moments import marked, plain
from dashboard.kit.rendering import Page, engine
from handlers.execution import TRANSIENT

RETRY_SECONDS = 5
LACKING = ("42P01", "42703")  # PostgreSQL's codes for a table or a column that is not there
SHEETS = ("admin/css/base.css", "admin/css/login.css", "dashboard/tokens.css", "dashboard/shell.css")
logger = logging.getLogger(__name__)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404."""
    return alone(
        404, _("There is no page here"), [_("The address was cut short on its way, or what it led to is gone.")]
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """500. Says when, so that whoever keeps the site finds it in the log; 503 where a database is away, and which."""
    error = sys.exc_info()[1]
    if isinstance(error, (*TRANSIENT, ProgrammingError)) and (alias := _database_of(error)):
        lacks = getattr(error.__cause__, "sqlstate", "") in LACKING or "no such " in str(error)  # SQLite has no code
        if lacks or not isinstance(error, ProgrammingError):
            return _without_database(request, alias, lacks=lacks)
    at = plain(timezone.now(), seconds=True)
    lines = [
        _("Something on the server failed, at %(at)s. The log of that moment says what.") % {"at": at},
        _("If you had pressed a button: what it did is on the audit. Jobs go on without the console."),
    ]
    return alone(500, _("This did not work"), lines)


def _without_database(request: HttpRequest, alias: str, *, lacks: bool) -> HttpResponse:
    """503, which names the database as the settings do, and nothing of where it is or what it answered."""
    told = {"name": alias, "at": plain(timezone.now(), seconds=True)}
    if lacks:
        title = _("The database does not fit this release")
        lines = [
            _("The database “%(name)s” lacks a table or a column, it said at %(at)s.") % told,
            _("Run “python manage.py migrate”. The log of that moment says what it misses."),
        ]
    else:
        title = _("The database does not answer")
        lines = [
            _("The database “%(name)s” did not answer, or refused, at %(at)s.") % told,
            _(
                "Look whether its server runs, takes connections and has room on its disk. The log of that moment says"
                " what was in the way."
            ),
            _("No job is lost: workers wait for it and go on by themselves."),
        ]
    again = request.get_full_path() if request.method == "GET" else ""
    if not again:
        lines.append(_("Whether your button has done something, the audit says once the database is back."))
    answer = alone(503, title, lines, again=again)
    answer.headers["Retry-After"] = str(RETRY_SECONDS)
    return answer


def _database_of(error: Exception) -> str:
    """The alias of the database whose connection ``error`` came through; empty for none."""
    owners = [frame.f_locals.get("self") for frame, _line in traceback.walk_tb(error.__traceback__)]
    for owner in reversed(owners):
        connection = owner.db if isinstance(owner, CursorWrapper) else owner
        if isinstance(connection, BaseDatabaseWrapper):
            return str(connection.alias)
    return ""


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


def alone(status: int, title: str, lines: list[str], *, again: str = "") -> HttpResponse:
    """A page that needs nothing but its template; in plain text where not even that is to be had.

    ``again``: an address that may be there a moment later.
    """
    try:
        page = Page(engine().get_template("dashboard/kit/alone.html"))
        context = {
            "status": status,
            "title": title,
            "lines": [marked(line, beside=True) for line in lines],
            "script": static("dashboard/times.js"),
            "home": _home(),
            "again": again,
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
