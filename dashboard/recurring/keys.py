"""In which order the list is read, page by page, and where a page begins: by key, so that no page costs more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from handlers.models import RecurringJob

Rows = QuerySet[RecurringJob]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Key(ABC):
    """An order. ``place``: a row's place as addresses hold it; what is none of them is the beginning."""

    @abstractmethod
    def place(self, row: RecurringJob) -> str:
        """Where ``row`` is."""

    @abstractmethod
    def after(self, rows: Rows, place: str) -> Rows:
        """Those that come after it, the first one first."""

    @abstractmethod
    def before(self, rows: Rows, place: str) -> Rows:
        """Those that come before it, the last one first."""


class Name(Key):
    """By name."""

    def place(self, row: RecurringJob) -> str:
        """Where ``row`` is."""
        return row.name

    def after(self, rows: Rows, place: str) -> Rows:
        """Those that come after it, the first one first."""
        return rows.filter(name__gt=place).order_by("name")

    def before(self, rows: Rows, place: str) -> Rows:
        """Those that come before it, the last one first."""
        return rows.filter(name__lt=place).order_by("-name")


class Next(Key):
    """By when they are fired next. Of those that are never again there is no place."""

    def place(self, row: RecurringJob) -> str:
        """Where ``row`` is."""
        assert row.next_at is not None
        return f"{(row.next_at - EPOCH) // MICROSECOND}.{row.pk}"

    def after(self, rows: Rows, place: str) -> Rows:
        """Those that come after it, the first one first."""
        return self._beyond(rows, place, "gt").order_by("next_at", "pk")

    def before(self, rows: Rows, place: str) -> Rows:
        """Those that come before it, the last one first."""
        return self._beyond(rows, place, "lt").order_by("-next_at", "-pk")

    def _beyond(self, rows: Rows, place: str, way: str) -> Rows:
        rows = rows.filter(next_at__isnull=False)
        moment, _, pk = place.partition(".")
        if not all(part.isascii() and part.isdigit() and len(part) < 18 for part in (moment, pk)):
            return rows
        at: Any = EPOCH + int(moment) * MICROSECOND
        return rows.filter(Q(**{f"next_at__{way}": at}) | Q(**{f"pk__{way}": int(pk)}), **{f"next_at__{way}e": at})


NAME, NEXT = Name(), Next()
