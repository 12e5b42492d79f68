"""What the job list's search made of what was typed: said in words, with what else may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from dashboard.jobs.changelist import JobChangeList
from dashboard.kit import catalogue, crowd, reach, verbs
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.queries import RETRYING, Count, moment
from dashboard.kit.search import SEARCH, selection_of
from dashboard.kit.sensitive import may_see
from dashboard.kit.text import inert
from handlers.models import JobPayload, JobRecord, WorkerProcess
from handlers.queues import known_queues
from handlers.selection import ANY, InvalidSelection, Mend, Selection, mends, places_of
from handlers.states import RETRYABLE, State

SHOWN = 5  # jobs with a number in an argument that stand below the job with that id
COUNTED = 100  # of them
SECONDS = 0.02  # for each of two looks, where no index finds them
LIMIT_SECONDS = 0.3  # for all of it
NAMED = 5  # unknown names that are told


class Meant(NamedTuple):
    """What may have been meant by a name that is no qualifier."""

    name: str
    means: str
    url: str


class Found(NamedTuple):
    """One job with the number in an argument."""

    record: JobRecord
    places: list[str]  # the arguments that have it
    at: datetime | None  # the time that matters most
    url: str
    edit_url: str  # where its arguments are mended; empty where this person may not, or nothing can be


class InArguments(NamedTuple):
    """The jobs that have a number in an argument, beside the one that has it as its id."""

    number: str
    total: Count | None  # None: counting took too long
    looked: int  # jobs, where they were looked at one by one and there are more
    rows: list[Found]
    url: str  # the list of them all


def searched(request: HttpRequest, changelist: JobChangeList) -> dict[str, Any]:
    """The context of ``dashboard/jobs/searched.html`` and ``in_arguments.html``."""
    selection = changelist.selection
    if selection is None:
        return {"meant": _meant(request, changelist)}
    number = _number(changelist)
    return {
        "meant": _meant(request, changelist),
        "strangers": strangers(selection),
        "in_arguments": in_arguments(request, changelist, number) if number else None,
    }


def _number(changelist: JobChangeList) -> str:
    """What was typed, if it is one number and nothing else; else empty."""
    text, selection = changelist.query.strip(), changelist.selection
    return text if selection and len(selection.ids) == 1 and text.isascii() and text.isdigit() else ""


def _meant(request: HttpRequest, changelist: JobChangeList) -> list[Meant]:
    try:
        within = reach.seen(request)
        types = None if within.is_whole else within.types()
        found = mends(changelist.query, sensitive=may_see(request), types=types)
    except InvalidSelection:
        return []
    return [Meant(mend.name, mend.means, url) for mend in found if (url := _mended(request, changelist, mend))]


def _mended(request: HttpRequest, changelist: JobChangeList, mend: Mend) -> str:
    """The address of the mended search; empty where this person could not read it."""
    query = _with(changelist, mend.text)
    try:
        selection_of(request, query)
    except InvalidSelection:
        return ""
    return f"?{query.urlencode()}"


def _with(changelist: JobChangeList, text: str) -> QueryDict:
    """The list's address with ``text`` in the search box."""
    query = QueryDict(changelist.list_query, mutable=True)
    query[SEARCH] = text
    return query


def in_arguments(request: HttpRequest, changelist: JobChangeList, number: str) -> InArguments:
    """The jobs with ``number`` in an argument, of those that the rest of the filter leaves."""
    assert changelist.selection is not None
    other = replace(changelist.selection, ids=(), arguments=((ANY, int(number)), *changelist.selection.arguments))
    query = _with(changelist, str(replace(Selection(), arguments=((ANY, int(number)),))))
    rows: list[JobRecord] = []
    payloads: dict[int, JobPayload] = {}
    count, looked = None, 0
    try:
        looks = other.looks_at_newest
        with crowd.searches.place(str(request.user.pk)) if looks else nullcontext(), time_limit(LIMIT_SECONDS):
            met, looked, is_whole = _look(other)
        rows = met[:SHOWN]
        payloads = JobPayload.objects.in_bulk([row.pk for row in rows])
        count = Count.of(len(met), more=not is_whole, cap=COUNTED)
    except (TookTooLong, crowd.Crowded):
        pass
    filters = urlencode({"_changelist_filters": query.urlencode()})
    may_edit = verbs.RETRY.allowed(request.user)
    found = []
    for row in rows:
        data = payloads[row.pk].data if row.pk in payloads else None
        places = places_of(data, int(number), sensitive=may_see(request))
        can_be = may_edit and _can_be_mended(row) and reach.covers(request, row, verbs.RETRY.permission)
        edit = _url(request, "edit", row.pk) if can_be else ""
        found.append(Found(row, places, moment(row), f"{_url(request, 'change', row.pk)}?{filters}", edit))
    return InArguments(number, count, looked, found, f"?{query.urlencode()}")


def _look(selection: Selection) -> tuple[list[JobRecord], int, bool]:
    """Some of its jobs, how many were looked at one by one to find them, and whether these are all there are.

    Where no index finds them those that failed are looked at first: they are few, and what people look for.
    """
    seen = selection.look(COUNTED + 1, seconds=SECONDS)
    if seen.reached is None:
        return seen.rows, 0, True
    failed = []
    if not selection.states:
        failed = replace(selection, states=(State.FAILED.value, RETRYING)).look(COUNTED + 1, seconds=SECONDS).rows
    known = {row.pk for row in failed}
    return failed + [row for row in seen.rows if row.pk not in known], seen.looked, False


def _can_be_mended(record: JobRecord) -> bool:
    return State(record.state) in RETRYABLE and catalogue.find(record.job_type) is not None


def _url(request: HttpRequest, name: str, job_id: int) -> str:
    current = getattr(request, "current_app", None)
    return reverse(f"admin:jobsite_jobs_jobrecord_{name}", args=[job_id], current_app=current)


def strangers(selection: Selection) -> list[str]:
    """What ``selection`` names and nobody knows here any more, in words: jobs of before may still have it."""
    told = [
        _("No job type is called %(name)s here (any more): only jobs that were stored as such can fit.")
        % {"name": name}
        for name in _named(selection.types)
        if catalogue.find(name) is None
    ]
    if selection.queues:
        queues = known_queues()
        told += [
            _("No queue is called %(name)s here (any more): only jobs that stand on it all the same can fit.")
            % {"name": name}
            for name in _named(selection.queues)
            if name not in queues
        ]
    worker = selection.worker
    if worker and not WorkerProcess.objects.filter(name=worker).exists():
        told.append(
            _("No worker %(name)s is known (any more): only jobs that it had last can fit.") % {"name": inert(worker)}
        )
    return told


def _named(names: Iterable[str]) -> list[str]:
    return [inert(name) for name in list(names)[:NAMED]]
