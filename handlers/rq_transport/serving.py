"""The life of one worker process, from the fork to its end."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from handlers import forks, processes, tracing
from handlers.rq_transport.availability import silence
from handlers.rq_transport.database_limits import limit_worker
from handlers.rq_transport.lifetime import Lifetime
from handlers.rq_transport.marks import Marks
from handlers.rq_transport.worker import BatchWorker

logger = logging.getLogger(__name__)

# Objects that may be new when Python looks for cycles among them, instead of its 700 or 2,000: claims and outcomes of
# many jobs live at once and are no cycles, and looking through them was a seventh of what a worker does.
YOUNG = 10_000


def serve(
    queues: Sequence[str],
    *,
    name: str,
    marks: Marks,
    weights: Mapping[str, int] | None,
    lifetime: Lifetime,
    parent: int,
    before: Mapping[int, forks.Handler],
) -> None:
    """The child's whole life; never returns. ``before``: what SIGTERM and SIGINT did before the supervisor."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # to read from the terminal would stop a group in the background
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        limit_worker()
        collect_seldom()
        for number in forks.STOPS:  # until RQ's worker sets its own
            signal.signal(number, lambda *_: marks.stop())
        forks.release_signals()
        _die_with_parent()
        if os.getppid() != parent:  # it died before that
            marks.stop()
        while silence() and not marks.is_stopping:
            marks.beat()
            time.sleep(0.2)
        if not marks.is_stopping:
            worker = BatchWorker(queues, name=name, marks=marks, weights=weights, lifetime=lifetime)
            forks.make_ordinary(worker.request_stop, before)
            worker.own_process()
            tracing.export_in_children()
            worker.work(logging_level=None)
            code = 0 if worker.is_stopping else 1
        else:
            code = 0
    except BaseException:
        logger.exception("worker process %s failed", name)
    finally:
        with suppress(Exception):
            tracing.export_rest()
        logging.shutdown()
        if os.getppid() != parent:  # nobody else ends what its jobs left running
            processes.kill_group(os.getpid())
        os._exit(code)


def collect_seldom() -> None:
    """Look for cycles less often, unless the site turned that off, or chose to do it less often still."""
    young, *older = gc.get_threshold()
    if 0 < young < YOUNG:
        gc.set_threshold(YOUNG, *older)


def _die_with_parent() -> None:
    """Have Linux send SIGTERM to this process when the supervisor dies; elsewhere the worker notices between jobs."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
