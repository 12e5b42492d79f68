"""Jobs for a database that falls silent, and a worker that gets nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from handlers import CancellationToken, Job, handles
from tests.app.jobs import NO_RETRY, note


@dataclass(frozen=True)
class LongQuery(Job):
    """Ask what takes long."""

    seconds: float


@handles(LongQuery, retry=NO_RETRY)
def long_query(job: LongQuery) -> None:
    """Ask it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [job.seconds])
    note("asked")


@dataclass(frozen=True)
class Hang(Job):
    """The first time, leave something behind that hangs whatever is asked next, such as a trace that nobody takes."""


@handles(Hang, retry=NO_RETRY)
def hang(job: Hang, token: CancellationToken) -> None:
    """Leave it."""
    note(f"start {token.attempt}")
    if token.attempt == 1:
        connection.execute_wrappers.append(_hang)


def _hang(execute: Callable[..., Any], *args: Any) -> Any:
    note("hangs")
    time.sleep(600)
