"""Going over a queryset so that another attempt goes on where this one was."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet

from handlers.cancellation import CancellationToken
from handlers.exceptions import InvalidJob
from handlers.models import JobStep
from handlers.runs import keeping
from handlers.runs.keeping import Place

M = TypeVar("M", bound=Model)

ROWS = 200  # read at once
SHARE = 0.05  # of the time may be spent on keeping the place


class Cursor(Generic[M]):
    """The rows of ``queryset`` by primary key. Raises InvalidJob for one in another order, or cut."""

    def __init__(self, queryset: QuerySet[M], name: str) -> None:
        if not isinstance(queryset, QuerySet):
            raise InvalidJob(
                f"each: takes a queryset, not a {type(queryset).__qualname__}: for anything else keep where it stands"
                " with run.checkpoint(value)",
                field="queryset",
            )
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
        self._unkept: tuple[str | None, int] | None = None  # these two, unless they hang on the handler's transaction
        self._keeping = threading.Lock()  # so that no older place is written after a newer one
        self._kept_at = self._cost = 0.0

    def rows(
        self, begun: JobStep | None, place: Place, token: CancellationToken, on_row: Callable[[], None]
    ) -> Iterator[M]:
        """The rows after those that ``begun``, what an earlier attempt has kept, says are done.

        ``on_row`` is called after each.
        """
        if begun is not None:
            self._last, self._done = begun.data, begun.rows or 0
        self._kept_at = time.monotonic()
        while chunk := list(self._next()[:ROWS]):
            for row in chunk:
                token.raise_if_cancelled()
                yield row
                self._has_done(row, place)
                on_row()
        with self._keeping:
            self._unkept = None
            self._save(place, self._last, self._done, is_done=True)

    def keep(self, place: Place) -> None:
        """Keep the place, unless it is. What a transaction has taken back was not done. From any thread."""
        with self._keeping:
            if (found := self._unkept) is not None:
                self._save(place, *found, is_done=False)
                if self._unkept is found:
                    self._unkept = None

    def _save(self, place: Place, last: str | None, done: int, *, is_done: bool) -> None:
        keeping.save_step(place, self.name, json.dumps(last).encode(), is_done=is_done, rows=done)

    def _next(self) -> QuerySet[M]:
        return self._rows if self._last is None else self._rows.filter(pk__gt=self._key.to_python(self._last))

    def _has_done(self, row: M, place: Place) -> None:
        self._last, self._done = last, done = self._key.value_to_string(row), self._done + 1
        in_transaction = any(connection.in_atomic_block for connection in connections.all(initialized_only=True))
        # Nobody else may keep what the handler's transaction can still take back.
        self._unkept = None if in_transaction else (last, done)
        if (began := time.monotonic()) - self._kept_at >= self._cost / SHARE:
            if in_transaction:
                self._save(place, last, done, is_done=False)
            else:
                self.keep(place)
            self._kept_at = time.monotonic()
            self._cost = self._kept_at - began
