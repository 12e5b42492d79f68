"""While a long sync job holds the main thread, async ones are started all the same: by the keeper, in its place."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import Error

from handlers import execution, lifecycle
from handlers.conf import jobs_settings
from handlers.registry import registry
from handlers.rq_transport.claiming import Claiming
from handlers.rq_transport.overlooked import Overlooked
from handlers.rq_transport.running import Runs
from handlers.rq_transport.taking import Taking

logger = logging.getLogger(__name__)


class Meanwhile:
    """For the keeper of one worker process."""

    def __init__(self, name: str, *, runs: Runs, taking: Taking, claiming: Claiming) -> None:
        self._name, self._runs, self._taking, self._claiming = name, runs, taking, claiming
        self._overlooked = Overlooked()

    def look(self, most: float) -> None:
        """Start those that wait, up to ``most`` and as many as there are slots for; when it is time."""
        if self._overlooked.is_due and (types := registry.names(is_async=True)):
            self._runs.while_main_is_busy(lambda: self._start(types, most))

    def _start(self, types: set[str], most: float) -> None:
        room = int(min(most, self._runs.async_room))
        if room < 1:
            return
        messages = self._overlooked.look(self._taking.open_queues(), room, only=types)
        try:
            lease = timedelta(seconds=jobs_settings().lease_seconds)
            claims = lifecycle.claim(messages, worker=self._name, lease=lease, company=True)
        except Error as error:
            execution.close_broken_connections()
            self._claiming.doubt()
            logger.warning("waiting for the database: %s", str(error).strip())
        else:
            self._runs.start_async(self._runs.share(claims))
