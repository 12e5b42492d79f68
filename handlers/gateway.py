"""The scheduler gateway: every verb by which programs and people start, stop and repeat jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

from django.db import connections

from handlers import bulk, carried, lifecycle, queues, stacks, switches, uniqueness
from handlers.audit import By, actor_name, audit, of_new_job
from handlers.changes import of_arguments
from handlers.conf import SYSTEM_QUEUE, jobs_settings
from handlers.correlations import check_correlation
from handlers.current import current
from handlers.deadlines import Expiry, check_delay, deadline, too_early, utc
from handlers.exceptions import InvalidJob, NoHandler, TransportUnavailable, check_signal_name
from handlers.failure_groups import FailureGroupVerbs
from handlers.job_ids import job_ids
from handlers.lifecycle import Applied, JobId, NewJob
from handlers.models import BulkOperation, JobHistory, JobRecord, QueueSwitch, TypeSwitch
from handlers.models.sql import database_now
from handlers.payloads import Command, Job
from handlers.priorities import check_priority
from handlers.publishing import publish_on_commit
from handlers.recurrence.verbs import RecurringVerbs
from handlers.registry import registry
from handlers.results import encode_bounded
from handlers.selection import Selection
from handlers.several import for_each, tell_which
from handlers.tagging import Tags, check_tags
from handlers.transport import get_transport
from handlers.twins import twin
from handlers.unique import Hold, Rule, check_rule
from handlers.wording import worded
from handlers.workflows.verbs import WorkflowVerbs
from handlers.writing import writing

Work = Job | Command


IN_ORDER = range(2**63 - 1)  # the places of those that are as they were given
MOVES, OLD = 3, "old_payload"  # a job's newest moves, one of which has the arguments that an edit replaced


class JobScheduler(RecurringVerbs, WorkflowVerbs, FailureGroupVerbs):
    """Enqueue, schedule and govern jobs. Import the one instance: ``from handlers import job_scheduler``.

    Each verb acts in the caller's transaction and is published after it commits. ``by`` (a user, or a name) puts the
    verb on the audit with ``reason``. ``expect`` is the token that a page showed: a job that moved on since is left
    alone. Verbs on one job answer whether it moved, verbs on many how many did; ids may be int or str, and an
    unknown id is one that did not move. On an event loop each verb has a twin to await: ``aenqueue``, ``aretry``.
    """

    # --- starting jobs

    def enqueue(
        self,
        job: Work,
        *,
        queue: str | None = None,
        delay: timedelta | None = None,
        expires: Expiry = None,
        unique: Rule = None,
        priority: int | None = None,
        tags: Tags = (),
        correlation: str | None = None,
        by: By = None,
        reason: str = "",
    ) -> JobId:
        """Run ``job`` in the background as soon as a worker is free, or ``delay`` from now.

        ``expires``: an aware datetime, or so long from now; a job that was not started by then never is: it is deleted,
        with that reason. ``unique``: by which rule there is only one such job at a time, default its type's; False: by
        none. The id may be that of the one that is there: its ``is_new`` tells. ``priority``: from -100 to 100, default
        its type's: on its queue the job ranks as if it had been enqueued ``JOBS["PRIORITY_SECONDS"]`` (6) earlier for
        each point. ``tags``: up to 10 short texts by which the job is found, beside those of its type. ``correlation``
        is shared by what belongs together; without one, a job that a handler enqueues has the one of the handler's job.
        Raises InvalidJob (payload, queue, delay, expires, unique, priority, tags or correlation), NoHandler, or
        DuplicateJob where ``unique`` says so; nothing is written then.
        """
        new = self._new([job], queue, correlation, expires, unique, priority, tags=tags, delay=delay)
        return self._create(*new, "enqueue", by, reason)[0]

    def schedule(
        self,
        job: Work,
        at: datetime,
        *,
        queue: str | None = None,
        expires: Expiry = None,
        unique: Rule = None,
        priority: int | None = None,
        tags: Tags = (),
        correlation: str | None = None,
        by: By = None,
        reason: str = "",
    ) -> JobId:
        """Run ``job`` at ``at``, an aware datetime; one that has passed means now. Else as ``enqueue``.

        Raises InvalidJob (payload, queue or time) or NoHandler; nothing is written then.
        """
        if not isinstance(at, datetime) or at.utcoffset() is None:
            raise InvalidJob(
                worded(
                    "at: must be an aware datetime, not %(at)s; for example timezone.now() + timedelta(minutes=5)",
                    at=repr(at),
                ),
                field="at",
            )
        at = utc("at", at)
        new = self._new([job], queue, correlation, expires, unique, priority, tags=tags, run_at=at)
        return self._create(*new, "schedule", by, reason)[0]

    def enqueue_many(
        self,
        jobs: Iterable[Work],
        *,
        queue: str | None = None,
        expires: Expiry = None,
        unique: Rule = None,
        priority: int | None = None,
        tags: Tags = (),
        correlation: str | None = None,
        by: By = None,
        reason: str = "",
    ) -> list[JobId]:
        """Enqueue all of ``jobs`` or, when one of them is wrong, none; their ids in the same order.

        What is raised says which one it is about, counted from 0: its ``field`` is such as ``jobs.17.order_id``.
        """
        for_each("jobs", jobs, "jobs")
        new, holds = self._new(jobs, queue, correlation, expires, unique, priority, tags=tags, places=IN_ORDER)
        return self._create(new, holds, "enqueue", by, reason) if new else []

    # --- one job

    def delete(self, job_id: Any, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """Not yet run: it never will. Running: its handler is asked to stop. Failed: it leaves the list."""
        return self.delete_many([job_id], by=by, reason=reason, expect=_expect(job_id, expect)) == 1

    def retry(
        self,
        job_id: Any,
        payload: Any = None,
        *,
        by: By = None,
        reason: str = "",
        expect: str | None = None,
    ) -> bool:
        """Run a failed or scheduled job now, with a new round of retries.

        ``payload`` (a job, a command, or a JSON value that fits the type) replaces its arguments; the old ones stay
        in the history. Raises InvalidJob when it does not fit.
        """
        encoded = None
        if payload is not None and (ids := job_ids([job_id])):
            records = JobRecord.objects.using(lifecycle.database()).filter(pk=ids[0])
            job_type = records.values_list("job_type", flat=True).first()
            if job_type is None:
                return False
            encoded = _encode_for(job_type, payload)
        did = "retry" if payload is None else "edit_and_retry"
        return self._act(lifecycle.retry, [job_id], by, reason, _expect(job_id, expect), did, payload=encoded) == 1

    def requeue(self, job_id: Any, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """Run a succeeded job again."""
        return self.requeue_many([job_id], by=by, reason=reason, expect=_expect(job_id, expect)) == 1

    def restore(self, job_id: Any, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """Put a deleted job back to where it was, within JOBS RESTORE_MINUTES and unless it was running."""
        return self.restore_many([job_id], by=by, reason=reason, expect=_expect(job_id, expect)) == 1

    def take_back(self, job_id: Any, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """A job that was retried, requeued or run now, and has not begun: put it back to where it was, as it stood."""
        return self.take_back_many([job_id], by=by, reason=reason, expect=_expect(job_id, expect)) == 1

    def move(self, job_id: Any, queue: str, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """Put a job that waits (scheduled and retrying ones too) on another queue; a failed one, for its next retry.

        Raises InvalidJob for a queue that the code does not name, or the engine's own.
        """
        return self.move_many([job_id], queue, by=by, reason=reason, expect=_expect(job_id, expect)) == 1

    def signal(
        self,
        job_id: Any,
        name: str,
        data: Any = None,
        *,
        by: By = None,
        reason: str = "",
        expect: str | None = None,
    ) -> bool:
        """Give a job the signal ``name`` with ``data`` (plain JSON): one that waits for it (``WaitFor``) goes on.

        For a job that does not wait yet it is kept. Whether there is such a job. Raises InvalidJob (``name``) for one
        that has ended, that waits for another signal, or that has not read its last one of this name; (``data``) for
        what is no JSON, or larger than a result may be.
        """
        check_signal_name(name)
        encoded = encode_bounded(data, Any, what="data", field="data", mend="store it elsewhere and send its id")
        known, alias = job_ids([job_id]), lifecycle.database()
        if not known:
            return False
        with writing(alias):
            expected = _expect(job_id, expect)
            applied = lifecycle.signal(known[0], name, encoded, actor=actor_name(by), reason=reason, expect=expected)
            if applied is None:
                return False
            audit(by, "signal", _target(known), 1, reason, {"job_ids": known, "signal": name, **_answer(data)})
            publish_on_commit(applied.messages, using=alias)
        return True

    def show_stack(self, job_id: Any, *, by: By = None, reason: str = "", expect: str | None = None) -> bool:
        """Have the worker of a running job tell where in its code it is, within a second or two: on the job's page."""
        return any(stacks.ask(known, by, reason, expect=expect) for known in job_ids([job_id]))

    # --- many jobs

    def delete_many(
        self, ids: Iterable[Any], *, by: By = None, reason: str = "", expect: Mapping[int, str] | None = None
    ) -> int:
        """``delete`` for each of ``ids``; how many were deleted."""
        return self._act(lifecycle.delete, ids, by, reason, expect)

    def retry_many(
        self, ids: Iterable[Any], *, by: By = None, reason: str = "", expect: Mapping[int, str] | None = None
    ) -> int:
        """``retry`` for each of ``ids``; how many run again."""
        return self._act(lifecycle.retry, ids, by, reason, expect)

    def requeue_many(
        self, ids: Iterable[Any], *, by: By = None, reason: str = "", expect: Mapping[int, str] | None = None
    ) -> int:
        """``requeue`` for each of ``ids``; how many run again."""
        return self._act(lifecycle.requeue, ids, by, reason, expect)

    def restore_many(
        self, ids: Iterable[Any], *, by: By = None, reason: str = "", expect: Mapping[int, str] | None = None
    ) -> int:
        """``restore`` for each of ``ids``; how many are back."""
        within = timedelta(minutes=jobs_settings().restore_minutes)
        return self._act(lifecycle.restore, ids, by, reason, expect, within=within)

    def take_back_many(
        self, ids: Iterable[Any], *, by: By = None, reason: str = "", expect: Mapping[int, str] | None = None
    ) -> int:
        """``take_back`` for each of ``ids``; how many are back."""
        return self._act(lifecycle.take_back, ids, by, reason, expect)

    def move_many(
        self,
        ids: Iterable[Any],
        queue: str,
        *,
        by: By = None,
        reason: str = "",
        expect: Mapping[int, str] | None = None,
    ) -> int:
        """``move`` for each of ``ids``; how many are on ``queue`` that were not before."""
        queues.check_target(queue)
        return self._act(lifecycle.move_to_queue, ids, by, reason, expect, "move", queue=queue)

    # --- queues

    def pause_queue(self, name: str, until: datetime | None = None, *, by: By = None, reason: str = "") -> None:
        """Let no worker claim jobs of this queue, until ``until`` (aware) or ``resume_queue``. Running jobs finish.

        Raises InvalidJob for an unknown queue, the engine's own, or a naive time.
        """
        queues.check_stored(name)
        if name == SYSTEM_QUEUE:
            raise InvalidJob(
                worded(
                    "queue: %(system_queue)s serves the engine itself and cannot be paused",
                    system_queue=repr(SYSTEM_QUEUE),
                ),
                field="queue",
            )
        switches.pause(QueueSwitch, [name], until, by, reason)

    def resume_queue(self, name: str, *, by: By = None, reason: str = "") -> None:
        """Let workers claim jobs of this queue again. Raises InvalidJob for an unknown queue that is not paused."""
        if not QueueSwitch.objects.using(lifecycle.database()).filter(name=str(name)).exists():
            queues.check_stored(name)
        switches.resume(QueueSwitch, [name], by, reason)

    def paused_queues(self) -> dict[str, QueueSwitch]:
        """The queues that are paused now, by name."""
        return switches.paused_queues()

    # --- all that match

    def start_bulk(
        self,
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
        """Do ``verb`` (retry, requeue, delete, move) to all jobs that match now, in the background, oldest first.

        ``queue``: where move takes them. At most ``rate_per_second`` jobs; the first ``canary`` must succeed before
        the rest follows; above ``max_failed_share`` of failed first attempts it pauses. ``count``: how many, where the
        caller knows. Raises InvalidJob; for a selection that nothing narrows unless ``confirm_count`` is the exact
        number.
        """
        return bulk.start(
            verb, selection, queue=queue, by=by, reason=reason, rate_per_second=rate_per_second, canary=canary,
            max_failed_share=max_failed_share, confirm_count=confirm_count, count=count,
        )  # fmt: skip

    def pause_bulk(self, operation_id: int, *, by: By = None, reason: str = "") -> bool:
        """Let no further chunk of a bulk operation begin."""
        return bulk.pause(operation_id, by=by, reason=reason)

    def resume_bulk(self, operation_id: int, *, by: By = None, reason: str = "") -> bool:
        """Go on with a bulk operation that paused, or whose chunk job was lost."""
        return bulk.resume(operation_id, by=by, reason=reason)

    def try_bulk(self, operation_id: int, jobs: int = bulk.CANARY, *, by: By = None, reason: str = "") -> bool:
        """Let ``jobs`` more of a paused bulk operation go first; the rest follows only if they all succeed.

        Whether it was paused. Raises InvalidJob.
        """
        return bulk.try_more(operation_id, jobs, by=by, reason=reason)

    def stop_bulk(self, operation_id: int, *, by: By = None, reason: str = "") -> bool:
        """End a bulk operation for good; what it moved stays moved."""
        return bulk.stop(operation_id, by=by, reason=reason)

    # --- job types and workers

    def pause_type(self, name: str, until: datetime | None = None, *, by: By = None, reason: str = "") -> None:
        """Let no worker claim jobs of this type, by name or alias, until ``until`` (aware) or ``resume_type``.

        Running jobs finish. Raises InvalidJob for an unknown type or a naive time.
        """
        switches.pause(TypeSwitch, switches.type_names(name), until, by, reason)

    def resume_type(self, name: str, *, by: By = None, reason: str = "") -> None:
        """Let workers claim jobs of this type again: the first thousands at once, all in seconds. Raises InvalidJob."""
        switches.resume_type(name, by, reason)

    def paused_types(self) -> dict[str, TypeSwitch]:
        """The job types that are paused now, by name."""
        return switches.paused_types()

    def stop_worker(self, name: str, *, by: By = None, reason: str = "") -> bool:
        """Ask a worker process to end its job and stop; whether it was not asked before. Raises InvalidJob."""
        return switches.stop_worker(name, by, reason)

    def transport_trouble(self) -> str:
        """Why the queue server takes no messages now, or seconds ago, in one line; empty when it does. Never raises."""
        try:
            return get_transport().trouble()
        except TransportUnavailable as error:
            return str(error)

    # --- for asynchronous callers: each verb under its name with an a, as Django does

    aenqueue = twin(enqueue)
    aschedule = twin(schedule)
    aenqueue_many = twin(enqueue_many)
    adelete = twin(delete)
    aretry = twin(retry)
    arequeue = twin(requeue)
    arestore = twin(restore)
    atake_back = twin(take_back)
    amove = twin(move)
    asignal = twin(signal)
    ashow_stack = twin(show_stack)
    adelete_many = twin(delete_many)
    aretry_many = twin(retry_many)
    arequeue_many = twin(requeue_many)
    arestore_many = twin(restore_many)
    atake_back_many = twin(take_back_many)
    amove_many = twin(move_many)
    apause_queue = twin(pause_queue)
    aresume_queue = twin(resume_queue)
    apaused_queues = twin(paused_queues)
    astart_bulk = twin(start_bulk)
    apause_bulk = twin(pause_bulk)
    aresume_bulk = twin(resume_bulk)
    atry_bulk = twin(try_bulk)
    astop_bulk = twin(stop_bulk)
    apause_type = twin(pause_type)
    aresume_type = twin(resume_type)
    apaused_types = twin(paused_types)
    astop_worker = twin(stop_worker)
    atransport_trouble = twin(transport_trouble)

    # --- inside

    def _new(
        self,
        jobs: Iterable[Work],
        queue: str | None,
        correlation: str | None,
        expires: Expiry,
        unique: Rule,
        priority: int | None,
        *,
        tags: Tags = (),
        run_at: datetime | None = None,
        delay: timedelta | None = None,
        without: Collection[str] = (),
        watched: bool = False,
        awaits: bool = False,
        places: Sequence[int] | None = None,
    ) -> tuple[list[NewJob], list[Hold | None] | None]:
        """The jobs to be, and the keys that they want to hold, None where none of them wants one.

        ``without``: fields whose values come later. ``awaits``: the time is for whoever releases them. ``places``:
        where the caller has them, of several; None: there is one.
        """
        if delay is not None:
            check_delay(delay)
        if queue is not None:  # a type's own queue is known by the type
            queues.check_known(queue)
        if priority is not None:
            check_priority(priority)
        if unique is not None and unique is not False:
            check_rule(unique)
        own = check_tags(tags) if tags != () else ()
        parent = current.get()
        if parent is not None and parent.bars:
            raise InvalidJob(parent.bars, field="job")
        if correlation is None:
            correlation = parent.family if parent else ""
        else:
            check_correlation(correlation)
        parent_id, context = parent.job_id if parent else None, carried.capture()
        expiry = (None, None) if expires is None else _expiry(expires, run_at, delay)
        due = (None, None) if awaits else (run_at, delay)
        new: list[NewJob] = []
        holds: list[Hold | None] = []
        for job in jobs:
            try:
                job_type = registry.for_object(job)
                name = job_type.queue if queue is None else queue
                encoded = job_type.encode(job, without=without)
                rank = job_type.priority if priority is None else priority
                rule = job_type.rule(unique)
                hold = None if rule is None else job_type.hold_of(rule, json.loads(encoded))
            except (InvalidJob, NoHandler) as error:
                if places is not None:
                    tell_which(error, "jobs", places[len(new)])
                raise
            new.append(
                NewJob(
                    job_type.name,
                    encoded,
                    name,
                    *due,
                    parent_id,
                    correlation,
                    *expiry,
                    awaits,
                    watched,
                    bool(job_type.limits),
                    rank,
                    own,
                    context,
                )
            )
            holds.append(hold)
        return new, holds if any(holds) else None

    def _create(
        self, new: Sequence[NewJob], holds: Sequence[Hold | None] | None, verb: str, by: By, reason: str
    ) -> list[JobId]:
        alias, actor = lifecycle.database(), actor_name(by)
        # What holds nothing, and is not audited or has its entry in it, is one step, without a transaction around it.
        # A savepoint for what may raise DuplicateJob: who catches that goes on with the transaction.
        entry = None
        if by is not None and holds is None and lifecycle.is_one_step(new):
            entry = of_new_job(by, verb, reason)
        is_one_step = holds is None and (by is None or entry is not None)
        with nullcontext() if is_one_step else writing(alias, savepoint=holds is not None):
            made = uniqueness.create(new, holds, actor=actor, using=alias, beside=entry)
            if entry is None and by is not None:
                told = {"asked": len(made.ids), "job_ids": made.ids[:1_000]}
                audit(by, verb, _target(made.ids), len(made.messages), reason, told)
            publish_on_commit(made.messages, using=alias, stale=made.stale)
        return made.ids

    def _act(
        self,
        verb: Callable[..., Applied],
        ids: Iterable[Any],
        by: By,
        reason: str,
        expect: Mapping[int, str] | None,
        did: str = "",
        **options: Any,
    ) -> int:
        """Carry out one of the life cycle's verbs with its audit entry; published after the commit.

        ``did``: what the entry calls it, where that is not the verb's own name.
        """
        if (running := current.get()) is not None and running.bars:
            raise InvalidJob(running.bars, field="job")
        if expect is not None and not isinstance(expect, Mapping):
            raise InvalidJob(
                f"expect: must be a dict of tokens by the jobs' ids, not {repr(expect)[:60]}", field="expect"
            )
        known, alias = job_ids(ids), lifecycle.database()
        with writing(alias):
            applied = verb(known, actor=actor_name(by), reason=reason, expect=expect, **options)
            moved = sorted(applied.moved)
            data: dict[str, Any] = {"asked": len(known), "job_ids": moved[:1_000]}
            data |= {"from": applied.sources} if applied.sources else {}
            data |= _edited(moved[0], options["payload"]) if moved and options.get("payload") else {}
            data |= {"to_queue": options["queue"], "from_queues": applied.queues} if "queue" in options else {}
            audit(by, did or verb.__name__, _target(known), len(moved), reason, data)
            publish_on_commit(applied.messages, using=alias, stale=applied.stale)
        return len(moved)


job_scheduler = JobScheduler()


def _expiry(
    expires: object, run_at: datetime | None, delay: timedelta | None
) -> tuple[datetime | None, timedelta | None]:
    """The time or the wait, of which the other is None."""
    at, wait = deadline(expires)
    if run_at or delay:
        now = database_now(connections[lifecycle.database()])
        if (at or now + (wait or timedelta(0))) <= (run_at or now + (delay or timedelta(0))):
            raise too_early(expires)
    return at, wait


def _answer(data: Any) -> dict[str, bool]:
    """What the audit tells of a signal's data: whether that approves or declines, where it says so."""
    approved = data.get("approved") if isinstance(data, dict) else None
    return {"approved": approved} if isinstance(approved, bool) else {}


def _edited(job_id: int, payload: bytes) -> dict[str, Any]:
    """What a person changed of the job's arguments, as the move that has just been written has the old ones."""
    alias = lifecycle.database()
    moves = JobHistory.objects.using(alias).filter(job_id=job_id).order_by("-pk")
    newest = list(moves.values_list("job__job_type", "data")[:MOVES])
    found = next(((job_type, data) for job_type, data in newest if isinstance(data, dict) and OLD in data), None)
    if found is None:
        return {}
    job_type = registry.find(found[0])
    return {**of_arguments(found[1][OLD], json.loads(payload), job_type, job_type)}


def _encode_for(type_name: str, payload: Any) -> bytes:
    job_type = registry.find(type_name)
    if isinstance(payload, bytes):
        raise InvalidJob(
            worded("payload: must be a job, a command, or a JSON value as Python has it, not bytes"), field="payload"
        )
    if not isinstance(payload, Job | Command):
        payload = job_type.decode(payload)
    elif (found := registry.for_object(payload)).name != job_type.name:
        raise InvalidJob(
            worded("payload: the job is of type %(name)s, not %(other)s", name=job_type.name, other=found.name),
            field="payload",
        )
    return job_type.encode(payload)


def _expect(job_id: Any, token: str | None) -> dict[int, str] | None:
    return None if token is None else dict.fromkeys(job_ids([job_id]), token)


def _target(ids: Sequence[int]) -> str:
    return f"job {ids[0]}" if len(ids) == 1 else f"{len(ids):,} jobs"
