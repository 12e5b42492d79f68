"""Filters and tags of the console's templates. Whatever comes from data is escaped here or by the template."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django import template
from django.conf import settings
from django.contrib.messages.storage.base import Message
from django.urls import get_script_prefix, get_urlconf
from django.utils import timezone as clock
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from dashboard.kit import languages, moments, numbers, once, queries, said, text
from dashboard.kit.became import Became, became
from dashboard.kit.moments import exact
from dashboard.kit.options import options
from dashboard.kit.vocabulary import state_label
from handlers.conf import jobs_settings
from handlers.models import JobRecord

register = template.Library()


@register.simple_tag
def form_key() -> SafeString:
    """A form's hidden key, by which ``dashboard.kit.once`` knows it when it is sent twice."""
    return format_html('<input type="hidden" name="{}" value="{}">', once.FIELD, once.new_key())


class After(NamedTuple):
    """What a message is shown with."""

    undo: int | None
    jobs: list[int]
    became: Became | None

    @property
    def query(self) -> str:
        """Of the address that tells what became of the jobs."""
        return urlencode([("id", pk) for pk in self.jobs])


@register.simple_tag
def after_action(message: Message) -> After:
    """What rides on a message: ``dashboard.kit.said``."""
    found = said.read(message)
    return After(found.undo, found.jobs, became(found.jobs) if found.jobs else None)


class DrawnOnce(template.Node):
    """Draws what it holds once for all pages that are told the same, which share the dict ``drawn``."""

    child_nodelists = ("nodelist",)

    def __init__(self, nodelist: template.NodeList) -> None:
        self.nodelist = nodelist

    def render(self, context: template.Context) -> str:
        """What was drawn before, if anything."""
        drawn = context.get("drawn")
        if drawn is None:
            return self.nodelist.render(context)
        if "" not in drawn:
            drawn[""] = self.nodelist.render(context)
        return str(drawn[""])


@register.tag
def drawonce(parser: template.base.Parser, token: template.base.Token) -> DrawnOnce:
    """``{% drawonce %} … {% enddrawonce %}``, of which a page has one."""
    nodelist = parser.parse(("enddrawonce",))
    parser.delete_first_token()
    return DrawnOnce(nodelist)


class DrawnFor(template.Node):
    """Draws what it holds once in this process for all who come with equal values and in the same language.

    So what it holds looks at nothing but these values: above all at no request and at nobody's name or token.
    """

    child_nodelists = ("nodelist",)
    MOST = 200  # drawings that are kept

    def __init__(self, nodelist: template.NodeList, values: list[template.base.FilterExpression]) -> None:
        self.nodelist = nodelist
        self.values = values
        self.drawn: dict[Any, str] = {}

    def render(self, context: template.Context) -> str:
        """What was drawn for these values before, if anything."""
        # What addresses hang on, beside their names.
        at = (
            getattr(context.get("request"), "current_app", None),
            get_script_prefix(),
            get_urlconf() or settings.ROOT_URLCONF,
        )
        key = (get_language(), *at, *(value.resolve(context) for value in self.values))
        drawn = self.drawn.get(key)
        if drawn is None:
            drawn = self.nodelist.render(context)
            if len(self.drawn) >= self.MOST:
                self.drawn.clear()
            self.drawn[key] = drawn
        return drawn


@register.tag
def drawfor(parser: template.base.Parser, token: template.base.Token) -> DrawnFor:
    """``{% drawfor values %} … {% enddrawfor %}``, without a ``block`` in it, which another page may fill."""
    values = [parser.compile_filter(each) for each in token.split_contents()[1:]]
    nodelist = parser.parse(("enddrawfor",))
    parser.delete_first_token()
    return DrawnFor(nodelist, values)


@register.filter
def badge(state: str) -> SafeString:
    """A state as a coloured word."""
    return format_html(
        '<span class="state state-{}">{}</span>', str(state).replace(" ", "-"), capfirst(state_label(str(state)))
    )


@register.filter
def state_words(state: str) -> str:
    """A state, in the middle of a line."""
    return state_label(str(state))


@register.filter
def record_badge(record: JobRecord) -> SafeString:
    """A job's state as a coloured word; *Retrying* where it waits out a backoff."""
    return badge(queries.RETRYING if record.is_retrying else record.state)


@register.filter
def ago(at: datetime | None) -> SafeString | str:
    """A moment as people say it, "3 min ago", "just now" or "in 2 h"; the exact UTC time on hover."""
    if at is None:
        return ""
    away = (at - clock.now()).total_seconds()
    if 0 < away < 1:
        return _now(at)
    if abs(away) < 1:
        words = _("just now")
    elif away > 0:
        words = _("in %(time)s") % {"time": text.rough(away)}
    else:
        words = _("%(time)s ago") % {"time": text.rough(-away)}
    return format_html('<time datetime="{}" data-as="ago" title="{}">{}</time>', at.isoformat(), exact(at), words)


@register.filter
def due(at: datetime | None) -> SafeString | str:
    """A moment at which something shall happen: "in 2 h", or "now" when it has come."""
    if at is None or at > clock.now():
        return ago(at)
    return _now(at)


def _now(at: datetime) -> SafeString:
    """What comes of it only the server knows, so the browser does not count on."""
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact(at), _("now"))


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """A moment to the second, in the operator's zone; UTC on hover."""
    return moments.moment(at)


@register.filter
def dated(at: datetime) -> SafeString:
    """A moment to the second with its day of the week, in the operator's zone; UTC on hover."""
    return moments.dated(at)


@register.filter
def clock_time(at: datetime | None) -> SafeString | str:
    """A moment by the clock, with its day where that is another one; in the operator's zone."""
    return moments.clock(at)


@register.filter
def times(words: str) -> SafeString:
    """Words whose moments are in the operator's zone, such as a banner's, a message's or a reason's."""
    return moments.marked(words)


@register.filter
def duration(value: timedelta | float | None) -> str:
    """A length of time in words."""
    return text.duration(value)


@register.filter
def priority(value: int) -> str:
    """A priority, with what it comes to."""
    seconds = abs(value) * jobs_settings().priority_seconds
    told = {"value": value, "time": text.duration(seconds)}
    if value > 0:
        return _("%(value)s, as if enqueued %(time)s earlier") % told
    return _("%(value)s, as if enqueued %(time)s later") % told


@register.filter
def thousands(value: int) -> str:
    """A whole number with its thousands apart."""
    return numbers.thousands(value) if isinstance(value, int) else ""


@register.filter(name="options")
def options_filter(choices: Iterable[tuple[str, str]], chosen: object = "") -> SafeString:
    """The options of a select, the chosen one selected."""
    return options(choices, "" if chosen is None else str(chosen))


@register.filter
def inert(value: object) -> str:
    """Untrusted text with unseen and direction-changing characters shown as escapes. The template escapes it."""
    return text.inert(str(value))


@register.filter
def in_language(value: object) -> str:
    """An error of the engine in the reader's language."""
    return languages.in_language(value)


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
