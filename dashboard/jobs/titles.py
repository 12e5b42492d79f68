"""What a list of jobs is called: which jobs it shows, in words, for its heading and for the browser's tab."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.queries import RETRYING
from dashboard.kit.selection_words import in_words
from dashboard.kit.sensitive import may_see
from handlers.selection import Selection, hidden
from handlers.states import State

# One state comes first: a tab shows some letters only.
STATES = {
    State.FAILED.value: gettext_lazy("failed %(jobs)s"),
    RETRYING: gettext_lazy("retrying %(jobs)s"),
    State.SCHEDULED.value: gettext_lazy("scheduled %(jobs)s"),
    State.ENQUEUED.value: gettext_lazy("enqueued %(jobs)s"),
    State.PROCESSING.value: gettext_lazy("running %(jobs)s"),
    State.WAITING.value: gettext_lazy("waiting %(jobs)s"),
    State.SUCCEEDED.value: gettext_lazy("succeeded %(jobs)s"),
    State.DELETED.value: gettext_lazy("deleted %(jobs)s"),
}


def title(request: HttpRequest, selection: Selection | None) -> str:
    """Such as ``Failed jobs of shop.SendReceipt on queue mail``; None: what was asked for cannot be read."""
    if selection is None or selection.is_empty:
        return _("Jobs")
    shown = selection if may_see(request) else hidden(selection)
    if len(shown.states) == 1 and shown.states[0] in STATES:
        return capfirst(STATES[shown.states[0]] % {"jobs": in_words(replace(shown, states=()))})
    return capfirst(in_words(shown))
