"""Starting, pausing, trying more, resuming and stopping a run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections
from django.db.models import F, QuerySet

from handlers.audit import LONGEST_NAME, By, audit, user_name
from handlers.bulk.outcomes import canary_outcomes, recent_outcomes
from handlers.bulk.runs import CANARY, LIVE, VERBS, named, next_chunk
from handlers.exceptions import InvalidJob
from handlers.failures import clean, reason_text
from handlers.job_ids import job_ids
from handlers.lifecycle import database
from handlers.limits import TookTooLong, time_limit
from handlers.models import BulkOperation, JobRecord
from handlers.models.bulk import BulkState
from handlers.models.sql import database_now
from handlers.publishing import publish_on_commit
from handlers.queues import check_target
from handlers.selection import Selection, hidden
from handlers.states import State
from handlers.wording import Figures, worded
from handlers.writing import writing

COUNTED = 100_000  # more matching jobs than that are "at least" COUNTED + 1
COUNT_SECONDS = 1.0  # for counting them
COUNT_ALL_SECONDS = 30.0  # for counting every job, where the exact number is a confirmation
MAX_CANARY = 1_000
MIN_ENDED = 20  # first attempts that must have ended before their share of failures says something


def narrowed(verb: str, selection: Selection) -> Selection:
    """``selection`` without the states that ``verb`` does nothing to, and without the engine's own jobs.

    Raises InvalidJob when no state is left.
    """
    if not isinstance(verb, str) or verb not in VERBS:
        raise InvalidJob(
            worded("verb: must be one of %(verbs)s, not %(verb)s", verbs=", ".join(VERBS), verb=repr(str(verb)[:40])),
            field="verb",
        )
    if not isinstance(selection, Selection):
        raise InvalidJob(
            "selection: must be a Selection, such as Selection.parse('state:failed type:shop.SendReceipt'), not"
            f" {repr(selection)[:60]}",
            field="selection",
        )
    selection = replace(selection, engine=False)  # no run works on runs
    sources = {str(state) for state in VERBS[verb].sources}
    if State.SCHEDULED in sources:
        sources.add("retrying")
    if not selection.states:
        return replace(selection, states=tuple(sorted(sources - {"retrying"})))
    states = tuple(state for state in selection.states if state in sources)
    if not states:
        raise InvalidJob(
            f"verb: no job that is {' or '.join(selection.states)} can be {VERBS[verb].past}", field="verb"
        )
    return replace(selection, states=states)


def count_of(selection: Selection, alias: str | None = None, *, most: int = COUNTED) -> int | None:
    """How many jobs match; ``most`` + 1 stands for that many or more. None: counting takes too long."""
    try:
        with time_limit(COUNT_SECONDS, alias or database()):
            return selection.rows(alias).order_by().values("pk")[: most + 1].count()
    except TookTooLong:
        return None


def start(
    verb: str,
    selection: Selection,
    *,
    queue: str | None = None,
    by: By = None,
    reason: str = "",
    rate_per_second: float | None = None,
    canary: int = 0,
    max_failed_share: float | None = None,
    confirm_count: int | None = None,
    count: int | None = None,
) -> BulkOperation:
    """Begin a run of ``verb`` over the jobs that match now. Raises InvalidJob naming the option that is wrong."""
    fitting = narrowed(verb, selection)
    _check_queue(verb, queue)
    _check(verb, rate_per_second, canary, max_failed_share)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 2**63):
        raise InvalidJob(f"count: must be a whole number, 0 or more, not {repr(count)[:60]}", field="count")
    alias = database()
    with writing(alias):
        upper = JobRecord.objects.using(alias).order_by("-pk").values_list("pk", flat=True).first() or 0
        fixed = fitting.pinned(alias)
        fixed = replace(fixed, highest=upper if fixed.highest is None else min(upper, fixed.highest))
        if selection.is_empty:
            count = _count_all(fixed, alias)
            if confirm_count != count:
                raise InvalidJob(
                    worded(
                        "selection: nothing narrows it, so it means every job: narrow it, or confirm the exact "
                        "number, %(count)s",
                        count=Figures(f"{count:,}"),
                    ),
                    field="confirm_count",
                )
        elif count is None:
            count = count_of(fixed, alias)
        if count == 0:
            raise InvalidJob(worded("selection: no job matches"), field="selection")
        now = database_now(connections[alias])
        operation = BulkOperation.objects.using(alias).create(
            verb=verb,
            queue=queue or "",
            selection=fixed.to_json(),
            upper_id=upper,
            count=count or 0,
            state=BulkState.CANARY if canary else BulkState.RUNNING,
            created_at=now,
            progressed_at=now,
            user_id=by.pk if isinstance(by, AbstractBaseUser) else None,
            username=_name(by),
            reason=reason_text(reason),
            rate_per_second=rate_per_second,
            canary=canary,
            max_failed_share=max_failed_share,
        )
        facts = {
            "verb": verb, "search": str(hidden(selection)), "rate_per_second": rate_per_second, "canary": canary,
            "max_failed_share": max_failed_share, "upper_id": upper,
        }  # fmt: skip
        facts |= {"to_queue": queue} if queue else {}
        audit(by, "start_bulk", named(operation.pk), count or 0, reason, facts)
        publish_on_commit(next_chunk(operation, alias), using=alias)
    return operation


def pause(operation_id: int, *, by: By = None, reason: str = "") -> bool:
    """Let no further chunk begin. False: it was not going on."""
    return _switch(operation_id, "pause_bulk", LIVE, by, reason, state=BulkState.PAUSED, note=_note("Paused", by))


def stop(operation_id: int, *, by: By = None, reason: str = "") -> bool:
    """End the run for good; what it moved stays moved. False: it had ended."""
    sources = (*LIVE, BulkState.PAUSED.value)
    now = database_now(connections[database()])
    changes = {"state": BulkState.STOPPED, "note": _note("Stopped", by), "held": False, "finished_at": now}
    return _switch(operation_id, "stop_bulk", sources, by, reason, **changes)


def resume(operation_id: int, *, by: By = None, reason: str = "") -> bool:
    """Go on, also with a run whose chunk job was lost. False: it had ended, or is gone.

    Canary jobs that failed or were deleted no longer hold it. Where it is over its limit on failures, their share
    counts from here on: whoever resumes has seen those before.
    """
    alias = database()
    with writing(alias):
        sources = (*LIVE, BulkState.PAUSED.value)
        rows = _named(operation_id, alias).filter(state__in=sources)
        # A step further, so that a chunk job that still waits somewhere does nothing.
        if not rows.update(step=F("step") + 1, progressed_at=database_now(connections[alias])):
            return False
        operation = BulkOperation.objects.using(alias).get(pk=operation_id)
        first = canary_outcomes(operation, alias) if operation.canary else None
        holds = first is not None and not first.failed and not first.deleted
        operation.state = BulkState.CANARY if holds else BulkState.RUNNING
        operation.note, operation.held = "", False
        if over_limit(operation, alias):
            operation.watched_after = operation.after_id
            operation.note = "Resumed over its limit: the share of failed first attempts counts from here on."
        operation.save(using=alias, update_fields=["state", "note", "held", "watched_after"])
        audit(by, "resume_bulk", named(operation_id), operation.moved, reason, None)
        publish_on_commit(next_chunk(operation, alias), using=alias)
    return True


def try_more(operation_id: int, jobs: int = CANARY, *, by: By = None, reason: str = "") -> bool:
    """Let ``jobs`` more of a paused run go first, and the rest after them only if all succeed.

    What failed before no longer counts. False: it is not paused. Raises InvalidJob.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or not 1 <= jobs <= MAX_CANARY:
        raise InvalidJob(
            worded("jobs: must be a whole number from 1 to %(max_canary)s", max_canary=Figures(f"{MAX_CANARY:,}")),
            field="jobs",
        )
    alias = database()
    with writing(alias):
        rows = _named(operation_id, alias).filter(state=BulkState.PAUSED)
        if not rows.update(step=F("step") + 1, progressed_at=database_now(connections[alias])):
            return False
        operation = BulkOperation.objects.using(alias).get(pk=operation_id)
        if not VERBS[operation.verb].runs:
            past = VERBS[operation.verb].past
            raise InvalidJob(f"jobs: to be {past} is not to run, so there is nothing to try: resume it", field="jobs")
        operation.state, operation.note, operation.held = BulkState.CANARY, "", False
        operation.canary, operation.canary_after = jobs, operation.after_id
        operation.watched_after = operation.after_id
        fields = ["state", "note", "held", "canary", "canary_after", "watched_after"]
        operation.save(using=alias, update_fields=fields)
        audit(by, "try_bulk", named(operation_id), operation.moved, reason, {"jobs": jobs})
        publish_on_commit(next_chunk(operation, alias), using=alias)
    return True


def over_limit(operation: BulkOperation, alias: str) -> str:
    """Why the share of failed first attempts is too high; empty: it is not."""
    if operation.max_failed_share is None:
        return ""
    found = recent_outcomes(operation, alias)
    if found.ended < MIN_ENDED or found.failed <= operation.max_failed_share * found.ended:
        return ""
    return (
        f"{found.failed:,} of the last {found.ended:,} first attempts failed again,"
        f" more than {operation.max_failed_share * 100:g} %."
    )


def _count_all(selection: Selection, alias: str) -> int:
    try:
        with time_limit(COUNT_ALL_SECONDS, alias):
            return selection.rows(alias).count()
    except TookTooLong:
        told = worded("selection: nothing narrows it, and counting every job takes too long: narrow it")
        raise InvalidJob(told, field="confirm_count") from None


def _named(operation_id: object, alias: str) -> QuerySet[BulkOperation]:
    """The run of this id; none for what is no id."""
    return BulkOperation.objects.using(alias).filter(pk__in=job_ids([operation_id]))


def _switch(operation_id: int, verb: str, sources: tuple[str, ...], by: By, reason: str, **changes: Any) -> bool:
    alias = database()
    with writing(alias):
        rows = _named(operation_id, alias)
        if not rows.filter(state__in=sources).update(**changes):
            return False
        moved = rows.values_list("moved", flat=True).get()
        audit(by, verb, named(operation_id), moved, reason, None)
    return True


def _check(verb: str, rate: float | None, canary: int, share: float | None) -> None:
    if rate is not None and not (_is_number(rate) and 0.1 <= rate <= 10_000):
        raise InvalidJob(worded("rate_per_second: must be from 0.1 to 10,000"), field="rate_per_second")
    if isinstance(canary, bool) or not isinstance(canary, int) or not 0 <= canary <= MAX_CANARY:
        raise InvalidJob(
            worded("canary: must be a whole number from 0 to %(max_canary)s", max_canary=Figures(f"{MAX_CANARY:,}")),
            field="canary",
        )
    if share is not None and not (_is_number(share) and 0 <= share <= 1):
        raise InvalidJob(worded("max_failed_share: must be from 0 to 1"), field="max_failed_share")
    if not VERBS[verb].runs and (canary or share is not None):
        field = "canary" if canary else "max_failed_share"
        raise InvalidJob(f"{field}: to be {VERBS[verb].past} is not to run, so there is nothing to watch", field=field)


def _check_queue(verb: str, queue: str | None) -> None:
    if not VERBS[verb].to_queue:
        if queue is not None:
            raise InvalidJob(f"queue: jobs stay on their queues when they are {VERBS[verb].past}", field="queue")
    elif queue is None:
        raise InvalidJob(worded("queue: name the queue that the jobs go to"), field="queue")
    else:
        check_target(queue)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _name(by: By) -> str:
    return user_name(by) if isinstance(by, AbstractBaseUser) else clean(str(by or ""), LONGEST_NAME)


def _note(did: str, by: By) -> str:
    return clean(f"{did} by {_name(by)}." if by is not None else f"{did}.", 500)
