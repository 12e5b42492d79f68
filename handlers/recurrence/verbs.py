"""The gateway's verbs for recurring jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from django.db import IntegrityError, connections
from django.db.models import OuterRef, Q, Subquery

from handlers import carried, lifecycle
from handlers.audit import By, actor_name, audit
from handlers.changes import of_arguments, of_values
from handlers.deadlines import check_ahead
from handlers.exceptions import InvalidJob, NoHandler
from handlers.failures import clean, reason_text
from handlers.job_types import JobType
from handlers.lifecycle import JobId
from handlers.masking import mask_context
from handlers.models import How, Occurrence, RecurringJob
from handlers.models.sql import chunks, database_now
from handlers.payloads import Command, Job
from handlers.publishing import publish_on_commit
from handlers.recurrence.definition import (
    RULE,
    Options,
    check_name,
    check_times,
    columns_of,
    define,
    times_of,
)
from handlers.recurrence.firing import create, jobs_of
from handlers.recurrence.plans import LOOK_BACK
from handlers.recurrence.times import check_moment
from handlers.registry import registry
from handlers.twins import twin
from handlers.wording import Figures, worded
from handlers.writing import writing

ARGUMENT = "data."  # before an argument's name, in what the audit keeps of a change
CONTEXT = "context."  # the same, before a name in its context
MOST_BACKFILLED = 1_000  # occurrences in one go
VERBS = tuple(
    f"{verb}_recurring" for verb in ("add", "change", "remove", "trigger", "backfill", "pause", "resume")
)  # as the audit has them


class RecurringVerbs:
    """The part of the gateway that is about recurring jobs, which are known by their names."""

    def add_or_update_recurring(
        self,
        name: str,
        job: Job | Command,
        cron: str | None = None,
        *,
        timezone: str = "UTC",
        every: timedelta | None = None,
        misfire: str = "one",
        catch_up: int = 100,
        catch_up_within: timedelta = timedelta(days=1),
        overlap: str = "allow",
        jitter: timedelta | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        queue: str | None = None,
        pause_after: int = 0,
        heartbeat_url: str = "",
        keep_context: bool = False,
        by: By = None,
        reason: str = "",
        expect: str | None = None,
    ) -> bool:
        """Have ``job`` run again and again; whether that changed anything. As it was before, nothing moves.

        By ``cron``, a line of five fields, or of six with seconds first, on the wall clock of ``timezone``; or
        ``every`` so long, from ``start`` or now on. Not before ``start`` nor after ``end``, aware datetimes; each
        occurrence up to ``jitter`` later, spread by name. ``misfire``: of occurrences that nobody fired in time, as in
        an outage, ``skip`` all, run ``one``, or run ``each``, the last ``catch_up`` of those not older than
        ``catch_up_within``. ``overlap``: while the job before has not ended, ``allow`` another, ``skip`` it, or let one
        wait (``queue``). ``queue``: default the type's own. ``pause_after``: so many failed jobs in a row. Such as a
        dead man's switch, ``heartbeat_url`` is asked for after each success. Its jobs carry the context of here and now
        (see ``handlers.context``), or, with ``keep_context``, what they carried before. ``expect``: the ``version``
        that was seen of it, empty where there was none.

        Raises InvalidJob, naming the argument, or NoHandler; nothing is written then. Also for a name that the code
        declares with ``recurring``, and for another version than was expected.
        """
        options = Options(
            timezone, every, misfire, catch_up, catch_up_within, overlap, jitter, start, end, queue, pause_after,
            heartbeat_url,
        )  # fmt: skip
        columns = define(name, job, cron, options)
        if not keep_context:
            context = carried.capture()
            columns["context"] = None if context is None else json.loads(context)
        return put(check_name(name), columns, by=by, reason=reason, expect=expect)

    def remove_recurring(self, name: str, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """Let it run no more; whether there was one. Jobs that it has enqueued stay. InvalidJob for one of the code,
        or of another ``version`` than ``expect``.
        """
        with writing(lifecycle.database()):
            row = _locked(name)
            if row is not None:
                _check_owner(row, in_code=False)
                _check_version(row, expect)
                row.delete()
            audit(by, "remove_recurring", f"recurring {name}", int(row is not None), reason)
        return row is not None

    def trigger_recurring(self, name: str, *, by: By = None, reason: str = "") -> JobId:
        """Run it once now, paused or not; its times stay what they are. Raises InvalidJob for an unknown name."""
        with writing(lifecycle.database()):
            row = _known(name)
            now = _now()
            [job_id] = _create(row, [(now, How.TRIGGERED)], now, by)
            audit(by, "trigger_recurring", f"recurring {name}", 1, reason, {"job_ids": [job_id]})
        return job_id

    def backfill_recurring(
        self, name: str, start: datetime, end: datetime, *, by: By = None, reason: str = ""
    ) -> list[JobId]:
        """Run each of its occurrences after ``start`` and up to ``end``, a past moment, that no job was made for.

        Raises InvalidJob for an unknown name, a wrong span, or more than 1,000 occurrences; nothing is written then.
        """
        with writing(lifecycle.database()):
            row = _known(name)
            dues = _lacking(row, start, end)
            _count_less(row, dues)
            ids = _create(row, [(due, How.BACKFILLED) for due in dues], _now(), by)
            span = {"start": start.isoformat(), "end": end.isoformat(), "job_ids": ids[:1_000]}
            audit(by, "backfill_recurring", f"recurring {name}", len(ids), reason, span)
        return ids

    def preview_backfill(self, name: str, start: datetime, end: datetime) -> list[datetime]:
        """The times that ``backfill_recurring`` would run now. Raises as it does."""
        return _lacking(_known(name, lock=False), start, end)

    def pause_recurring(self, name: str, until: datetime | None = None, *, by: By = None, reason: str = "") -> bool:
        """Let no occurrence come, until ``until`` (aware) or ``resume_recurring``; what falls in between is not made
        up for. Whether it was not paused so already. Raises InvalidJob for an unknown name, or a time that is naive or
        has passed.
        """
        if until is not None:
            until = check_moment("until", until)
        with writing(lifecycle.database()):
            row, now = _known(name), _now()
            check_ahead(until, now)
            moved = row.paused_at is None or row.paused_until != until
            if moved:
                row.paused_at, row.paused_until = now, until
                row.paused_by, row.paused_reason = clean(actor_name(by), 150), reason_text(reason)
                row.held_at = None
                _set_next(row, until)
                row.save()
            told = {"until": until.isoformat() if until else None}
            audit(by, "pause_recurring", f"recurring {name}", int(moved), reason, told)
        return moved

    def resume_recurring(self, name: str, *, by: By = None, reason: str = "") -> bool:
        """Let occurrences come again, from now on; whether it was paused. Raises InvalidJob for an unknown name."""
        with writing(lifecycle.database()):
            row = _known(name)
            now = _now()
            moved = row.paused_at is not None and (row.paused_until is None or row.paused_until > now)
            if moved:
                row.paused_at = row.paused_until = None
                row.paused_by = row.paused_reason = ""
                row.resumed_at = now
                _set_next(row, now)
                row.save()
            audit(by, "resume_recurring", f"recurring {name}", int(moved), reason)
        return moved

    aadd_or_update_recurring = twin(add_or_update_recurring)
    aremove_recurring = twin(remove_recurring)
    atrigger_recurring = twin(trigger_recurring)
    abackfill_recurring = twin(backfill_recurring)
    apreview_backfill = twin(preview_backfill)
    apause_recurring = twin(pause_recurring)
    aresume_recurring = twin(resume_recurring)


def put(
    name: str,
    columns: dict[str, Any],
    *,
    by: By = None,
    reason: str = "",
    in_code: bool = False,
    expect: str | None = None,
) -> bool:
    """Write what ``define`` has made of a recurring job, if it is anything new; whether it is.

    Without a ``context`` among the columns it keeps the one that it has.
    """
    try:
        return _put(name, columns, by, reason, in_code, expect)
    except IntegrityError:  # somebody has added it meanwhile: now it is there
        return _put(name, columns, by, reason, in_code, expect)


def _put(name: str, columns: dict[str, Any], by: By, reason: str, in_code: bool, expect: str | None) -> bool:
    with writing(lifecycle.database()):
        now = _now()
        row = _locked(name)
        if row is not None:
            _check_owner(row, in_code=in_code)
        _check_version(row, expect)
        new = row is None
        row = row or RecurringJob(name=name, created_at=now, created_by=clean(actor_name(by), 150))
        changed = [column for column, value in columns.items() if getattr(row, column) != value]
        if not new and not changed and row.in_code == in_code:
            return False
        told = {"changed": changed, **_altered(row, columns)} if not new else None
        for column, value in columns.items():
            setattr(row, column, value)
        row.in_code, row.changed_at = in_code, now
        if new or {*changed} & {*RULE}:
            every = row.every_seconds
            row.anchor_at = None if every is None else row.start_at or now + timedelta(seconds=every)
            check_times(columns, now)
            if row.paused_at is None or (row.paused_until is not None and row.paused_until <= now):
                _set_next(row, now)
            elif row.paused_until is not None:
                _set_next(row, row.paused_until)
        row.save(force_insert=new)
        audit(by, "add_recurring" if new else "change_recurring", f"recurring {name}", 1, reason, told)
    return True


def _altered(row: RecurringJob, columns: dict[str, Any]) -> dict[str, Any]:
    """What the audit keeps of a change: its columns, each argument by itself, and of the heartbeat the host alone."""
    was = {column: getattr(row, column) for column in columns}
    told = of_values(_kept(was), _kept(columns))
    if was["heartbeat_url"] != columns["heartbeat_url"]:
        hosts = (urlsplit(each["heartbeat_url"]).hostname for each in (was, columns))
        told["before"]["heartbeat_url"], told["after"]["heartbeat_url"] = hosts
    if was["data"] != columns["data"]:
        types = _type(was["job_type"]), _type(columns["job_type"])
        for side, arguments in of_arguments(was["data"], columns["data"], *types).items():
            told[side] |= {f"{ARGUMENT}{name}": text for name, text in arguments.items()}
    if "context" in columns:
        contexts = was["context"] or {}, columns["context"] or {}
        for side, texts in of_values(*contexts, *map(mask_context, contexts)).items():
            told[side] |= {f"{CONTEXT}{name}": text for name, text in texts.items()}
    return {**told}


def _type(name: str) -> JobType | None:
    try:
        return registry.find(name)
    except NoHandler:  # nobody can tell what is secret of it, so all is
        return None


def _kept(columns: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in columns.items() if name not in ("data", "context", "heartbeat_url")}
    return {name: value for name, value in plain.items() if value is not None and value != ""}


def _set_next(row: RecurringJob, moment: datetime | None) -> None:
    times = times_of(row.name, columns_of(row))
    row.due_at = None if moment is None else times.after(moment)
    row.next_at = row.due_at and times.fired_at(row.due_at)


def _lacking(row: RecurringJob, start: datetime, end: datetime) -> list[datetime]:
    start, end, now = check_moment("start", start), check_moment("end", end), _now()
    if end > now:
        raise InvalidJob(
            worded("end: %(end)s is not past: what is due later comes by itself", end=end.isoformat()),
            field="end",
        )
    if start >= end:
        raise InvalidJob(
            worded(
                "start: %(start)s is not before end, %(end)s",
                start=start.isoformat(),
                end=end.isoformat(),
            ),
            field="start",
        )
    dues = []
    for due in _between(row, start, end):
        dues.append(due)
        if len(dues) > MOST_BACKFILLED:
            raise InvalidJob(
                worded(
                    "start: more than %(most_backfilled)s occurrences lie between start and end: take a shorter span",
                    most_backfilled=Figures(f"{MOST_BACKFILLED:,}"),
                ),
                field="start",
            )
    return _without_job(row, dues)


def _between(row: RecurringJob, start: datetime, end: datetime) -> Iterator[datetime]:
    times = times_of(row.name, columns_of(row))
    due = times.after(start)
    while due is not None and due <= end:
        yield due
        due = times.after(due)


def _count_less(row: RecurringJob, dues: list[datetime]) -> None:
    """Those of ``dues`` that were skipped before, and run now, count as skipped no more.

    One occurrence stands for all that were skipped with it: the last ones up to it that no job was made for. What came
    before them was never to run, as while it was paused, or is of the one that the rule had come to until then.
    """
    if not dues:
        return
    rows = Occurrence.objects.using(lifecycle.database()).filter(recurring=row)
    by_rule = Q(how__in=[How.DUE, How.LATE, How.HELD, How.MISSED, How.OVERLAPPED]) | Q(skipped__gt=0)
    former = rows.filter(by_rule, due_at__lt=OuterRef("due_at")).order_by("-due_at").values("due_at")[:1]
    skipped = rows.filter(skipped__gt=0).annotate(former=Subquery(former)).order_by("due_at")
    marks = [
        *skipped.filter(due_at__gte=dues[0], due_at__lt=dues[-1]),
        *skipped.filter(due_at__gte=dues[-1])[:1],  # of which they may be the first ones
    ]
    for mark in marks:
        since = vars(mark)["former"]
        made_up = sum(due <= mark.due_at and (since is None or since < due) for due in dues)
        if made_up and mark.due_at > dues[-1]:
            still = _without_job(row, islice(_between(row, dues[-1], mark.due_at), LOOK_BACK))
            made_up = min(made_up, max(mark.skipped - len(still), 0))
        made_up = min(made_up, mark.skipped)
        mark.skipped -= made_up
        row.skipped = max(row.skipped - made_up, 0)
    Occurrence.objects.using(lifecycle.database()).bulk_update(marks, ["skipped"], batch_size=500)


def _without_job(row: RecurringJob, dues: Iterable[datetime]) -> list[datetime]:
    """Those of ``dues`` that no job was made for."""
    left: list[datetime] = []
    for some in chunks(list(dues), 1_000):
        made = row.occurrences.filter(due_at__in=some, job_id__isnull=False).values_list("due_at", flat=True)
        left += sorted({*some} - {*made})
    return left


def _create(row: RecurringJob, dues: list[tuple[datetime, How]], now: datetime, by: By) -> list[JobId]:
    alias = lifecycle.database()
    actor = actor_name(by) or f"recurring {row.name}"
    made = create(jobs_of(vars(row), len(dues)), actor=actor, using=alias)
    heartbeat = bool(row.heartbeat_url)
    # What was skipped before is made up for: its row becomes this one, also where it stands for others still.
    Occurrence.objects.using(alias).bulk_create(
        [
            Occurrence(recurring=row, due_at=due, fired_at=now, how=how, job_id=job_id, heartbeat=heartbeat)
            for (due, how), job_id in zip(dues, made.ids, strict=True)
        ],
        update_conflicts=True,
        unique_fields=["recurring", "due_at"],
        update_fields=["fired_at", "how", "job_id", "heartbeat"],
    )
    if made.ids:
        row.fired += len(made.ids)
        row.last_at, row.last_job_id = now, made.ids[-1]
        row.save(update_fields=["fired", "skipped", "last_at", "last_job_id"])
    publish_on_commit(made.messages, using=alias, stale=made.stale)
    return made.ids


def _locked(name: object) -> RecurringJob | None:
    alias = lifecycle.database()
    rows = RecurringJob.objects.using(alias)
    return rows.select_for_update().filter(name=str(name)[:201]).first()


def _known(name: object, *, lock: bool = True) -> RecurringJob:
    rows = RecurringJob.objects.using(lifecycle.database()).filter(name=str(name)[:201])
    row = _locked(name) if lock else rows.first()
    if row is None:
        raise InvalidJob(worded("name: there is no recurring job %(name)s", name=repr(str(name)[:100])), field="name")
    return row


def _check_owner(row: RecurringJob, *, in_code: bool) -> None:
    if row.in_code and not in_code:
        raise InvalidJob(
            worded(
                "name: %(name)s is declared in the code with recurring(): change it there, or pause it",
                name=repr(row.name),
            ),
            field="name",
        )


def _check_version(row: RecurringJob | None, expect: str | None) -> None:
    found = row.version if row else ""
    if expect is None or expect == found:
        return
    if row is None:
        raise InvalidJob(worded("expect: it was removed meanwhile"), field="expect")
    if expect:
        raise InvalidJob(
            worded("expect: %(name)s was changed meanwhile, by somebody else", name=repr(row.name)), field="expect"
        )
    raise InvalidJob(
        worded("name: there is a recurring job %(name)s already: choose another name", name=repr(row.name)),
        field="name",
    )


def _now() -> datetime:
    return database_now(connections[lifecycle.database()])
