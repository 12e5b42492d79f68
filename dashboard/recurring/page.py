"""The page of one recurring job: what it does, what will run next, what ran, and who changed it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit import serving
from dashboard.kit.payload_page import ENQUEUE
from dashboard.kit.search import BEFORE, place
from dashboard.kit.sensitive import may_see, shown, shown_context
from dashboard.kit.text import call, inert
from dashboard.kit.verbs import MAX_REASON
from dashboard.recurring.access import CHANGE, DELETE, PAUSE, TRIGGER, found, may, need_open
from dashboard.recurring.entries import Entry, entries, firings
from dashboard.recurring.rule import coming, warnings
from handlers.audit import target_column
from handlers.exceptions import InvalidJob
from handlers.models import AuditEntry, Misfire, Overlap, RecurringJob
from handlers.recurrence.definition import columns_of
from handlers.recurrence.verbs import VERBS
from handlers.selection import InvalidSelection

SIZE = 25  # occurrences on a page
WINDOW = 20_000  # of the audit's newest entries: what one's history is looked for in
MAX_CHANGES = 30  # shown
# How long a pause may last: what the form sends, and words for it.
SPANS = {
    "": (gettext_lazy("until resumed"), None),
    "1h": (gettext_lazy("for 1 h"), timedelta(hours=1)),
    "8h": (gettext_lazy("for 8 h"), timedelta(hours=8)),
    "24h": (gettext_lazy("for 24 h"), timedelta(hours=24)),
    "7d": (gettext_lazy("for 7 days"), timedelta(days=7)),
}
DID = {
    "add_recurring": gettext_lazy("made it"),
    "change_recurring": gettext_lazy("changed it"),
    "remove_recurring": gettext_lazy("removed it"),
    "trigger_recurring": gettext_lazy("triggered it"),
    "backfill_recurring": gettext_lazy("backfilled it"),
    "pause_recurring": gettext_lazy("paused it"),
    "resume_recurring": gettext_lazy("resumed it"),
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Change:
    """One entry of its history."""

    at: datetime
    username: str
    did: str
    reason: str


def recurring_job(site: AdminSite, request: HttpRequest, entry_id: int) -> TemplateResponse:
    """One of them."""
    need_open(request)
    row, now = found(request, entry_id), timezone.now()
    [entry] = entries(request, [row], now)
    context = {
        **site.each_context(request),
        "title": inert(row.name),
        "entry": entry,
        "row": row,
        "call": _call(request, entry),
        "travels": shown_context(request, row.context),
        "options": _options(request, row),
        "warnings": _warnings(row),
        "coming": coming(row, now),
        "service": serving.of(request, row.queue or (entry.job_type.queue if entry.job_type else "default")),
        "history": _history(row) if may(request, row, "jobsite_jobs.view_auditentry") else [],
        "may_trigger": may(request, row, TRIGGER),
        "may_pause": may(request, row, PAUSE),
        "may_edit": may(request, row, CHANGE, ENQUEUE) and not row.in_code,
        "may_delete": may(request, row, DELETE) and not row.in_code,
        "spans": [(value, words) for value, (words, _length) in SPANS.items()],
        "max_reason": MAX_REASON,
        **_occurrences(request, row),
    }
    return TemplateResponse(request, "dashboard/recurring/job.html", context)


def heartbeat(request: HttpRequest, row: RecurringJob) -> str:
    """Where heartbeats go, as far as this person may see it: the rest of the address is a secret."""
    if may_see(request):
        return inert(row.heartbeat_url)
    return inert(urlsplit(row.heartbeat_url).hostname or "")


def _call(request: HttpRequest, entry: Entry) -> str:
    data = shown(request, entry.job_type or entry.row.job_type, entry.row.data)
    if entry.job_type is None:
        return call(entry.row.job_type, "", data)
    name = entry.job_type.payload_class.__name__
    return call(entry.job_type.name, name, data, kind=entry.job_type.kind, queue=entry.row.queue or None)


def _options(request: HttpRequest, row: RecurringJob) -> dict[str, Any]:
    """What there is to say beside the rule."""
    return {
        "jitter": timedelta(seconds=row.jitter_seconds) if row.jitter_seconds else None,
        "misfire": Misfire(row.misfire).label,
        "catch_up_within": timedelta(seconds=row.catch_up_seconds) if row.misfire == Misfire.EACH else None,
        "overlap": Overlap(row.overlap).label,
        "heartbeat": heartbeat(request, row),
        "is_cut": bool(row.heartbeat_url) and not may_see(request),
    }


def _warnings(row: RecurringJob) -> tuple[str, ...]:
    try:
        return warnings(columns_of(row))
    except InvalidJob:
        return ()


def _occurrences(request: HttpRequest, row: RecurringJob) -> dict[str, Any]:
    """A page of them, by key: the newest first."""
    some = row.occurrences.order_by("-due_at")
    try:
        before = place(request.GET, BEFORE)
        if before is not None:
            some = some.filter(due_at__lt=EPOCH + timedelta(microseconds=before))
    except (InvalidSelection, OverflowError):
        before = None
    occurrences = list(some[: SIZE + 1])
    older = ""
    if len(occurrences) > SIZE:
        older = f"?{BEFORE}={(occurrences[SIZE - 1].due_at - EPOCH) // timedelta(microseconds=1)}#occurrences"
    return {"firings": firings(request, row, occurrences[:SIZE]), "older_url": older, "is_first": before is None}


def _history(row: RecurringJob) -> list[Change]:
    """What was done to it, the newest first."""
    newest = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    entries = AuditEntry.objects.filter(pk__gt=newest - WINDOW, verb__in=VERBS)
    ours = entries.filter(target=target_column(f"recurring {row.name}")).order_by("-pk")[:MAX_CHANGES]
    return [_change(entry) for entry in ours]


def _change(entry: AuditEntry) -> Change:
    data = entry.data if isinstance(entry.data, dict) else {}
    changed = ", ".join(str(name) for name in data.get("changed") or [])
    did = str(DID.get(entry.verb, entry.verb)) + (f": {changed}" if changed else "")
    did += "" if entry.count else f", {_('which changed nothing')}"
    return Change(entry.at, inert(entry.username), inert(did), inert(entry.reason))
