"""The job list's changelist: which jobs, its tabs, and how far it was looked for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from dashboard.jobs import rows
from dashboard.jobs.counts import tab_counts
from dashboard.jobs.filters import JobFilter, StateFilter
from dashboard.kit import crowd
from dashboard.kit.changelist import KeysetChangeList
from dashboard.kit.filters import DeclaredFilter
from dashboard.kit.search import SEARCH, list_query, selection_of, without
from handlers.selection import InvalidSelection, Selection


class JobChangeList(KeysetChangeList):
    """The job list: which jobs, says the one selection that the export and bulk operations read too."""

    selection: Selection | None = None
    selection_without_state: Selection | None = None  # what the tabs count, each with its own state
    list_query = ""  # the address's part that says which jobs
    looked = 0  # jobs that were looked at one by one
    newest: int | None = None  # the newest job there was, where they were
    until = ""
    _person = ""  # a key
    tags: Sequence[Sequence[str]] = ()  # of each job on the page

    def get_results(self, request: HttpRequest) -> None:
        """The jobs, each with what is shown of it beside its row."""
        super().get_results(request)
        self.tags = rows.dress(request, self.result_list)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Model]:
        """Every row; the filters only show what is chosen. No lookup of the stock admin reaches the database."""
        self._forget_place()
        self._person = str(request.user.pk)
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
        looks = self.selection.looks_at_newest  # at jobs one by one, which takes a thread for a while
        with crowd.searches.place(self._person) if looks else nullcontext():
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

    @property
    def state_filter(self) -> StateFilter | None:
        """The filter that is shown as tabs."""
        return next((spec for spec in self.filter_specs if isinstance(spec, StateFilter)), None)

    def any_words(self, spec: DeclaredFilter) -> str:
        """What a select says where nothing is chosen: that the search box says it, where it does."""
        fields = {"type": "types", "queue": "queues", "worker": "worker", "since": "since"}
        field = fields.get(str(spec.parameter_name))
        if field and not spec.value() and self.selection is not None and getattr(self.selection, field):
            return _("As searched: %(what)s") % {"what": spec.title}
        return super().any_words(spec)

    def kept(self) -> list[tuple[str, str]]:
        """The tab's state, and the end of the time, which no select says."""
        kept = [("state", str(spec.value()))] if (spec := self.state_filter) and spec.value() else []
        return [*kept, ("until", self.until)] if self.until else kept

    def tabs(self) -> list[dict[str, Any]]:
        """The tabs above the job list: a link for each state, and a capped count where it can be had at once."""
        spec = self.state_filter
        if spec is None:
            return []
        counts = {}
        if self.selection_without_state is not None:
            counts = tab_counts(self.selection_without_state, self.whole)
        tabs = []
        choices = [*spec.choices(self)]  # the first is all, in any state
        for value, choice in zip(("", *(value for value, _label in spec.lookup_choices)), choices, strict=True):
            tabs.append(
                {
                    "label": choice["display"],
                    "value": value,
                    "url": choice["query_string"],
                    "selected": choice["selected"],
                    "count": counts.get(value, ""),
                }
            )
        return tabs
