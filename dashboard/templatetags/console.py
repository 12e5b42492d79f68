"""Filters and tags of the console's templates. Whatever comes from data is escaped here or by the template."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList
from django.utils import timezone as clock
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from dashboard import queries, text
from dashboard.changelist import JobChangeList
from dashboard.counts import tab_counts
from dashboard.filters import DeclaredFilter, StateFilter
from dashboard.verbs import VERBS
from handlers.models import JobRecord
from handlers.states import State

register = template.Library()


@register.filter
def badge(state: str) -> SafeString:
    """A state as a coloured word."""
    return format_html('<span class="state state-{}">{}</span>', str(state).replace(" ", "-"), str(state).capitalize())


@register.filter
def record_badge(record: JobRecord) -> SafeString:
    """A job's state as a coloured word; *Retrying* where it waits out a backoff."""
    return badge(queries.RETRYING if record.is_retrying else record.state)


@register.filter
def exact(at: datetime | None) -> str:
    """A moment in UTC, to the millisecond."""
    if at is None:
        return ""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


@register.filter
def ago(at: datetime | None) -> SafeString | str:
    """A moment as people say it, "3 min ago", "just now" or "in 2 h"; the exact UTC time on hover."""
    if at is None:
        return ""
    away = (at - clock.now()).total_seconds()
    if abs(away) < 1:
        words = "just now" if away <= 0 else "now"
    elif away > 0:
        words = f"in {text.rough(away)}"
    else:
        words = f"{text.rough(-away)} ago"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact(at), words)


@register.filter
def due(at: datetime | None) -> SafeString | str:
    """A moment at which something shall happen: "in 2 h", or "now" when it has come."""
    if at is None or at > clock.now():
        return ago(at)
    return format_html('<time datetime="{}" title="{}">now</time>', at.isoformat(), exact(at))


@register.filter
def utc(at: datetime | None) -> SafeString | str:
    """A moment in UTC, with how long ago on hover."""
    if at is None:
        return ""
    shown = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact(at), shown)


@register.filter
def duration(value: timedelta | float | None) -> str:
    """A length of time in words."""
    return text.duration(value)


@register.filter
def thousands(value: int) -> str:
    """A whole number with its thousands apart. (Django's own filters are for decimals, and take ten times as long.)"""
    return f"{value:,}" if isinstance(value, int) else ""


@register.filter
def inert(value: object) -> str:
    """Untrusted text with unseen and direction-changing characters shown as escapes. The template escapes it."""
    return text.inert(str(value))


@register.filter
def message(value: object) -> str:
    """An error's whole message, as far as a page can carry it. The traceback's text has the rest."""
    return text.inert(str(value), 10_000)


@register.filter
def actor(value: object) -> str:
    """Who did it: a person's name, a worker, or a part of the system."""
    return text.inert(str(value).removeprefix("user:"), 150)


@register.filter
def one_line(value: object) -> str:
    """The first line of untrusted text."""
    return text.one_line(str(value))


@register.filter
def pretty_json(value: Any) -> str:
    """A JSON value, indented."""
    return text.pretty_json(value)


@register.simple_tag
def filter_bar(changelist: ChangeList) -> dict[str, Any]:
    """The search box's company: a select for each filter but the state, and what the form must carry along."""
    selects = []
    kept = []
    for spec in changelist.filter_specs:
        if not isinstance(spec, DeclaredFilter):
            continue
        value = spec.value()
        if isinstance(spec, StateFilter):
            kept += [(spec.parameter_name, value)] if value else []
            continue
        selects.append({"name": spec.parameter_name, "title": spec.title, "value": value, "options": spec.offered()})
    if isinstance(changelist, JobChangeList) and changelist.until:
        kept.append(("until", changelist.until))
    is_active = bool(changelist.query) or any(select["value"] for select in selects) or "until" in dict(kept)
    return {
        "selects": selects,
        "kept": kept,
        "is_active": is_active,
        "clear": urlencode([pair for pair in kept if pair[0] != "until"]),
    }


@register.simple_tag
def useful_actions(changelist: ChangeList, action_form: Any) -> list[tuple[str, str]]:
    """The actions that can apply to some row of this list: a list of failed jobs has nothing to restore."""
    spec = next((spec for spec in changelist.filter_specs if isinstance(spec, StateFilter)), None)
    shown = spec.value() if spec else None
    state = str(State.SCHEDULED) if shown == queries.RETRYING else shown
    return [
        (name, label)
        for name, label in action_form.fields["action"].choices
        if name and (state is None or name not in VERBS or state in VERBS[name].sources)
    ]


@register.simple_tag
def state_tabs(changelist: ChangeList) -> list[dict[str, Any]]:
    """The tabs above the job list: a link for each state, and a capped count where it can be had at once."""
    spec = next((spec for spec in changelist.filter_specs if isinstance(spec, StateFilter)), None)
    if spec is None:
        return []
    counts = {}
    if isinstance(changelist, JobChangeList) and changelist.selection_without_state is not None:
        counts = tab_counts(changelist.selection_without_state, changelist.whole)
    tabs = []
    for choice in spec.choices(changelist):
        value = next((value for value, label in spec.lookup_choices if label == choice["display"]), "")
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
