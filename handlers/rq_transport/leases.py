"""A supervisor renews the leases of its worker processes, and tells them which of their runs are theirs no more."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import timedelta

from django.db import Error

from handlers import lifecycle, tidying
from handlers.cancellation import CancelReason
from handlers.conf import jobs_settings
from handlers.models import JobRecord
from handlers.rq_transport.children import Child
from handlers.rq_transport.marks import Running
from handlers.states import State

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0  # how often the database is asked whether running jobs are still ours


class Leases:
    """The leases of one supervisor's children."""

    def __init__(self) -> None:
        self._checked_at = self._renewed_at = 0.0

    def look_after(self, children: Iterable[Child]) -> None:
        """Renew those of children that hold jobs, and tell runs that are no longer theirs; when it is time."""
        now = time.monotonic()
        holders = [child for child in children if child.marks.holding]
        if not holders or now < self._checked_at + CHECK_SECONDS:
            return
        self._checked_at = now
        # Read before the database is: a run that ends in between is not mistaken for a lost one.
        runs = [(child, child.marks.running()) for child in holders]
        names = [child.name for child in holders]
        lease = jobs_settings().lease_seconds
        try:
            if now >= self._renewed_at + lease / 3:
                held = lifecycle.renew(names, lease=timedelta(seconds=lease))
                self._renewed_at = now
            else:
                held = lifecycle.held_by(names)
            for child, running in runs:
                # A run of several goes on for those that are left.
                if lost := [run for run in running if all(held.get(job) != child.name for job in run.jobs)]:
                    _tell_lost(child, lost)
        except Error as error:
            tidying.close_broken_connections()
            logger.warning("cannot renew leases: %s", str(error).strip())


def _tell_lost(child: Child, runs: list[Running]) -> None:
    ids = [job_id for run in runs for job_id in run.jobs]
    rows = JobRecord.objects.using(lifecycle.database()).filter(pk__in=ids, state=State.DELETED)
    deleted = set(rows.values_list("pk", flat=True))
    for run in runs:
        if are_deleted := run.jobs <= deleted:
            child.deleted.setdefault(run.key, time.monotonic())
        child.marks.cancel(run, CancelReason.DELETED if are_deleted else CancelReason.LEASE_LOST)
