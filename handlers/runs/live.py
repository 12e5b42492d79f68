"""What runs tell of themselves while they go on, written beside them: at most once a second, for all at once.

Neither ``progress`` nor a line that is logged waits for the database. Where no worker has called ``begin``, as where
jobs run in the process of whoever asks, it is written as the run ends.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from contextlib import suppress

from django.db import Error, connections

from handlers import logs, patience, tidying
from handlers.conf import jobs_settings
from handlers.current import CurrentJob
from handlers.exceptions import JobCancelled
from handlers.failures import clean
from handlers.runs import keeping

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0  # between two writes, at least,
SHARE = 0.02  # and so long that they take no more than this share of the time
IDLE_SECONDS = 5.0  # after which the connection is given back


class Live:
    """One process's runs that have something to tell."""

    def __init__(self) -> None:
        self._jobs: set[CurrentJob] = set()
        self._lock = threading.Lock()
        self._has_any = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid, self._is_on = 0, False

    def begin(self) -> None:
        """This process runs jobs as a worker does: what they tell is written while they go on."""
        if self._pid != os.getpid():  # a fork has no threads of its parent's, and maybe locks that nobody opens
            self._pid, self._thread = os.getpid(), None
            self._jobs, self._lock, self._has_any = set(), threading.Lock(), threading.Event()
        self._is_on = True

    def note(self, job: CurrentJob) -> None:
        """``job`` has something new to tell; nothing to do while it ``is_noted``."""
        if not self._is_on or job.is_noted:
            return
        with self._lock:
            self._jobs.add(job)
            job.is_noted = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="live", daemon=True)
            self._thread.start()
        self._has_any.set()

    def ended(self, job: CurrentJob) -> None:
        """The run is over: what it logged is recorded with its outcome, and only its progress is still told."""
        if not self._is_on:
            self._write([job])

    def end(self) -> None:
        """Tell the rest now: this process runs no more jobs. Never raises."""
        self._is_on = False
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            jobs, self._jobs = self._jobs, set()
            for job in jobs:  # before it is read: what is told from now on is noted anew
                job.is_noted = False
        self._write(jobs)

    def _run(self) -> None:
        patience.limit(jobs_settings().lease_seconds)
        while True:
            if not self._has_any.wait(IDLE_SECONDS):
                connections.close_all()
                self._has_any.wait()
            time.sleep(PAUSE_SECONDS)
            self._has_any.clear()
            began = time.monotonic()
            self._flush()
            time.sleep(max((time.monotonic() - began) / SHARE - PAUSE_SECONDS, 0))

    def _write(self, jobs: Collection[CurrentJob]) -> None:
        told = [each for job in jobs if (each := _told(job)) is not None]
        try:
            if told:
                keeping.save_told(told)
            for job in jobs:
                if job.run is not None and not job.is_over:
                    with suppress(JobCancelled):  # it will hear of that by itself
                        job.run.keep_places()
        except Error as error:  # it is told again with the next news, and only to look at
            logger.debug("cannot write how far runs are: %s", type(error).__name__)
            tidying.close_broken_connections()


def _told(job: CurrentJob) -> keeping.Told | None:
    lines = None if job.is_over else logs.lines_of(job)
    if job.progress is None and lines is None:
        return None
    done, total, message = job.progress or (None, None, "")
    return keeping.Told(job.job_id, job.attempt, done, total, clean(job.hide(message), 200), lines)


live = Live()
