"""A supervisor passes on to its worker processes of which jobs people want to see where they are in their code."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from django.db import Error

from handlers import stacks, tidying
from handlers.rq_transport.children import Child

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # how often the database is asked, while jobs run


class StackRequests:
    """Those of one supervisor's children."""

    def __init__(self) -> None:
        self._look_at = 0.0

    def pass_on(self, children: Iterable[Child]) -> None:
        """Look, when it is time, and ask again for what has not been told yet."""
        if (now := time.monotonic()) < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        busy = {child.name: child for child in children if child.marks.holding}
        if not busy:
            return
        try:
            wanted = stacks.wanted(list(busy))
        except Error as error:
            tidying.close_broken_connections()
            logger.debug("cannot look which stacks are wanted: %s", str(error).strip())
            return
        if wanted:
            for child in busy.values():
                for run in child.marks.running():
                    if not run.jobs.isdisjoint(wanted):
                        child.marks.show(run)
