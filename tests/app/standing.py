"""Jobs that stand at a known place of their code, which shows a secret: it was made from text."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from handlers import CancellationToken, Job, Sensitive, handles
from tests.app.jobs import NO_RETRY, note

MINUTE = timedelta(minutes=1)
MADE = """
def stand_sync(token):
    token.wait()

async def stand_async(token):
    await token.cancelled()
"""


@dataclass(frozen=True)
class Stand(Job):
    """Stand in a thread."""

    name: str
    secret: Annotated[str, Sensitive()] = "s3cret-file"


@dataclass(frozen=True)
class StandAsync(Job):
    """Stand on an event loop, and so does a task that it has started."""

    name: str
    secret: Annotated[str, Sensitive()] = "s3cret-file"


def _made(secret: str) -> dict[str, Any]:
    place: dict[str, Any] = {}
    exec(compile(MADE, f"<made for {secret}>", "exec"), place)  # noqa: S102 - that is the point
    return place


@handles(Stand, retry=NO_RETRY, timeout=MINUTE)
def stand(job: Stand, token: CancellationToken) -> None:
    """Stand."""
    made = _made(job.secret)
    note(f"stands {job.name}")
    made["stand_sync"](token)
    token.raise_if_cancelled()


@handles(StandAsync, retry=NO_RETRY, timeout=MINUTE)
async def stand_async(job: StandAsync, token: CancellationToken) -> None:
    """Stand."""
    made = _made(job.secret)
    aside = asyncio.create_task(stand_aside(), name=f"aside for {job.secret}")
    await asyncio.sleep(0)
    note(f"stands {job.name}")
    await made["stand_async"](token)
    await aside


async def stand_aside() -> None:
    """Stand."""
    await asyncio.sleep(60)
