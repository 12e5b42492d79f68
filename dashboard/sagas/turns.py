"""What has happened in a saga: its turns, with the jobs that they came by and asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext as _

from dashboard.kit import by_key, reach
from dashboard.kit.text import duration, inert
from dashboard.sagas.changes import Changed, changes, seen, seen_event
from handlers.models import EventRecord, JobRecord, SagaRecord, SagaTurn, TurnKind

SIZE = 25  # turns on a page
ASKED = 50  # things that one turn asked for which are shown


@dataclass(frozen=True)
class Asked:
    """One thing that a turn asked for."""

    words: str
    job_id: int | None = None
    job: JobRecord | None = None
    names_type: bool = True  # whether the words say of which type the job is


@dataclass(frozen=True)
class Told:
    """One turn, as the page tells it."""

    turn: SagaTurn
    title: str
    job: JobRecord | None
    asked: list[Asked] = field(default_factory=list)
    more: int = 0  # things that it asked for which are not shown
    changed: list[Changed] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)  # of the event that came, while that is on record

    @property
    def is_first(self) -> bool:
        """Whether it has begun the saga."""
        return self.turn.before is None


@dataclass(frozen=True)
class Turns:
    """One page of them, the newest first."""

    told: list[Told]
    first_url: str = ""
    newer_url: str = ""
    older_url: str = ""


def turns_of(request: HttpRequest, saga: SagaRecord) -> Turns:
    """The page of the timeline that the address asks for."""
    rows = SagaTurn.objects.filter(saga_id=saga.pk)

    def read(where: Q, order: str) -> list[SagaTurn]:
        return list(rows.filter(where).order_by(order)[: SIZE + 1])

    shown, links = by_key.page(request.GET, read, SIZE, anchor="#timeline")
    seen_jobs = reach.seen(request)
    jobs = {pk: job for pk, job in jobs_of(shown).items() if seen_jobs.covers(job.job_type, job.queue)}
    events = EventRecord.objects.only("event_type", "data").in_bulk([turn.event_id for turn in shown if turn.event_id])
    return Turns([_told(request, saga, turn, jobs, events.get(turn.event_id or 0)) for turn in shown], **links)


def jobs_of(turns: Iterable[SagaTurn]) -> dict[int, JobRecord]:
    """The jobs that these turns name, as far as they have not aged out."""
    ids = {turn.job_id for turn in turns if turn.job_id}
    ids |= {each["job"] for turn in turns for each in _asked(turn)[:ASKED] if isinstance(each.get("job"), int)}
    return JobRecord.objects.only("job_type", "queue", "state", "failures", "run_at", "token").in_bulk(sorted(ids))


def _asked(turn: SagaTurn) -> list[dict[str, Any]]:
    found = turn.asked if isinstance(turn.asked, list) else []
    return [each for each in found if isinstance(each, dict)]


def _told(
    request: HttpRequest, saga: SagaRecord, turn: SagaTurn, jobs: dict[int, JobRecord], event: EventRecord | None
) -> Told:
    asked = _asked(turn)
    name = inert(turn.name)
    titles = {
        TurnKind.EVENT.value: _("Event %(name)s") % {"name": name},
        TurnKind.TIMEOUT.value: _("Timeout %(name)s") % {"name": name},
        TurnKind.PERSON.value: _("Completed by hand"),
    }
    before, after = (seen(request, saga.saga_type, state) for state in (turn.before, turn.after))
    return Told(
        turn,
        titles.get(turn.kind, name),
        jobs.get(turn.job_id or 0),
        [_within(request, each, jobs) for each in asked[:ASKED]],
        max(len(asked) - ASKED, 0),
        changes(before, after) if turn.after is not None else [],
        seen_event(request, saga.saga_type, event.event_type, event.data) if event else [],
    )


def _within(request: HttpRequest, each: dict[str, Any], jobs: dict[int, JobRecord]) -> Asked:
    """The same as this person may see it: of a job beyond, or of which nobody can tell any more, only that it was."""
    told = _in_words(each, jobs)
    if told.job is not None or reach.seen(request).is_whole:
        return told
    if each.get("do") == "send" and not reach.seen(request).has_all_of_type(str(each.get("type", ""))):
        return Asked(_("Sent a job"))
    return replace(told, job_id=None)


def _in_words(each: dict[str, Any], jobs: dict[int, JobRecord]) -> Asked:
    job_id = each.get("job") if isinstance(each.get("job"), int) else None
    delay = each.get("delay")
    later = {"time": duration(delay) if isinstance(delay, int | float) else ""}
    match each.get("do"):
        case "send":
            words = _("Sent %(type)s") % {"type": inert(str(each.get("type", "")))}
            words += _(", to run in %(time)s") % later if delay else ""
            words += _(", to run at %(at)s") % {"at": inert(str(each["at"]))} if each.get("at") else ""
        case "timeout":
            words = _("Asked to be told %(name)s in %(time)s") % {"name": inert(str(each.get("name", ""))), **later}
        case "cancel":
            words = _("Cancelled a job")
        case "complete":
            words = _("Completed: nothing more happens")
        case other:
            words = inert(str(other))
    return Asked(words, job_id, jobs.get(job_id or 0), names_type=each.get("do") in ("send", "timeout"))
