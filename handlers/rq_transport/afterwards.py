"""What follows from the jobs of a worker process is done beside them, and for several batches at once."""

from __future__ import annotations

import threading
import time

from django.db import close_old_connections, connections

from handlers import following
from handlers.lifecycle import watching
from handlers.rq_transport.database_limits import limit_worker_thread

CONNECTIONS_SECONDS = 5.0  # how often the connection is looked at
END_SECONDS = 5.0  # what is not done then a scheduler does


class Afterwards(threading.Thread):
    """Follows whatever moves in this process (see ``handlers.following``), on a connection of its own.

    While it is at it more may move: it then goes on with all of that.
    """

    def __init__(self) -> None:
        super().__init__(name="afterwards", daemon=True)
        self._changed = threading.Condition()
        self._asked = self._done = 0  # times
        self._is_over = False
        self._looked_at = 0.0

    def begin(self) -> None:
        """From now on."""
        self.start()
        watching.call(self._ask)

    @property
    def followed(self) -> int | None:
        """How many times something has moved in this process, if all of that was followed; else None."""
        with self._changed:
            return self._done if self._done == self._asked else None

    def end(self) -> None:
        """Do the rest; what moves later is followed at once."""
        if self.is_alive():
            watching.call(following.follow)
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
            self.join(END_SECONDS)

    def _ask(self) -> None:
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def run(self) -> None:
        """The thread."""
        limit_worker_thread()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked != self._done or self._is_over)
                asked = self._asked
                if asked == self._done:
                    break
            if time.monotonic() >= self._looked_at + CONNECTIONS_SECONDS:
                self._looked_at = time.monotonic()
                close_old_connections()
            following.follow()
            with self._changed:
                self._done = asked
                self._changed.notify_all()
        connections.close_all()
