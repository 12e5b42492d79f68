"""The states of jobs, attempts, occurrences and workflows as people read them, in the language of the page."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import ngettext, pgettext_lazy

_WORDS: dict[str, Promise] = {
    "awaiting": pgettext_lazy("state", "awaiting"),
    "scheduled": pgettext_lazy("state", "scheduled"),
    "enqueued": pgettext_lazy("state", "enqueued"),
    "processing": pgettext_lazy("state", "processing"),
    "succeeded": pgettext_lazy("state", "succeeded"),
    "failed": pgettext_lazy("state", "failed"),
    "deleted": pgettext_lazy("state", "deleted"),
    "retrying": pgettext_lazy("state", "retrying"),
    # of an attempt
    "handed back": pgettext_lazy("state", "handed back"),
    "worker lost": pgettext_lazy("state", "worker lost"),
    "waiting": pgettext_lazy("state", "waiting"),
    "running": pgettext_lazy("state", "running"),
    # of a workflow and of a job in one
    "paused": pgettext_lazy("state", "paused"),
    "ended": pgettext_lazy("state", "ended"),
    "cancelled": pgettext_lazy("state", "cancelled"),
    "cancelling": pgettext_lazy("state", "cancelling"),
    "skipped": pgettext_lazy("state", "skipped"),
    "unneeded": pgettext_lazy("state", "not needed"),
    "gone": pgettext_lazy("state", "aged out"),
}


def counted_state(state: str, count: int) -> str:
    """How many are in it: ``3 failed``. The state ``""``: not yet in any of these."""
    match state:
        case "done":
            words = ngettext("%(number)s done", "%(number)s done", count)
        case "succeeded":
            words = ngettext("%(number)s succeeded", "%(number)s succeeded", count)
        case "failed":
            words = ngettext("%(number)s failed", "%(number)s failed", count)
        case "deleted":
            words = ngettext("%(number)s deleted", "%(number)s deleted", count)
        case "skipped":
            words = ngettext("%(number)s skipped", "%(number)s skipped", count)
        case "unneeded":
            words = ngettext("%(number)s not needed", "%(number)s not needed", count)
        case "":
            words = ngettext("%(number)s to come", "%(number)s to come", count)
        case _other:
            words = f"%(number)s {state_words(state).replace('%', '%%')}"
    return words % {"number": f"{count:,}"}


def lazy_state_words(state: object) -> Promise:
    """As ``state_words``, for what is made before there is a page."""
    return _WORDS[str(state)]


def state_words(state: object) -> str:
    """``state``, a member of an enum or its value, as it stands in a sentence; what is unknown as it is."""
    return str(_WORDS.get(str(state), state))


def state_title(state: object) -> str:
    """The same where it stands alone."""
    return str(capfirst(state_words(state)))
