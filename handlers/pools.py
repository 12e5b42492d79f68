"""Django's pools of PostgreSQL connections, ``OPTIONS["pool"]``: one belongs to one process.

A pool has threads, which a fork does not take along, and sockets, which it does: parent and child would read each
other's rows. So a forked process makes pools of its own, and a process whose business is to fork has none.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from django.db import connections

PSYCOPG_SIZE = 4  # of a pool whose options name none
CLOSE_SECONDS = 1.0  # how long the threads of a pool are waited for: one may be busy with a server that is away

_set_aside: dict[str, Any] = {}  # by alias: the option that this process does without
_inherited: list[object] = []  # a parent's: kept, because letting go of one would close it for the parent too


def do_without() -> None:
    """Have this process connect by itself from now on, not those that it forks.

    For a process of one thread, which has one connection whatever its settings, and time limits that a pool would not
    keep: it lets its clients wait for half a minute.
    """
    connections.close_all()
    for alias, settings in connections.settings.items():
        if pool := settings["OPTIONS"].pop("pool", None):
            _set_aside[alias] = pool
    opened = _opened()
    while opened:
        opened.popitem()[1].close(CLOSE_SECONDS)


def most(alias: str) -> int | None:
    """How many connections to ``alias`` each process has at most that this one forks; None where no pool limits them.

    For a process that does without pools.
    """
    if not (pool := _set_aside.get(alias)):
        return None
    options = {} if pool is True else pool
    size = options.get("max_size")
    return int(options.get("min_size", PSYCOPG_SIZE) if size is None else size)


def _opened() -> dict[str, Any]:
    """Django's own, by alias."""
    backend = sys.modules.get("django.db.backends.postgresql.base")
    pools: dict[str, Any] = getattr(backend.DatabaseWrapper, "_connection_pools", {}) if backend else {}
    return pools


def _begin_anew() -> None:
    """In a forked child."""
    opened = _opened()
    _inherited.extend(opened.values())
    opened.clear()
    while _set_aside:
        alias, pool = _set_aside.popitem()
        connections.settings[alias]["OPTIONS"]["pool"] = pool


os.register_at_fork(after_in_child=_begin_anew)
