"""Times after which our code does less than it would, or something else, however it is meant to end.

How quick a machine is decides whether they are over. In a test's own process they never are, so that no test sees
something else where the machine is slow; ``conftest`` sees to that, once for all tests. A test that is about such a
time sets it, or asks for all of them by the fixture ``usual_times``. Processes that a test starts keep to them, but for
those of a test that asks for ``quick``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

ASKED = "TEST_QUICK"  # the environment's name for it, where a process is to put them off
NEVER_SECONDS = 3600.0  # more than any test takes, and few enough for a database to be told
NEVER_OVER = (
    # A worker's, for a batch: what shares a commit, what is recorded or given back before its end, what counts as slow.
    "handlers.atomically.LONGEST_SECONDS",
    "handlers.rq_transport.commits.APART_SECONDS",
    "handlers.rq_transport.outcomes.FLUSH_SECONDS",
    "handlers.rq_transport.running.LOOK_SECONDS",
    "handlers.rq_transport.slow_types.SLOW_SECONDS",
    # A scheduler's: how much of a duty is done at once, and for how long what it has seen holds.
    "handlers.admission.duties.PASS_SECONDS",
    "handlers.alerts.watching.SECONDS",
    "handlers.folding.FOLD_SECONDS",
    "handlers.lifecycle.claims.MOMENT",
    "handlers.rq_transport.delayed.BUSY_SECONDS",
    "handlers.stranded.PASS_SECONDS",
    # Readers': what a page or a command goes without when it takes longer.
    "dashboard.bulk.new.SAMPLE_SECONDS",
    "dashboard.jobs.counts.TABS_SECONDS",
    "dashboard.jobs.rows.SECONDS",
    "dashboard.jobs.searched.LIMIT_SECONDS",
    "dashboard.jobs.searched.SECONDS",
    "dashboard.kit.subjects.PAGE_SECONDS",
    "dashboard.overview.within.SECONDS",
    "dashboard.workflows.page.SPLIT_SECONDS",
    "handlers.bulk.control.COUNT_SECONDS",
    "handlers.command_line.queues.SECONDS",
    "handlers.selection.looking.SECONDS",
    # How long the queue server may take to answer.
    "handlers.rq_transport.availability.HEALTH_TIMEOUT_SECONDS",
    "handlers.rq_transport.connections.ANSWER_SECONDS",
)


_usual: dict[str, float | timedelta] = {}


def put_off(set_: Callable[[Any, str, Any], None] = setattr, *, of: str = "") -> None:
    """Let none of these times be over, by ``set_``, of those whose names begin with ``of``."""
    for name in (name for name in NEVER_OVER if name.startswith(of)):
        module, _, constant = name.rpartition(".")
        place = import_module(module)
        _usual[name] = usual = getattr(place, constant)
        never = timedelta(seconds=NEVER_SECONDS) if isinstance(usual, timedelta) else NEVER_SECONDS
        set_(place, constant, never)


def keep_to(set_: Callable[[Any, str, Any], None]) -> None:
    """Let them all be over when they are in production, by ``set_``."""
    for name, usual in _usual.items():
        module, _, constant = name.rpartition(".")
        set_(import_module(module), constant, usual)
