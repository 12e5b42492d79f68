"""What has come for a job before a run of it began."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from django.db import connections

from handlers.models import JobSignal, SignalStatus
from handlers.models.kept import database

T = TypeVar("T")


class Heard(NamedTuple):
    """The signals that have come, and those that have not come in time."""

    signals: dict[str, Any]
    timed_out: frozenset[str]


NOTHING = Heard({}, frozenset())


def heard(job_id: int, attempt: int) -> Heard:
    """What this attempt knows of: the same however late it asks. One small query."""
    known = JobSignal.objects.using(database()).filter(job_id=job_id, attempt__lt=attempt)
    rows = list(known.values_list("name", "status", "data"))
    return Heard(
        {name: data for name, status, data in rows if status == SignalStatus.CAME},
        frozenset(name for name, status, _ in rows if status == SignalStatus.TIMED_OUT),
    )


def beside_the_loop(read: Callable[[], T]) -> T:
    """``read()``, also where an event loop runs: then in a thread of its own, for which the loop waits."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return read()
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(read())
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name="signals", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]
