"""``JOBS["EAGER"]``: no queue and no worker. What is committed runs at once, in the process that enqueued it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from handlers.in_process import attempts
from handlers.in_process.nowhere import Nowhere
from handlers.transport import Message


class EagerTransport(Nowhere):
    """Runs what is published, one after another, in the thread that publishes it.

    What a job enqueues runs after it and not inside it, as with a worker. What is delayed, retries too, waits until
    something promotes it: a test's ``run_due_jobs``, say.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def publish(self, messages: Sequence[Message], *, wait: bool = True, front: bool = False) -> None:
        """Run them. A job that fails is recorded as that, and fails nobody else."""
        waiting: deque[Message] | None = getattr(self._local, "waiting", None)
        if waiting is not None:  # a job of this thread has enqueued them
            waiting.extend(messages)
            return
        waiting = self._local.waiting = deque(messages)
        try:
            while waiting:
                attempts.run_together(attempts.take(waiting))
        finally:
            self._local.waiting = None
