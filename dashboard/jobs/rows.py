"""A row of the job list: the job by what it is about, with its arguments in short and its tags."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard.jobs import columns, tagged
from dashboard.jobs.signals import awaited
from dashboard.kit import catalogue, in_short
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.subjects import Titles
from dashboard.kit.text import duration, inert
from handlers.models import JobRecord

SECONDS = 0.5  # for reading what lies beside the rows of a page, which are shown without it where it takes longer


class Dress:
    """What is shown of a job beside its row; empty where the person does not want it, or there is none."""

    def __init__(self, title: str = "", arguments: str = "", tags: Sequence[str] = (), waits_for: str = "") -> None:
        self.title, self.arguments, self.tags, self.waits_for = title, arguments, tags, waits_for


def dress(request: HttpRequest, records: Sequence[JobRecord]) -> list[list[str]]:
    """Give each of ``records`` what ``heading`` shows, in one statement for all; the tags of each."""
    chosen = columns.chosen(request)
    try:
        with time_limit(SECONDS):
            beside, waits = in_short.read(records), awaited(records)
    except TookTooLong:
        beside, waits = {}, {}
    titles, each = Titles(request), []
    for record in records:
        found = beside.get(record.pk, in_short.Beside())
        tags = in_short.all_tags(catalogue.find(record.job_type), found.tags)
        each.append(tags)
        record.dress = Dress(  # type: ignore[attr-defined]
            titles.of(record, found.data if found.is_whole else None),
            in_short.of_job(request, record, found) if "arguments" in chosen else "",
            tags if "tags" in chosen else (),
            waits.get(record.pk, ""),
        )
    return each


def heading(record: JobRecord) -> SafeString:
    """The text of the row's link. What stands below it is in ``below``, which is no part of the link."""
    dress: Dress = getattr(record, "dress", None) or Dress()
    words = dress.title or inert(record.job_type)
    return format_html('<span class="job-words">{}</span> <span class="quiet">#{}</span>', words, record.pk)


def below(record: JobRecord) -> SafeString:
    """The type, where the heading says something else; the arguments; the tags."""
    dress: Dress = getattr(record, "dress", None) or Dress()
    if not (dress.title or dress.arguments or dress.tags or dress.waits_for):
        return SafeString("")
    kind = format_html('<span class="job-type">{}</span> ', inert(record.job_type)) if dress.title else ""
    code = format_html('<code class="job-arguments">{}</code>', dress.arguments) if dress.arguments else ""
    return format_html(
        '<div class="job-below"><span class="job-what" title="{}">{}{}</span> {}{}</div>',
        dress.arguments,
        kind,
        code,
        chips(dress.tags) if dress.tags else "",
        format_html(' <span class="waits-for">{}</span>', _("waits for %(name)s") % {"name": dress.waits_for})
        if dress.waits_for
        else "",
    )


def chips(tags: Sequence[str], base: str = "") -> SafeString:
    """Tags, each a link to the jobs that have it; ``base``: the job list's address, on another page."""
    links = format_html_join("", '<a class="tag" href="{}{}">{}</a>', [(base, tagged.url(tag), tag) for tag in tags])
    return format_html('<span class="tags">{}</span>', links)


def took(record: JobRecord) -> str:
    """How long the last attempt ran."""
    if record.started_at is None or record.finished_at is None or record.finished_at < record.started_at:
        return ""
    return duration(record.finished_at - record.started_at)
