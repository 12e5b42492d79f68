"""Tests without Redis: nothing that they enqueue leaves the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from handlers.conf import jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.in_process.nowhere import Nowhere
from handlers.signals.delivery import at_once
from handlers.transport import get_transport, install_transport


@contextmanager
def without_redis() -> Iterator[None]:
    """What is enqueued inside waits in the database, and is published nowhere."""
    try:
        before = get_transport()
    except TransportUnavailable:
        before = Nowhere()
    install_transport(Nowhere())
    try:
        with at_once():
            yield
    finally:
        install_transport(before)


@contextmanager
def unless_eager() -> Iterator[None]:
    """``without_redis`` for a whole test, unless its jobs run as they are committed."""
    if jobs_settings().eager:
        yield
    else:
        with without_redis():
            yield
