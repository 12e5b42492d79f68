"""Moments, as every page has them: written in UTC, which the browser (``times.js``) turns into the operator's own zone.

Then UTC is what stands on hover. Words that hold a moment, such as a banner's or a reason's, are written by ``plain``
and marked when they are shown, by ``marked``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

NEAR = timedelta(hours=20)  # a clock alone says when that is

_PLAIN = re.compile(r"\b(\d{4}-\d\d-\d\d) (\d\d:\d\d(?::\d\d)?) UTC\b", re.ASCII)


def exact(at: datetime | None) -> str:
    """A moment in UTC, to the millisecond."""
    if at is None:
        return ""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def plain(at: datetime, *, seconds: bool = False) -> str:
    """A moment in UTC, as text that ``marked`` knows again."""
    return f"{at.astimezone(UTC):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}} UTC"


def moment(at: datetime | None) -> SafeString | str:
    """A moment to the second."""
    if at is None:
        return ""
    return format_html(
        '<time datetime="{}" data-as="whole" title="{}">{}</time>', at.isoformat(), exact(at), plain(at, seconds=True)
    )


def dated(at: datetime) -> SafeString:
    """A moment to the second, with its day of the week."""
    shown = f"{date_format(at.astimezone(UTC).date(), 'D')} {plain(at, seconds=True)}"
    return format_html('<time datetime="{}" data-as="dated" title="{}">{}</time>', at.isoformat(), exact(at), shown)


def clock(at: datetime | None) -> SafeString | str:
    """A moment by the clock, with its day where that is another one."""
    if at is None:
        return ""
    is_near = abs(timezone.now() - at) < NEAR
    shown = f"{at.astimezone(UTC):%H:%M}" if is_near else in_short(at)
    form = "time" if is_near else "moment"
    return format_html('<span data-at="{}" data-as="{}" title="{}">{}</span>', at.isoformat(), form, exact(at), shown)


def in_short(at: datetime) -> str:
    """A moment in UTC with its day of the week, in the language of the page: ``Mon 30 Nov 03:12``."""
    utc = at.astimezone(UTC)
    return f"{date_format(utc.date(), 'D d M')} {utc:%H:%M}".replace(".", "")


def marked(words: str, *, beside: bool = False) -> SafeString:
    """``words`` as HTML, escaped unless they are safe, with each moment in them marked as one.

    ``beside``: UTC stays to be read beside the operator's own time, for what is looked up in a log.
    """
    mark = partial(_mark, " data-beside" if beside else "")
    return mark_safe(_PLAIN.sub(mark, conditional_escape(words)))  # noqa: S308 - escaped, and what is put in is ours


def _mark(more: str, match: re.Match[str]) -> str:
    day, time = match.groups()
    form = "whole" if time.count(":") > 1 else "minute"
    whole = f"{day}T{time if form == 'whole' else f'{time}:00'}+00:00"
    return f'<time datetime="{whole}" data-as="{form}"{more} title="{match[0]}">{match[0]}</time>'
