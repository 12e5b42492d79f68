"""A changelist that pages by key: no COUNT, no OFFSET, newest first, at any size."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

BEFORE = "before"  # show what is older than this id
AFTER = "after"  # show what is newer than this id


class KeysetChangeList(ChangeList):
    """Rows by descending primary key, one page at a time; the page's place is an id in the address."""

    older_url: str | None = None
    newer_url: str | None = None
    first_url: str | None = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Model]:
        """The filtered rows. The place in the list is no filter, and no link but ours may carry it on."""
        for name in (BEFORE, AFTER):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Model]) -> list[Any]:
        """Always newest first: any other order would need a sort of the whole table."""
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        """Fetch one row more than the page holds: that row says whether there is another page."""
        size = self.list_per_page
        before, after = _key(request.GET.get(BEFORE)), _key(request.GET.get(AFTER))
        if after is not None:
            rows = list(self.queryset.filter(pk__gt=after).order_by("pk")[: size + 1])
            has_newer, has_older = len(rows) > size, True
            rows = rows[:size][::-1]
        else:
            page = self.queryset if before is None else self.queryset.filter(pk__lt=before)
            rows = list(page[: size + 1])
            has_newer, has_older = before is not None, len(rows) > size
            rows = rows[:size]
        if rows and has_older:
            self.older_url = self.get_query_string({BEFORE: rows[-1].pk})
        if rows and has_newer:
            self.newer_url = self.get_query_string({AFTER: rows[0].pk})
        if before is not None or after is not None:
            self.first_url = self.get_query_string()
        self.result_list = rows
        # What the stock templates ask for. The count is the page's own, so "select all N" is never offered.
        self.result_count = len(rows)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(rows, max(len(rows), 1))


def _key(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None
