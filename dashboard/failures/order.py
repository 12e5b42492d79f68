"""In which order failure groups are listed, and where a page of them begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from dashboard.kit import metrics
from dashboard.kit.queries import failed_of_groups
from handlers.models import OPEN_STATES, FailureGroup, GroupState

SORTS = ("trouble", "last", "first", "day", "failed")
COUNTED = ("day", "failed")  # by numbers that no index has: of the groups that failed last
MOST_COUNTED = 1_000
LONGEST = 80  # characters of a place


class Place(NamedTuple):
    """The last row of a page: what it was sorted by, and its fingerprint."""

    rank: int
    at: datetime | None
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.rank}~{self.at.isoformat() if self.at else ''}~{self.fingerprint}"


class Page(NamedTuple):
    """Some groups in their order; where the next page begins, empty for none; whether older groups were left out."""

    groups: Sequence[FailureGroup]
    following: str
    cut: bool = False


@dataclass(frozen=True)
class Order:
    """One of SORTS; ``new_since``: after which a group is new."""

    sort: str
    new_since: datetime

    def read(self, text: str) -> tuple[Place | None, str]:
        """The place that an address names, and what was wrong with it."""
        if not text:
            return None, ""
        rank, _sep, rest = text.partition("~")
        at, _sep, fingerprint = rest.partition("~")
        if not fingerprint:  # as addresses of before have it
            (at, _sep, fingerprint), rank = text.partition("~"), "0"
        try:
            moment = parse_datetime(at) if at else None
        except ValueError:
            moment = None
        is_number = rank.isascii() and rank.isdigit() and len(rank) < 19
        is_name = fingerprint.isalnum() and len(fingerprint) <= 16
        is_moment = moment is not None and moment.tzinfo is not None
        if len(text) > LONGEST or not (is_number and is_name and (is_moment or (self.sort in COUNTED and not at))):
            return None, _("There is no such page; this is the first.")
        return Place(int(rank), moment, fingerprint), ""

    def page(self, groups: QuerySet[FailureGroup], place: Place | None, size: int) -> Page:
        """The next ``size`` of ``groups`` after ``place``."""
        return self._counted(groups, place, size) if self.sort in COUNTED else self._read(groups, place, size)

    def _read(self, groups: QuerySet[FailureGroup], place: Place | None, size: int) -> Page:
        column = "first_at" if self.sort == "first" else "last_at"
        groups = groups.annotate(rank=self._rank())
        if place is not None:
            later = Q(rank=place.rank) & (
                Q(**{f"{column}__lt": place.at}) | Q(**{column: place.at}, fingerprint__lt=place.fingerprint)
            )
            groups = groups.filter(later | Q(rank__gt=place.rank))
        found = list(groups.order_by("rank", f"-{column}", "-fingerprint")[: size + 1])
        if len(found) <= size:
            return Page(found, "")
        last = found[size - 1]
        return Page(found[:size], str(Place(vars(last)["rank"], getattr(last, column), last.pk)))

    def _rank(self) -> Case | Value:
        """Trouble first: what came back, what is new, what is open, what is ignored, what is resolved."""
        if self.sort != "trouble":
            return Value(0)
        return Case(
            When(state=GroupState.REGRESSED, then=0),
            When(state__in=OPEN_STATES, first_at__gte=self.new_since, then=1),
            When(state__in=OPEN_STATES, then=2),
            When(state=GroupState.IGNORED, then=3),
            default=4,
            output_field=IntegerField(),
        )

    def _counted(self, groups: QuerySet[FailureGroup], place: Place | None, size: int) -> Page:
        names = list(groups.order_by("-last_at", "-pk").values_list("pk", flat=True)[: MOST_COUNTED + 1])
        cut = len(names) > MOST_COUNTED
        names = names[:MOST_COUNTED]
        if self.sort == "day":
            numbers = metrics.failed_today(names)
        else:
            numbers = {name: count.value for name, count in failed_of_groups(names, few=True).items()}
        ranked = sorted(((numbers.get(name, 0), name) for name in names), reverse=True)
        if place is not None:
            ranked = [one for one in ranked if one < (place.rank, place.fingerprint)]
        shown = ranked[:size]
        rows = FailureGroup.objects.in_bulk([name for _number, name in shown])
        following = str(Place(shown[-1][0], None, shown[-1][1])) if len(ranked) > size else ""
        return Page([rows[name] for _number, name in shown if name in rows], following, cut)
