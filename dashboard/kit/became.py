"""What became of jobs: where they are now, in words, and who did what to them last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Max
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit import queries
from dashboard.kit.numbers import thousands
from dashboard.kit.text import inert, one_line, rough
from handlers.audit import USER, user_name
from handlers.models import JobHistory, JobRecord
from handlers.states import State

FOLLOWED = 10  # jobs that a page follows after a verb
TOLD = 3  # of which each is named
LOOKED_AT = 20  # moves of a job among which the last one of a person is looked for
UNDER_WAY = (State.ENQUEUED.value, State.PROCESSING.value)
COUNTED = {
    State.SUCCEEDED.value: gettext_lazy("%(count)s succeeded"),
    State.FAILED.value: gettext_lazy("%(count)s failed again"),
    State.SCHEDULED.value: gettext_lazy("%(count)s wait for their time"),
    State.ENQUEUED.value: gettext_lazy("%(count)s wait for a worker"),
    State.PROCESSING.value: gettext_lazy("%(count)s running"),
    State.WAITING.value: gettext_lazy("%(count)s wait for a signal"),
    State.DELETED.value: gettext_lazy("%(count)s deleted"),
    State.AWAITING.value: gettext_lazy("%(count)s wait for other jobs"),
}


class Became(NamedTuple):
    """Jobs a moment after an action."""

    text: str
    say: str  # aloud: with the job's number
    goes_on: bool  # whether it is worth asking again
    failed: bool  # whether one of them failed
    has_begun: bool  # whether none of them waits any more, so that nothing can be taken back


def became(ids: Sequence[int]) -> Became:
    """What became of a few jobs: a statement, and one more where one of them waits."""
    rows = list(JobRecord.objects.filter(pk__in=ids[:FOLLOWED]).order_by("pk"))
    goes_on = any(row.state in UNDER_WAY for row in rows)
    begun = all(row.state != State.ENQUEUED for row in rows)
    failed = any(row.state == State.FAILED or row.is_retrying for row in rows)
    if len(ids) == 1:
        words = state_words(rows[0]) if rows else _("it is no longer there")
        text = _("Job %(number)d: %(words)s") % {"number": ids[0], "words": words}
        return Became(f"{words[:1].upper()}{words[1:]}.", text, goes_on, failed, begun)
    counts = Counter(row.state for row in rows)
    parts = [str(text) % {"count": thousands(counts[state])} for state, text in COUNTED.items() if counts[state]]
    text = ", ".join(parts)
    return Became(f"{text[:1].upper()}{text[1:]}.", text, goes_on, failed, begun)


def state_words(record: JobRecord) -> str:
    """``it succeeded on attempt 2``."""
    attempt = {"attempt": record.attempt}
    if record.is_retrying:
        left = (record.run_at - timezone.now()).total_seconds() if record.run_at else 0
        told = {**attempt, "left": rough(left), "error": one_line(record.error, 100)}
        return _("attempt %(attempt)d failed, the next one is due in %(left)s: %(error)s") % told
    if record.state == State.FAILED and record.error:
        return _("it failed on attempt %(attempt)d: %(error)s") % {**attempt, "error": one_line(record.error, 100)}
    words: dict[str, str] = {
        State.SUCCEEDED.value: _("it succeeded on attempt %(attempt)d"),
        State.FAILED.value: _("it failed on attempt %(attempt)d"),
        State.PROCESSING.value: _("attempt %(attempt)d is running"),
        State.ENQUEUED.value: _held(record) or _("it waits for a worker"),
        State.SCHEDULED.value: _("it is scheduled"),
        State.WAITING.value: _("it waits for a signal"),
        State.DELETED.value: _("it is deleted"),
        State.AWAITING.value: _("it waits for other jobs"),
    }
    return str(words.get(record.state, record.state)) % attempt


def _held(record: JobRecord) -> str:
    """Why no worker takes a job that is enqueued; empty where nobody has paused what it is of. One statement."""
    if record.state != State.ENQUEUED:
        return ""
    now = queries.told()
    if record.queue in now.queues:
        return _("it waits, since queue %(name)s is paused") % {"name": record.queue}
    if record.job_type in now.types:
        return _("it waits, since type %(name)s is paused") % {"name": inert(record.job_type, 80)}
    return ""


def what_happened(request: HttpRequest, ids: Sequence[int]) -> str:
    """What was done to these jobs before, and what came of it: said to whoever comes too late. Empty: to too many."""
    if not 0 < len(ids) <= TOLD:
        return ""
    records = JobRecord.objects.in_bulk(list(ids))
    return " ".join(_story(request, job_id, records.get(job_id)) for job_id in ids)


def _story(request: HttpRequest, job_id: int, record: JobRecord | None) -> str:
    if record is None:
        return _("Job %(number)d is no longer there.") % {"number": job_id}
    moves = JobHistory.objects.filter(job_id=job_id).order_by("-pk")[:LOOKED_AT]
    last = next((move for move in moves if move.actor.startswith(USER)), None)
    words = {"number": job_id, "now": state_words(record)}
    if last is None:
        return _("Job %(number)d has moved on since the page was made: %(now)s.") % words
    mine = last.actor == f"{USER}{user_name(request.user, 150 - len(USER))}"  # type: ignore[arg-type]
    words |= {"did": _did(last), "ago": _ago(last.at), "who": inert(last.actor.removeprefix(USER), 60)}
    if mine:
        return _("You %(did)s job %(number)d %(ago)s; %(now)s.") % words
    return _("%(who)s %(did)s job %(number)d %(ago)s; %(now)s.") % words


def _did(move: JobHistory) -> str:
    if move.from_state == move.to_state:
        return _("moved")
    if move.to_state == State.DELETED:
        return _("deleted")
    if move.from_state == State.DELETED:
        return _("restored")
    if move.from_state == State.ENQUEUED:
        return _("took back")
    return _("requeued") if move.from_state == State.SUCCEEDED else _("retried")


def _ago(at: datetime) -> str:
    seconds = (timezone.now() - at).total_seconds()
    return _("just now") if seconds < 1 else _("%(time)s ago") % {"time": rough(seconds)}


def newest_moves(ids: Sequence[int]) -> dict[int, JobHistory]:
    """The last move of each of these jobs."""
    last = JobHistory.objects.filter(job_id__in=list(ids)).values("job_id").annotate(last=Max("pk"))
    moves = JobHistory.objects.filter(pk__in=[each["last"] for each in last])
    return {move.job_id: move for move in moves}
