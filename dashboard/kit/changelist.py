"""A changelist that pages by key: no COUNT, no OFFSET, newest first, at any size."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from dashboard.kit.filters import FEW, DeclaredFilter
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.search import AFTER, BEFORE, PLACES, place
from handlers.selection import InvalidSelection


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

    def kept(self) -> list[tuple[str, str]]:
        """What the address says beside the selects and the search box, which the form must carry along."""
        return []

    def any_words(self, spec: DeclaredFilter) -> str:
        """What a select says where nothing is chosen."""
        return _("Any %(what)s") % {"what": spec.title}

    def _names_url(self, spec: DeclaredFilter) -> str:
        url = reverse(spec.names_url, current_app=self.model_admin.admin_site.name)
        return f"{url}?{urlencode({'of': str(spec.parameter_name)})}"

    @property
    def bar(self) -> dict[str, Any]:
        """The search box's company: a select for each filter that is shown as one, and what the form carries along."""
        shown = [spec for spec in self.filter_specs if isinstance(spec, DeclaredFilter) and spec.is_select]
        selects = [
            {
                "name": spec.parameter_name,
                "title": spec.title,
                "value": spec.value(),
                "options": spec.lookup_choices[:FEW] if spec.is_typed else spec.offered(),
                "any": self.any_words(spec),
                "names_url": self._names_url(spec) if spec.is_typed else "",
            }
            for spec in shown
        ]
        kept = self.kept()
        return {
            "selects": selects,
            "kept": kept,
            "is_narrowed": any(select["value"] for select in selects),
            "is_active": bool(self.query) or any(select["value"] for select in selects) or "until" in dict(kept),
            "clear": urlencode([pair for pair in kept if pair[0] != "until"]),
        }
