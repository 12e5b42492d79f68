"""How many jobs run at once, and start in a time, in words."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.numbers import thousands
from dashboard.kit.text import duration
from handlers.admission.terms import Terms

TIMES = {
    1: gettext_lazy("second"),
    60: gettext_lazy("minute"),
    3_600: gettext_lazy("hour"),
    86_400: gettext_lazy("day"),
}


def terms_in_words(terms: Terms) -> str:
    """Such as "at most 5 at once; at most 100 start in any minute"."""
    parts = []
    if terms.concurrency:
        parts.append(_("at most %(concurrency)s at once") % {"concurrency": thousands(terms.concurrency)})
    if terms.rate:
        time = TIMES.get(terms.rate.seconds) or duration(terms.rate.seconds)
        parts.append(
            _("at most %(starts)s start in any %(time)s") % {"starts": thousands(terms.rate.starts), "time": time}
        )
    return "; ".join(parts) or _("any number")
