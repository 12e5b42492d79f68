"""What a list of jobs is called: which jobs it shows, in words, for its heading and for the browser's tab."""

from __future__ import annotations

from dataclasses import replace

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.queries import RETRYING
from dashboard.kit.text import inert
from handlers.selection import Selection
from handlers.states import State

MOST = 120  # characters of what is written out
STATES = {
    State.FAILED.value: gettext_lazy("failed jobs"),
    RETRYING: gettext_lazy("jobs that are retried"),
    State.SCHEDULED.value: gettext_lazy("scheduled jobs"),
    State.ENQUEUED.value: gettext_lazy("enqueued jobs"),
    State.PROCESSING.value: gettext_lazy("running jobs"),
    State.SUCCEEDED.value: gettext_lazy("succeeded jobs"),
    State.DELETED.value: gettext_lazy("deleted jobs"),
    State.AWAITING.value: gettext_lazy("jobs that await another"),
}


def title(selection: Selection | None) -> str:
    """Such as ``Failed jobs of shop.SendReceipt on mail``; None: what was asked for cannot be read."""
    if selection is None or selection.is_empty:
        return _("Jobs")
    state = selection.states[0] if len(selection.states) == 1 else ""
    words = [str(STATES.get(state, _("jobs")))]
    if len(selection.types) == 1:
        words.append(_("of %(type)s") % {"type": inert(selection.types[0], MOST)})
    if len(selection.queues) == 1:
        words.append(_("on %(queue)s") % {"queue": inert(selection.queues[0], MOST)})
    if selection.worker:
        words.append(_("of worker %(worker)s") % {"worker": inert(selection.worker, MOST)})
    said = replace(
        selection,
        states=() if state in STATES else selection.states,
        types=() if len(selection.types) == 1 else selection.types,
        queues=() if len(selection.queues) == 1 else selection.queues,
        worker="",
    )
    rest = "" if said.is_empty else inert(str(said), MOST)
    return capfirst(" ".join(words)) + (f": {rest}" if rest else "")
