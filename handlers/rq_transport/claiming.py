"""Claiming what was taken, whatever the database does; and knowing what is held, or that it is not known."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import Error, close_old_connections, connections

from handlers import admission, execution, lifecycle, patience, tidying, tracing
from handlers.conf import jobs_settings
from handlers.lifecycle import Claim
from handlers.models.sql import is_postgresql
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.running import Runs
from handlers.rq_transport.stopping import Stopping
from handlers.rq_transport.taking import Taking
from handlers.transport import Message

logger = logging.getLogger(__name__)

CLAIM_TRIES = 3  # while the database answers; while it is away, a worker waits as long as it takes
CONNECTIONS_SECONDS = 5.0  # how often connections are looked at
SLOWEST_SECONDS = 1.0  # between two looks at a database that leaves us in doubt
UNTIL_PLANNED = 7  # runs of a statement: one unprepared, five that PostgreSQL plans anew, one with the plan it keeps


class Claiming:
    """What one worker process holds, in its name."""

    def __init__(self, name: str, *, marks: Marks, stopping: Stopping, taking: Taking) -> None:
        self._name, self._marks, self._stopping, self._taking = name, marks, stopping, taking
        self._connections_at = 0.0
        self._doubtful = False  # whether the database may hold claims of ours that we do not know of

    def warm_up(self) -> None:
        """Connect, and let the database plan what claims a job: so that the first one starts as soon as any other."""
        if not is_postgresql(connections[lifecycle.database()]):
            return  # SQLite plans nothing for good, and whoever claims there waits for other writers
        nothing = Message(0, "", "")
        with contextlib.suppress(Error):  # then the first claim waits for the database
            pair = [nothing, nothing._replace(job_id=-1)]
            for messages, company in (([nothing], False), ([nothing], True), (pair, True)) * UNTIL_PLANNED:
                if self._stopping.is_asked:
                    break
                lifecycle.claim(messages, worker=self._name, lease=timedelta(0), company=company)

    def claim(self, messages: list[Message], *, company: bool) -> list[Claim]:
        """Claim those of ``messages`` that we may run now, beside others (``company``) that run already.

        Waits for a database that is away.
        """
        lease = timedelta(seconds=jobs_settings().lease_seconds)
        pause, tries = 0.05, 0
        while True:
            try:
                self._renew_connections()
                claims = admission.claim(messages, worker=self._name, lease=lease, company=company or len(messages) > 1)
            except Error as error:
                tidying.close_broken_connections()
                self._marks.beat()
                self._doubtful = True  # the claim may have been committed, and only the answer lost
                if self._stopping.is_asked:
                    self._taking.put_back(messages)
                    return []
                # What only takes too long is not about a message: a lock, which somebody holds, or a slow server.
                tries += execution.database_answers() and not patience.ran_out(error)
                if tries >= CLAIM_TRIES or not isinstance(error, execution.TRANSIENT):
                    return self._claim_singly(messages, error)
                logger.warning("waiting for the database: %s", str(error).strip())
                time.sleep(pause)
                pause = min(pause * 2, 2.0)
            else:
                if len(claims) < len(messages):
                    with contextlib.suppress(Error):  # else recovery finds that they are on no queue
                        self._taking.refused(messages, {claim.job_id for claim in claims}, company=company)
                tracing.claimed(claims)
                return claims

    def try_once(self, messages: list[Message]) -> list[Claim]:
        """The same, for another thread while jobs run: those that the database gives at the first try."""
        lease = timedelta(seconds=jobs_settings().lease_seconds)
        try:
            claims = admission.claim(messages, worker=self._name, lease=lease, company=True)
        except Error as error:
            tidying.close_broken_connections()
            self._doubtful = True
            logger.warning("waiting for the database: %s", str(error).strip())
            return []
        tracing.claimed(claims)
        return claims

    def let_go(self, runs: Runs) -> None:
        """Hold no more than what ``runs`` has in hand.

        In doubt, give back what the database says we process and it has not; while that is away, hold on.
        """
        if self._doubtful or runs.outcomes.is_doubtful:
            self._give_back_unknown(runs)
        if self._doubtful:
            return
        if runs.are_over:
            self._marks.release()
        else:
            self._marks.release_batch()

    def await_certainty(self, runs: Runs, meanwhile: Callable[[], None]) -> None:
        """Wait while it is in doubt what is held: the database was away when something was to be recorded."""
        pause = 0.1
        while (self._doubtful or runs.outcomes.is_doubtful) and not self._stopping.is_asked:
            self._marks.beat()
            meanwhile()
            self.let_go(runs)
            if self._doubtful:
                time.sleep(pause)
                pause = min(pause * 2, SLOWEST_SECONDS)

    def _renew_connections(self) -> None:
        """Let Django close what is too old; seldom, because it then asks the database whether the rest still works."""
        if time.monotonic() >= self._connections_at + CONNECTIONS_SECONDS:
            self._connections_at = time.monotonic()
            close_old_connections()

    def _claim_singly(self, messages: list[Message], error: Error) -> list[Claim]:
        """The database is there and will not: something about one of the messages, and no other may suffer for it."""
        if len(messages) > 1:
            return [claim for message in messages for claim in self.claim([message], company=True)]
        logger.error("cannot claim job %d (%s); recovery will offer it again", messages[0].job_id, type(error).__name__)
        return []

    def _give_back_unknown(self, runs: Runs) -> None:
        self._doubtful = True
        try:
            with runs.outcomes.recording:  # nothing that the database names below is recorded meanwhile
                started, in_hand = self._marks.started(), runs.in_hand()
                moves = [
                    lifecycle.handed_back(claim, "its outcome could not be recorded", started=True)
                    if claim.job_id in started
                    else lifecycle.handed_back(claim, "its worker did not learn that it was claimed", started=False)
                    for claim in lifecycle.claims_of(self._name)
                    if claim.job_id not in in_hand
                ]
                execution.settle(moves, worker=self._name, keep_trying=lambda: False)
                runs.outcomes.be_sure()
        except Error:
            tidying.close_broken_connections()  # the doubt stays
        else:
            self._doubtful = False
