"""What a message names, so that a stock ``rqworker --serializer json`` runs our jobs too."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta

from django.db import Error, close_old_connections, connections

from handlers import admission, execution, lifecycle, patience, tidying
from handlers.cancellation import CancellationToken, CancelReason
from handlers.conf import jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.hard_timeouts import hard_timeout
from handlers.lifecycle import Claim
from handlers.models import JobRecord
from handlers.runs.live import live
from handlers.signals.delivery import delivery
from handlers.states import State
from handlers.transport import LastWords, Message, get_transport
from handlers.troubles import troubles

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0


def run(job_id: int, token: str) -> None:
    """Claim one job, run it and record it; an outdated or paused one is left alone."""
    with patience.limited(jobs_settings().lease_seconds):
        close_old_connections()
        live.begin()
        try:
            _run(Message(job_id, token, ""))
        finally:
            live.end()
            delivery.end()
            troubles.end()


def _run(message: Message) -> None:
    # Unique: in a container that was restarted the PIDs come again, and a renewal by name would keep a dead one's jobs.
    worker = f"{socket.gethostname()[:60]}.{os.getpid()}.{secrets.token_hex(3)}.rqworker"
    seconds = jobs_settings().lease_seconds
    try:
        claims = admission.claim([message], worker=worker, lease=timedelta(seconds=seconds))
    except Error:
        _give_back(worker, seconds)
        raise
    for claim in claims:
        cancellation = CancellationToken(job_id=claim.job_id, attempt=claim.attempt, facts=claim.facts)
        limit = hard_timeout(claim, cancellation)
        with _LeaseThread(claim, worker, cancellation):
            move = execution.run(claim, cancellation, worker=worker, around=limit)
        if move is not None:
            execution.settle([move], worker=worker)


def _give_back(worker: str, seconds: float) -> None:
    """The claim may hold, and only its answer be lost: give back, unstarted, what it took, before its lease is over.

    And should it come late, recovery knows that nothing ran.
    """
    with suppress(TransportUnavailable):
        get_transport().leave_last_words(worker, LastWords(frozenset(), frozenset()))
    until, reason = time.monotonic() + seconds, "its worker did not learn that it was claimed"
    while time.monotonic() < until:
        tidying.close_broken_connections()
        try:
            moves = [lifecycle.handed_back(claim, reason, started=False) for claim in lifecycle.claims_of(worker)]
            execution.settle(moves, worker=worker, keep_trying=lambda: False)
        except Error:
            time.sleep(0.5)
        else:
            return


class _LeaseThread(threading.Thread):
    """Renews the lease of a job that runs without a supervisor, and sees when it is deleted or lost."""

    def __init__(self, claim: Claim, worker: str, token: CancellationToken) -> None:
        super().__init__(name="lease", daemon=True)
        self._claim, self._worker, self._token = claim, worker, token
        self._over = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """The thread."""
        seconds = jobs_settings().lease_seconds
        patience.limit(seconds)
        lease = timedelta(seconds=seconds)
        while not self._over.wait(CHECK_SECONDS):
            try:
                if self._claim.job_id not in lifecycle.renew([self._worker], lease=lease):
                    row = JobRecord.objects.using(lifecycle.database()).filter(pk=self._claim.job_id).first()
                    deleted = row is not None and row.state == State.DELETED
                    self._token.cancel(CancelReason.DELETED if deleted else CancelReason.LEASE_LOST)
                    break
            except Error as error:
                logger.warning("cannot renew the lease of job %d: %s", self._claim.job_id, error)
                tidying.close_broken_connections()
        connections.close_all()
