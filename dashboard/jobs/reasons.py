"""Why a job moved, in the reader's language: what the engine itself writes is stored in English, and is known again.

A reason that a person or an app gave is shown as it is, and so is all else that has not the form of one in SAID.
"""

from __future__ import annotations

import re
from functools import cache

from django.utils.translation import gettext, gettext_noop

from dashboard.kit.numbers import in_figures

# As the engine writes them; %(name)s stands for what differs, the longest form of each first.
SAID = (
    gettext_noop("created"),
    gettext_noop("claimed"),
    gettext_noop("due"),
    gettext_noop("retried"),
    gettext_noop("run now"),
    gettext_noop("requeued"),
    gettext_noop("restored"),
    gettext_noop("postponed"),
    gettext_noop("snoozed"),
    gettext_noop("skipped"),
    gettext_noop("taken back before it began"),
    gettext_noop("expired before it was started"),
    gettext_noop("what it waited for is over"),
    gettext_noop("its workflow was cancelled"),
    gettext_noop("job %(count)s succeeded"),
    gettext_noop("job %(count)s failed"),
    gettext_noop("job %(count)s ended"),
    gettext_noop("all of %(number)s jobs succeeded"),
    gettext_noop("all of %(number)s jobs ended"),
    gettext_noop("all of its workflow has ended"),
    gettext_noop("its retry policy deletes what is exhausted"),
    gettext_noop("it failed, and nobody has retried it for as long as such jobs are kept"),
    gettext_noop("worker lost"),
    gettext_noop("its worker was lost before the outcome was recorded"),
    gettext_noop("worker lost while running it (%(count)s of %(most)s)"),
    gettext_noop("worker lost %(count)s times while running it"),
    gettext_noop("its worker has no handler for it: it waits for one that can"),
    gettext_noop("its worker's code does not read its arguments: it waits for one that can"),
    gettext_noop("its arguments no longer fit its type: %(why)s"),
    gettext_noop("moved from queue %(before)s to %(after)s: %(why)s"),
    gettext_noop("moved from queue %(before)s to %(after)s"),
    gettext_noop("%(name)s did not come in time"),
    gettext_noop("%(name)s had come already"),
    gettext_noop("gave up: %(why)s"),
    gettext_noop("attempt failed with %(error)s, on which the retry policy gives up"),
    gettext_noop("attempt failed with %(error)s, on which the retry policy does not retry"),
    gettext_noop("attempt failed with %(error)s; the only attempt is used up"),
    gettext_noop("attempt failed with %(error)s; all %(number)s attempts are used up"),
    gettext_noop(
        "attempt failed with %(error)s; asked to be retried: retry %(number)s of %(most)s in %(time)s,"
        " by policy %(name)s"
    ),
    gettext_noop("attempt failed with %(error)s; asked to be retried: retry %(number)s of %(most)s in %(time)s"),
    gettext_noop("attempt failed with %(error)s; retry %(number)s of %(most)s in %(time)s, by policy %(name)s"),
    gettext_noop("attempt failed with %(error)s; retry %(number)s of %(most)s in %(time)s"),
)
_GAP = re.compile(r"%\((\w+)\)s")
# What fills a gap; all others are one word.
_FORMS = {
    "why": r".+",
    "name": r".{1,200}?",
    "time": r"[\d. a-z]{2,30}",
    "count": r"\d+",
    "number": r"[\d,]+",
    "most": r"\d+",
}
_FIGURES = {"time", "number"}


def in_language(reason: str) -> str:
    """``reason`` in the reader's language, if it is the engine's."""
    if reason in _plain():
        return gettext(reason)
    for template, form in _forms():
        if match := form.fullmatch(reason):
            filled = match.groupdict()
            return gettext(template) % {k: in_figures(v) if k in _FIGURES else v for k, v in filled.items()}
    return reason


@cache
def _plain() -> frozenset[str]:
    return frozenset(text for text in SAID if "%(" not in text)


@cache
def _forms() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((text, re.compile(_pattern(text), re.DOTALL)) for text in SAID if "%(" in text)


def _pattern(template: str) -> str:
    parts = _GAP.split(template)
    return "".join(
        re.escape(part) if place % 2 == 0 else f"(?P<{part}>{_FORMS.get(part, r'[^ ;]{1,200}')})"
        for place, part in enumerate(parts)
    )
