"""Going over a queryset so that another attempt goes on where this one was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet

from handlers.cancellation import CancellationToken
from handlers.exceptions import InvalidJob
from handlers.runs import keeping
from handlers.runs.keeping import Place

M = TypeVar("M", bound=Model)

ROWS = 200  # read at once
SHARE = 0.05  # of the time may be spent on keeping the place


class Cursor(Generic[M]):
    """The rows of ``queryset`` by primary key. Raises InvalidJob for one in another order, or cut."""

    def __init__(self, queryset: QuerySet[M], name: str) -> None:
        self.name = name or f"each {queryset.model._meta.label_lower}"
        self._key = queryset.model._meta.pk
        order = tuple(queryset.query.order_by)
        if queryset.query.is_sliced or order not in {(), ("pk",), (self._key.name,)}:
            raise InvalidJob(
                f"{self.name}: goes by primary key, so that it can go on after a row: give it a queryset without"
                " order_by() and slices",
                field="queryset",
            )
        self._rows = queryset.order_by("pk")
        self._last: str | None = None  # the primary key of the row that was done last
        self._done = 0
        self._is_kept = True  # whether that is on record, or hangs on a transaction of the handler's
        self._kept_at = self._cost = 0.0

    def rows(self, begun: Any, place: Place, token: CancellationToken) -> Iterator[M]:
        """The rows after those that ``begun``, what an earlier attempt has kept, says are done."""
        if begun:
            self._last, self._done = begun["last"], begun["done"]
        self._kept_at = time.monotonic()
        while chunk := list(self._next()[:ROWS]):
            for row in chunk:
                token.raise_if_cancelled()
                yield row
                self._has_done(row, place)
        keeping.save_step(place, self.name, self._encoded(), is_done=True)
        self._is_kept = True

    def keep(self, place: Place) -> None:
        """Keep the place, unless it is: the run has ended within. What a transaction has taken back was not done."""
        if not self._is_kept:
            keeping.save_step(place, self.name, self._encoded(), is_done=False)
            self._is_kept = True

    def _next(self) -> QuerySet[M]:
        return self._rows if self._last is None else self._rows.filter(pk__gt=self._key.to_python(self._last))

    def _has_done(self, row: M, place: Place) -> None:
        self._last, self._done, self._is_kept = self._key.value_to_string(row), self._done + 1, False
        if (began := time.monotonic()) - self._kept_at >= self._cost / SHARE:
            self.keep(place)
            self._kept_at = time.monotonic()
            self._cost = self._kept_at - began
        elif any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
            self._is_kept = True

    def _encoded(self) -> bytes:
        return json.dumps({"last": self._last, "done": self._done}).encode()
