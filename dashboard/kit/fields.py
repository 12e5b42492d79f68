"""Inputs of forms that Django's own lack: a moment in a person's own zone, and a length of time as people write it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.functional import keep_lazy
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from dashboard.kit.numbers import decimal_mark, in_figures

FORMATS = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")
UNITS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
MAX_SPAN_TEXT = 60  # characters

_BARE = re.compile(r"[0-9]{1,12}(?:[.,][0-9]{1,6})?", re.ASCII)
_SPAN = re.compile(rf"({_BARE.pattern}) ?(d|h|min|s)(?![a-z]) ?", re.ASCII)


@keep_lazy(SafeString)
def _zoned(label: str) -> SafeString:
    """``label`` as HTML, in which the browser puts its own zone for UTC."""
    return mark_safe(conditional_escape(label).replace("UTC", '<span data-zone="utc">UTC</span>'))  # noqa: S308 - escaped


class UtcField(forms.DateTimeField):
    """A moment, sent in UTC, whatever zone Django was told, whose clocks may know no such time, or know it twice.

    The browser (``times.js``) shows and takes it in the person's own zone, and sends UTC; without it all is UTC. The
    label says which: its "UTC" is replaced by the zone.
    """

    def __init__(self, *, label: Any = "", **options: Any) -> None:
        """``options``: as any field's."""
        # What a browser fills in again after a reload would be local time, where UTC is expected.
        attrs = {"type": "datetime-local", "step": "1", "data-utc": "", "autocomplete": "off"}
        widget = forms.DateTimeInput(attrs=attrs, format=FORMATS[1])
        super().__init__(input_formats=FORMATS, widget=widget, label=_zoned(label), **options)

    def to_python(self, value: Any) -> datetime | None:
        """The moment. Raises ValidationError."""
        with timezone.override(UTC):
            return super().to_python(value)

    def prepare_value(self, value: Any) -> Any:
        """What the input shows."""
        with timezone.override(UTC):
            return super().prepare_value(value)


class SpanField(forms.CharField):
    """A length of time, such as ``90 s``, ``5 min``, ``1 h 30 min`` or ``2 d``; a timedelta, None where it is empty."""

    def __init__(self, *, bare_unit: str = "", **options: Any) -> None:
        """``bare_unit``: what a number without a unit counts, if it may be without. ``options``: as any field's."""
        self.bare_unit = bare_unit
        super().__init__(max_length=MAX_SPAN_TEXT, empty_value=None, **options)

    def clean(self, value: Any) -> Any:
        """The length. Raises ValidationError."""
        text = super().clean(value)
        if text and self.bare_unit and _BARE.fullmatch(text):
            text = f"{text} {self.bare_unit}"
        return None if text is None else _read(text)

    def prepare_value(self, value: Any) -> Any:
        """What the input shows."""
        return in_full(value) if isinstance(value, timedelta) else value


def in_full(span: timedelta) -> str:
    """A length of time in all its units, as ``SpanField`` reads it."""
    left, parts = span.total_seconds(), []
    for unit, size in UNITS.items():
        count = left if unit == "s" else left // size
        left -= count * size
        if count:
            parts.append(in_figures(f"{count:.6f}".rstrip("0").rstrip(".")) + f" {unit}")
    return " ".join(parts) or "0 s"


def _number(text: str) -> float | None:
    """A number with the language's own decimal mark, or a point; None where that could be the mark of a thousand."""
    mark = decimal_mark()
    if ("," in text and mark != ",") or (mark != "." and re.fullmatch(r"\d{1,3}\.\d{3}", text)):
        return None
    return float(text.replace(",", "."))


def _read(text: str) -> timedelta:
    place, seconds = 0, 0.0
    while place < len(text):
        match = _SPAN.match(text, place)
        number = None if match is None else _number(match[1])
        if match is None or number is None:
            raise forms.ValidationError(_("Write a length of time, such as 90 s, 5 min, 1 h 30 min or 2 d."))
        seconds += number * UNITS[match[2]]
        place = match.end()
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise forms.ValidationError(_("That is longer than any calendar.")) from None
