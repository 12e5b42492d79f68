"""While a long sync job holds the main thread, async ones are started all the same: by the keeper, in its place."""

from __future__ import annotations

from handlers.registry import registry
from handlers.rq_transport.claiming import Claiming
from handlers.rq_transport.overlooked import Overlooked
from handlers.rq_transport.running import Runs
from handlers.rq_transport.taking import Taking


class Meanwhile:
    """For the keeper of one worker process."""

    def __init__(self, *, runs: Runs, taking: Taking, claiming: Claiming) -> None:
        self._runs, self._taking, self._claiming = runs, taking, claiming
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
        self._runs.start_async(self._runs.share(self._claiming.try_once(messages)))
