"""What has gone wrong with hooks of the site's, middleware and receivers, in words."""

from __future__ import annotations

from django.utils.translation import gettext as _

from dashboard.kit.text import inert
from handlers.models import HookTrouble
from handlers.troubles import EVERY_RECEIVER, IMPORT, RECEIVER, Went


def title(told: HookTrouble) -> str:
    """Which one it is."""
    name = {"name": inert(told.name), "hook": told.hook}
    if told.name == EVERY_RECEIVER:
        return _("Receivers of jobs_moved")
    if told.hook == RECEIVER:
        return _("Receiver %(name)s") % name
    return _("Middleware %(name)s") % name if told.hook == IMPORT else _("Middleware %(name)s (%(hook)s)") % name


def went(told: HookTrouble) -> str:
    """How it went wrong for the last time."""
    detail = {"detail": inert(told.detail)}
    match told.went:
        case Went.RAISED:
            return _("raised %(detail)s") % detail
        case Went.SKIPPED:
            return _("did not call call_next")
        case Went.SWALLOWED:
            return _("swallowed what was raised")
        case Went.SLOW:
            return _("took %(detail)s, longer than it may") % detail
        case Went.BROKEN_OFF:
            return _("broken off, since it did not end within %(detail)s") % detail
        case Went.DROPPED:
            return _("too slow: %(detail)s moves of jobs were not told") % detail
        case Went.UNMADE:
            return _("cannot be imported or made: “python manage.py check” says why")
    return inert(told.went)
