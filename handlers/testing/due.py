"""Running what is due, by the real life cycle: claim, handler, retry decision, settling, history."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async

from handlers import admission, lifecycle, waiting
from handlers.conf import ENGINE_TYPES, jobs_settings
from handlers.in_process import attempts
from handlers.in_process.attempts import Run
from handlers.priorities import rank
from handlers.recurrence import declared, firing
from handlers.testing.agenda import next_event
from handlers.testing.clock import moment, moving_clock
from handlers.testing.unsent import without_redis

CHUNK = 1_000
A_BIT = timedelta(milliseconds=1)  # beyond what is waited for


class Runs(list[Run]):
    """The attempts that were made, in their order; not those of the engine's own jobs."""

    @property
    def failed(self) -> Runs:
        """Those that failed, whether they are tried again or not."""
        return Runs(run for run in self if run.failure)

    def check(self) -> None:
        """Raise AssertionError if any failed, with its traceback."""
        if failed := self.failed:
            run = failed[0]
            rest = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
            assert run.failure is not None
            raise AssertionError(
                f"attempt {run.attempt} of {run.job_type} #{run.job_id} failed{rest}\n{run.failure.traceback}"
            )


class _Engine:
    """A scheduler and a worker in one, at one moment after another."""

    def __init__(self, runs: Runs, most: int) -> None:
        self._runs, self._most = runs, most
        self._count = 0
        self._limits = admission.LimitDuties()

    def run(self) -> None:
        """Do what there is to do now, until there is nothing more."""
        moved = True
        while moved:
            moved = self._schedule() | self._work()

    def _schedule(self) -> bool:
        moved = bool(lifecycle.promote_due())
        moved |= bool(lifecycle.end_waits())
        moved |= firing.fire_due().jobs > 0
        moved |= firing.fire_held().jobs > 0
        lifecycle.expire_unstarted()
        moved |= self._limits.look_after() > 0
        attempts.follow()
        return moved

    def _work(self) -> bool:
        worth, moved = jobs_settings().priority_seconds, False
        found = [job for queue in waiting.queues() for job in waiting.oldest(queue, CHUNK, aside=False)]
        found.sort(key=lambda job: (rank(job.place.enqueued_at, job.message.priority, seconds=worth), job.place.job_id))
        messages, types = deque(job.message for job in found), {job.place.job_id: job.job_type for job in found}
        while messages:
            for run in attempts.run_together(attempts.take(messages, types)):  # not one of a paused queue, say
                self._made(run)
                moved = True
        return moved

    def _made(self, run: Run) -> None:
        self._count += 1
        if self._count > self._most:
            raise AssertionError(
                f"{self._most:,} attempts were made and more jobs are due, the last of {run.job_type} #{run.job_id}:"
                " does a job enqueue itself? Else allow for more with most="
            )
        if not run.job_type.startswith(ENGINE_TYPES):
            self._runs.append(run)


def run_due_jobs(
    *,
    now: datetime | timedelta | None = None,
    recurring: bool = False,
    check: bool = False,
    most: int = 10_000,
) -> Runs:
    """Run what is due, and what that brings about, until nothing more is; the attempts that were made.

    In this process and thread, and in the test's transaction, without Redis. Time passes to ``now``, an aware datetime
    or so long from now, event by event: what is scheduled runs at its time, a retry after its backoff, a recurring job
    each time that it is due, a job under a rate when it may. Afterwards it is as late as before. Without ``now``, what
    is due at this moment runs.

    ``recurring``: also the recurring jobs that the code declares, as once a scheduler has started; those that the test
    has added always. ``check``: a failed attempt is an AssertionError, raised at the end. More than ``most`` attempts
    are one at once: a job that enqueues itself would never end.
    """
    runs = Runs()
    with without_redis(), moving_clock() as clock:
        target = clock.now() if now is None else moment(now, "now")
        if recurring:
            declared.sync()
        engine = _Engine(runs, most)
        engine.run()
        while (event := next_event(clock.now())) is not None and event < target - A_BIT:
            clock.move_to(max(event + A_BIT, clock.now()))
            engine.run()
        if now is not None:
            clock.move_to(target)
            engine.run()
    if check:
        runs.check()
    return runs


arun_due_jobs = sync_to_async(run_due_jobs)
