"""Moments that are marked on a curve, such as deploys: a line in the drawing, and words below it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit.moments import in_short
from dashboard.kit.text import inert

NAMED = 5  # marks that are named below the chart: the newest
SHORT = 24  # characters of a version there


class Mark(Protocol):
    """A version that came into use at a moment."""

    @property
    def version(self) -> str:
        """Its name: untrusted text."""

    @property
    def at(self) -> datetime:
        """Since when it runs."""


def within(marks: Sequence[Mark], start: datetime, end: datetime) -> list[Mark]:
    """Those from ``start`` to ``end``."""
    return [mark for mark in marks if start <= mark.at <= end]


def lines(marks: Sequence[Mark], start: datetime, end: datetime, top: int, bottom: int) -> SafeString:
    """A line for each mark in a drawing that reaches from ``start`` to ``end``, between two heights in pixels."""
    whole = (end - start).total_seconds()
    return format_html_join(
        "",
        '<g class="mark"><title data-at="{}" data-as="moment" data-beside="utc">{}</title>'
        '<rect class="hit" x="{}%" y="{}" width="1%" height="{}"/><line x1="{}%" x2="{}%" y1="{}" y2="{}"/>'
        '<circle cx="{}%" cy="{}" r="4"/></g>',
        (
            (
                mark.at.isoformat(),
                _("%(time)s UTC: deployed %(version)s")
                % {"time": in_short(mark.at), "version": inert(mark.version, 64)},
                f"{max(place - 0.5, 0):.2f}",
                top,
                bottom - top,
                f"{place:.2f}",
                f"{place:.2f}",
                top,
                bottom,
                f"{place:.2f}",
                top - 5,
            )
            for mark in within(marks, start, end)
            for place in (100 * (mark.at - start).total_seconds() / whole,)
        ),
    )


def caption(marks: Sequence[Mark]) -> SafeString:
    """What the lines mean, the newest marks named; nothing where there are none."""
    if not marks:
        return SafeString("")
    named = format_html_join(
        ", ",
        '<span class="mark-name">{} <span data-at="{}" data-as="moment" title="{} UTC">{}</span></span>',
        (
            (inert(mark.version, SHORT), mark.at.isoformat(), in_short(mark.at), in_short(mark.at))
            for mark in list(marks)[: -NAMED - 1 : -1]
        ),
    )
    more = len(marks) - NAMED
    return format_html(
        '<span class="key marks"><span class="swatch mark" aria-hidden="true"></span>{} {}{}</span>',
        _("deployed:"),
        named,
        " " + ngettext("and %(number)d more", "and %(number)d more", more) % {"number": more} if more > 0 else "",
    )
