"""One ``manage.py run`` per data folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRunning(Exception):
    """Another run holds the folder. The message is what it wrote about itself."""


@contextmanager
def only_run(lock: Path, about: str) -> Iterator[None]:
    """Hold ``lock``, with ``about`` written in it. Raises AlreadyRunning; the kernel lets go when the process ends."""
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(file.read().strip()) from None
        file.truncate(0)
        file.write(about)
        file.flush()
        yield
