"""A dead man's switch: an address that is called while all is well. Whoever hears nothing there raises the alarm."""

from __future__ import annotations

import logging
import threading

from handlers import fleet
from handlers.conf import jobs_settings
from handlers.failures import class_path
from handlers.outbound import call
from handlers.transport import get_transport

logger = logging.getLogger(__name__)


def call_dead_man() -> None:
    """Call ``JOBS["DEAD_MAN_URL"]`` if there is one, a worker lives, and the queue server takes messages.

    Raises the database's errors; what the call itself says is logged.
    """
    url = jobs_settings().dead_man_url
    if url and not get_transport().trouble() and fleet.live_workers():
        threading.Thread(target=_call, args=(url,), name="dead man's switch", daemon=True).start()


def _call(url: str) -> None:
    try:
        call(url)
    except Exception as error:  # noqa: BLE001 - whatever it is, the switch says so by itself
        logger.warning("the dead man's switch could not be called: %s", class_path(error).rpartition(".")[2])
