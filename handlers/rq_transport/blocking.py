"""A call in an async handler that does not let the others on its event loop go on: it is seen, and told."""

from __future__ import annotations

import logging
from types import FrameType
from typing import NamedTuple

from django.db import Error, connections

from handlers import execution, lifecycle, tidying
from handlers.failures import clean
from handlers.lifecycle import Claim
from handlers.models import BlockingCall
from handlers.models.sql import database_now
from handlers.rq_transport.frames import in_words
from handlers.writing import writing

logger = logging.getLogger(__name__)

BLOCKED_SECONDS = 1.0  # a loop that does not answer for longer is blocked
MOST_CHARS = 8_000  # of a stack


class HeldUp(NamedTuple):
    """An event loop that does not answer."""

    claim: Claim | None  # whose handler holds it up
    seconds: float
    others: int  # runs that wait for it
    frame: FrameType


class BlockingCalls:
    """For the keeper of one worker process; each type is told once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: set[str] = set()

    def tell(self, found: HeldUp) -> None:
        """Log it with the stack, and keep that for the page of the type."""
        job_type = found.claim.job_type if found.claim else ""
        if job_type in self._told:
            return
        self._told.add(job_type)
        stack = stack_of(found.frame)
        if found.claim:  # its sensitive arguments are in names that were made from them; hidden before the cut
            stack = execution.hider(found.claim)(stack)
        stack = clean(stack, MOST_CHARS)
        who = f"job {found.claim.job_id} ({job_type})" if found.claim else "a callback"
        logger.warning(
            "%s has blocked the event loop for %.1f s while %d others wait for it; in a thread it would not"
            " (asyncio.to_thread, sync_to_async):\n%s",
            who, found.seconds, found.others, stack,
        )  # fmt: skip
        if found.claim:
            try:
                self._keep(found, found.claim, stack)
            except Error as error:
                tidying.close_broken_connections()
                logger.debug("cannot keep what blocked the event loop: %s", str(error).strip())

    def _keep(self, found: HeldUp, claim: Claim, stack: str) -> None:
        facts = {
            "job_id": claim.job_id, "at": database_now(connections[lifecycle.database()]), "seconds": found.seconds,
            "others": found.others, "stack": stack, "worker": self._name[:100],
        }  # fmt: skip
        with writing(lifecycle.database()):
            BlockingCall.objects.using(lifecycle.database()).update_or_create(job_type=claim.job_type, defaults=facts)


def stack_of(frame: FrameType) -> str:
    """The calls of the handler that lead to ``frame``, which is the last."""
    calls: list[FrameType] = []
    found: FrameType | None = frame
    while found is not None and found.f_code not in ENGINE:
        calls.append(found)
        found = found.f_back
    return in_words(calls[::-1]).rstrip()


ENGINE = {execution.arun.__code__}
