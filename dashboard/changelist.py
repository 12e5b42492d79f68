"""A changelist that pages by key: no COUNT, no OFFSET, newest first, at any size."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from dashboard.filters import JobFilter
from dashboard.limits import TookTooLong, time_limit
from dashboard.search import AFTER, BEFORE, PLACES, SEARCH, list_query, place, selection_of, without
from handlers.selection import InvalidSelection, Selection


class KeysetChangeList(ChangeList):
    """Rows by descending primary key, one page at a time; the page's place is an id in the address."""

    older_url: str | None = None
    newer_url: str | None = None
    first_url: str | None = None
    before: int | None = None
    after: int | None = None
    wrong: InvalidSelection | None = None  # what of the address cannot be read
    too_slow = False  # reading took longer than the limit
    reached: int | None = None  # the last row that was looked at, where there was no time for those beyond it

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Model]:
        """The filtered rows. The place in the list is no filter, and no link but ours may carry it on."""
        self._forget_place()
        return super().get_queryset(request, exclude_parameters)

    def _forget_place(self) -> None:
        for name in PLACES:
            self.params.pop(name, None)
            self.filter_params.pop(name, None)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Model]) -> list[Any]:
        """Always newest first: any other order would need a sort of the whole table."""
        return ["-pk"]

    def page(self, size: int) -> list[Any]:
        """At most ``size`` rows: newest first, or oldest first where the page begins after a place."""
        if self.after is not None:
            return list(self.queryset.filter(pk__gt=self.after).order_by("pk")[:size])
        rows = self.queryset if self.before is None else self.queryset.filter(pk__lt=self.before)
        return list(rows[:size])

    def get_results(self, request: HttpRequest) -> None:
        """Fetch one row more than the page holds: that row says whether there is another page."""
        size, rows = self.list_per_page, []
        try:
            self.before, self.after = place(request.GET, BEFORE), place(request.GET, AFTER)
            if self.wrong is None:
                with time_limit():
                    rows = self.page(size + 1)
        except InvalidSelection as error:
            self.wrong = error
        except TookTooLong:
            self.too_slow = True
        has_more, rows = len(rows) > size, rows[:size]
        further = rows[-1].pk if has_more else self.reached
        if self.after is not None:
            rows = rows[::-1]
            older, newer = rows[-1].pk if rows else None, further
        else:
            older, newer = further, rows[0].pk if rows and self.before is not None else None
        if older is not None:
            self.older_url = self.get_query_string({BEFORE: older})
        if newer is not None:
            self.newer_url = self.get_query_string({AFTER: newer})
        if self.before is not None or self.after is not None:
            self.first_url = self.get_query_string()
        self.result_list = rows
        # What the stock templates ask for. The count is the page's own, so "select all N" is never offered.
        self.result_count = len(rows)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(rows, max(len(rows), 1))


class JobChangeList(KeysetChangeList):
    """The job list: which jobs, says the one selection that the export and bulk operations read too."""

    selection: Selection | None = None
    selection_without_state: Selection | None = None  # what the tabs count, each with its own state
    list_query = ""  # the address's part that says which jobs
    looked = 0  # jobs that were looked at one by one
    newest: int | None = None  # the newest job there was, where they were
    until = ""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Model]:
        """Every row; the filters only show what is chosen. No lookup of the stock admin reaches the database."""
        self._forget_place()
        self.query = " ".join(request.GET.getlist(SEARCH))  # the stock form refuses some texts, and forgets them
        self.list_query = list_query(request.GET)
        self.until = request.GET.get("until", "")
        params = {name: values for name, values in self.filter_params.items() if name != SEARCH}
        filters = cast("tuple[type[JobFilter], ...]", self.list_filter)
        specs = [spec(request, dict(params), self.model, self.model_admin) for spec in filters]
        self.filter_specs = [spec for spec in specs if spec.has_output()]
        self.has_filters = bool(self.filter_specs)
        self.has_active_filters = any(values != [""] for values in params.values())
        try:
            self.selection = selection_of(request)
            self.selection_without_state = selection_of(request, without(request.GET, "state"))
        except InvalidSelection as error:
            self.wrong = error
        return self.root_queryset

    def page(self, size: int) -> list[Any]:
        """At most ``size`` jobs of the selection: fewer where no index finds them, and looking took its time."""
        if self.selection is None:
            return []
        seen = self.selection.look(size, before=self.before, after=self.after)
        self.looked, self.newest = seen.looked, seen.newest
        self.reached = seen.reached if len(seen.rows) < size else None
        return seen.rows

    @property
    def further_url(self) -> str | None:
        """Where looking goes on, if it ended before the page was full."""
        if self.reached is None:
            return None
        return self.older_url if self.after is None else self.newer_url

    @property
    def whole(self) -> list[Any] | None:
        """The jobs of all states that fit, if this one page holds them all; None: not known here."""
        narrowed = self.selection is None or self.selection.states or self.too_slow
        return None if narrowed or self.older_url or self.newer_url or self.first_url else list(self.result_list)

    @property
    def newest_id(self) -> int | None:
        """The newest job of the list's first page, from which on there may be new ones; None on another page."""
        if self.selection is None or self.too_slow or self.before is not None or self.after is not None:
            return None
        if self.newest is not None:  # what matches far below must not be told as new, nor be looked for again and again
            return self.newest
        return self.result_list[0].pk if self.result_list else 0
