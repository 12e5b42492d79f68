"""The day's page: what piles up, quarter by quarter."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit.numbers import thousands
from dashboard.kit.text import inert, sentence
from dashboard.recurring.access import need_open, seen
from dashboard.recurring.agenda import COLUMNS, QUARTER, Agenda, agenda
from dashboard.recurring.form import ZONES, zones
from handlers.exceptions import InvalidJob
from handlers.recurrence.times import zone_of

MOST = 50_000  # entries that are read
NAMED = 40  # entries of one quarter that are named
FIRST, LAST = date(2000, 1, 1), date(2200, 1, 1)
HEIGHT, TOP, LABELS = 150, 8, 22  # pixels: of the plot, above the highest bar, below for the hours
LEAST = 2.0  # pixels: what happens once is still seen beside thousands
HOURS = 3  # from label to label


def day(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """How many firings there are when, of the day and in the zone that the address names."""
    need_open(request)
    zone, chosen, problem = _asked(request)
    rows = seen(request).filter(next_at__isnull=False).order_by("name").values_list(*COLUMNS)[:MOST]
    found = agenda(chosen, zone, rows)
    quarter = _quarter(request, found)
    named, many = found.who(quarter)
    context = {
        **site.each_context(request),
        # Translators: a day, in the letters of Django's template filter "date"
        "title": _("Recurring jobs on %(day)s") % {"day": date_format(chosen, _("l, j F Y"))},
        "zone": zone.key,
        "day": chosen,
        "problem": problem,
        "agenda": found,
        "chart": chart(found, quarter),
        "quarter": _words(found, quarter),
        "is_busiest": quarter == found.busiest,
        "count": found.counts[quarter],
        "steady": found.steady[quarter],
        "named": named[:NAMED],
        "more": len(named) - len(named[:NAMED]),
        "many": many,
        "rows": [
            (_words(found, place), count, _url(zone, chosen, quarter=place))
            for place, count in enumerate(found.counts)
            if count
        ],
        "before_url": _url(zone, chosen - timedelta(days=1)) if chosen > FIRST else "",
        "after_url": _url(zone, chosen + timedelta(days=1)) if chosen < LAST else "",
        "zones": zones(),
        "zones_id": ZONES,
    }
    return TemplateResponse(request, "dashboard/recurring/day.html", context, status=400 if problem else 200)


def chart(found: Agenda, marked: int) -> SafeString:
    """The quarters as bars, the ``marked`` one told apart."""
    most, width = max(*found.counts, 1), 100 / len(found.counts)
    scale = (HEIGHT - TOP) / most
    bars = format_html_join(
        "",
        '<g class="column"><title>{}: {}</title><rect class="hit" x="{}%" y="0" width="{}%" height="{}"/>{}{}</g>',
        (
            (
                _words(found, place), _firings(count), f"{place * width:.3f}", f"{width:.3f}", HEIGHT,
                _bar("steady", place, width, HEIGHT, steady * scale),
                _bar("marked" if place == marked else "firings", place, width, HEIGHT - steady * scale, own),
            )
            for place, (count, steady) in enumerate(zip(found.counts, found.steady, strict=True))
            for own in [max((count - steady) * scale, LEAST) if count > steady else 0.0]
        ),
    )  # fmt: skip
    labels = format_html_join(
        "",
        '<text class="tick{}" x="{}%" y="{}">{}</text>',
        (
            (" minor" if at.hour % (2 * HOURS) else "", f"{place * width:.3f}", HEIGHT + LABELS - 6, f"{at:%H:%M}")
            for place, at in enumerate(found.starts)
            if at.minute == 0 and at.hour % HOURS == 0 and not at.fold
        ),
    )
    told = {"firings": _firings(found.total), "most": thousands(most)}
    return format_html(
        '<figure class="chart day"><svg class="plot" width="100%" height="{height}" role="img" aria-label="{words}">'
        '{bars}<line class="zero" x1="0" x2="100%" y1="{base}" y2="{base}"/>{labels}</svg>'
        '<figcaption><span class="key"><span class="swatch steady" aria-hidden="true"></span>{steady}'
        '</span><span class="key"><span class="swatch firings" aria-hidden="true"></span>{others}</span>'
        '<span class="quiet">{highest}</span></figcaption></figure>',
        height=HEIGHT + LABELS,
        words=_("%(firings)s on that day; %(most)s in the fullest quarter of an hour") % told,
        steady=_("fired each minute or more often"),
        others=_("the others"),
        highest=_("in each quarter of an hour; the highest: %(most)s") % told,
        bars=bars,
        base=HEIGHT,
        labels=labels,
    )


def _bar(kind: str, place: int, width: float, foot: float, size: float) -> SafeString:
    """A bar that stands on ``foot``; nothing where it has no height."""
    if not size:
        return SafeString("")
    return format_html(
        '<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>',
        kind, f"{(place + 0.1) * width:.3f}", f"{foot - size:.1f}", f"{0.8 * width:.3f}", f"{size:.1f}",
    )  # fmt: skip


def _asked(request: HttpRequest) -> tuple[ZoneInfo, date, str]:
    """The zone and the day, and what is wrong with what was asked for."""
    problems = []
    zone = ZoneInfo("UTC")
    try:
        zone = zone_of(request.GET.get("zone", "") or "UTC")
    except InvalidJob as error:
        problems.append(sentence(error))
    today = timezone.now().astimezone(zone).date()
    text, chosen = request.GET.get("day", ""), today
    if text:
        try:
            chosen = date.fromisoformat(text)
        except ValueError:
            problems.append(_("Write a day as 2026-01-31."))
        else:
            if not FIRST <= chosen <= LAST:
                problems.append(
                    _("Choose a day from %(first)d to %(last)d.") % {"first": FIRST.year, "last": LAST.year - 1}
                )
                chosen = today
    return zone, chosen, " ".join(problems)


def _quarter(request: HttpRequest, found: Agenda) -> int:
    """Whose entries are named: the one asked for, or the busiest."""
    text = request.GET.get("quarter", "")
    if text.isascii() and text.isdigit() and len(text) < 4 and int(text) < len(found.counts):
        return int(text)
    return found.busiest


def _words(found: Agenda, quarter: int) -> str:
    """From when to when it is, on the zone's clock."""
    start: datetime = found.starts[quarter]
    end = (start.astimezone(UTC) + QUARTER).astimezone(start.tzinfo)
    told = {"start": f"{start:%H:%M}", "end": f"{end:%H:%M}"}
    return (_("%(start)s to %(end)s (again)") if start.fold else _("%(start)s to %(end)s")) % told


def _firings(count: int) -> str:
    return ngettext("%(number)s firing", "%(number)s firings", count) % {"number": thousands(count)}


def _url(zone: ZoneInfo, chosen: date, **more: Any) -> str:
    return f"?{urlencode({'day': chosen.isoformat(), 'zone': inert(zone.key), **more})}"
