"""The list of sagas: which need somebody, and where is the one of this order?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.kit import by_key
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.reach import concerning, in_words
from dashboard.kit.search import PLACES
from dashboard.sagas import stories
from dashboard.sagas.access import VIEW, need_open, seen, types_seen
from dashboard.sagas.standing import STATES, Standing
from dashboard.sagas.stories import Failing
from handlers.failures import clean
from handlers.models import SagaKey, SagaRecord

SIZE = 50  # on a page
URGENT = 10  # that need somebody, which the first page shows above the others
MAX_SEARCH = 200  # characters
FOUND = 500  # sagas of one key's value that are looked at
MOST_TYPES = 200  # that the filter offers
FILTERS = ("q", "type", "state")


def sagas(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Those that the address asks for, newest first, a page at a time; on the first, what needs somebody above."""
    need_open(request)
    asked = {name: clean(request.GET.get(name, ""), MAX_SEARCH).strip() for name in FILTERS}
    is_first = not any(request.GET.get(name) for name in PLACES)
    now = timezone.now()
    within, all_seen = types_seen(request), seen(request)
    rows: list[SagaRecord] = []
    urgent: list[SagaRecord] = []
    types: list[str] = []
    links: dict[str, str] = {}
    jobs_failed: set[int] = set()
    failing = Failing(frozenset(), is_all=True)
    too_slow = False
    try:
        with time_limit():
            types = known_types() if within is None else [name for name in within if _are_there(name)]
            # Of a story any job may have failed: to whom some are none of their business this says nothing.
            failing = stories.failing() if within is None else failing
            if is_first and not any(asked.values()):
                urgent = needing(all_seen, now, failing)
            # Those that go on are few among many that are over: the index has them by type.
            by_type = asked["state"] == "open" or within is not None
            each = [asked["type"]] if asked["type"] else types if by_type else [""]
            wanted = _wanted(all_seen, within, asked["q"], asked["state"], now, failing)
            rows, links = by_key.page(request.GET, partial(_read, wanted, each), SIZE, keeps=FILTERS)
            jobs_failed = stories.failed_among([*rows, *urgent], failing)
    except TookTooLong:
        too_slow = True
    context = {
        **site.each_context(request),
        "title": _("Sagas"),
        "standings": [Standing(row, now, row.pk in jobs_failed) for row in rows],
        "urgent": [Standing(row, now, row.pk in jobs_failed) for row in urgent[:URGENT]],
        "more_urgent": len(urgent) > URGENT,
        "types": types,
        **asked,
        **links,
        "too_slow": too_slow,
        "is_filtered": any(asked.values()),
        "is_first": is_first,
        "states": {name: words for name, words in STATES.items() if within is None or name != "job"},
        "limit": "" if within is None else in_words(concerning(request, VIEW)),
        "most_failed": 0 if failing.is_all else stories.MOST_FAILED,
    }
    return TemplateResponse(request, "dashboard/sagas/list.html", context, status=503 if too_slow else 200)


def known_types() -> list[str]:
    """The types that sagas have, by name: one look into the index for each."""
    found: list[str] = []
    names = SagaRecord.objects.order_by("saga_type").values_list("saga_type", flat=True)
    last = names.first()
    while last is not None and len(found) < MOST_TYPES:
        found.append(last)
        last = names.filter(saga_type__gt=last).first()
    return found


def _are_there(name: str) -> bool:
    return SagaRecord.objects.filter(saga_type=name).exists()


def needing(rows: QuerySet[SagaRecord], now: Any, failing: Failing) -> list[SagaRecord]:
    """Those that need somebody: what failed first, then those of which a job did, then what has been stuck longest;
    one more than are shown."""
    failed = list(rows.filter(_TROUBLE).order_by("-pk")[: URGENT + 1])
    stuck = rows.filter(_stuck(now)).order_by("stuck_at", "pk")[: URGENT + 1]
    of_jobs = rows.filter(pk__in=stories.sagas_of(failing)).order_by("-pk")[: URGENT + 1]
    found = {row.pk: row for row in (*failed, *of_jobs, *stuck)}
    return [*found.values()][: URGENT + 1]


_TROUBLE = ~Q(error="", unreadable="") & Q(completed_at=None)


def _stuck(now: Any) -> Q:
    return Q(stuck_at__isnull=False, stuck_at__lte=now)


def _wanted(
    rows: QuerySet[SagaRecord], within: Sequence[str] | None, q: str, state: str, now: Any, failing: Failing
) -> QuerySet[SagaRecord]:
    if q:
        rows = rows.filter(pk__in=_found(rows, q, within))
    match state:
        case "trouble":
            rows = rows.filter(_TROUBLE)
        case "job":
            rows = rows.filter(pk__in=stories.sagas_of(failing))
        case "stuck":
            rows = rows.filter(_stuck(now))
        case "open":
            rows = rows.filter(completed_at=None)
        case "completed":
            rows = rows.filter(completed_at__isnull=False)
    return rows


def _found(rows: QuerySet[SagaRecord], q: str, within: Sequence[str] | None) -> list[int]:
    """Those of ``rows`` of this id, correlation, or value of a key; ``order_id:42`` says of which key."""
    number = q.removeprefix("#")
    if number != q:
        return [int(number)] if number.isascii() and number.isdigit() and len(number) < 19 else []
    name, colon, value = q.partition(":")
    keys = Q(value__in=_as_json(q))
    if colon and name:
        keys |= Q(name=name.strip(), value__in=_as_json(value.strip()))
    known = SagaKey.objects.filter(keys, saga_id__isnull=False)
    # Those that one does not see take no place of those that one does.
    known = known if within is None else known.filter(saga_type__in=within)
    ids = known.order_by("-pk").values_list("saga_id", flat=True)
    more = rows.filter(correlation=q[:64]).order_by("-pk").values_list("pk", flat=True)
    return [*(found for found in ids[:FOUND] if found is not None), *more[:FOUND]]


def _as_json(text: str) -> list[str]:
    """How a key's value is written that people type: a word, or a number."""
    found = [json.dumps(text, ensure_ascii=False)]
    if text.removeprefix("-").replace(".", "", 1).isdigit() or text in ("true", "false"):
        found.append(text)
    return found


def _read(rows: QuerySet[SagaRecord], types: Sequence[str], where: Q, order: str) -> list[SagaRecord]:
    """The first of these types (empty: of any), one more than a page has."""
    found: list[SagaRecord] = []
    for name in types:
        of_type = rows.filter(where, saga_type=name) if name else rows.filter(where)
        found += of_type.order_by(order)[: SIZE + 1]
    return sorted(found, key=lambda row: row.pk, reverse=order == "-pk")[: SIZE + 1]
