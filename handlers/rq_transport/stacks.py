"""Where the runs of a worker process are in their code, taken beside them: they know nothing of it.

What a stack shows is files, lines, functions and the source: no values. What it shows by them of the job's sensitive
arguments, as code that was made from text may, is left out.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NamedTuple

from django.db import Error

from handlers import execution, stacks, tidying
from handlers.lifecycle import Claim
from handlers.rq_transport.frames import in_words
from handlers.rq_transport.marks import Marks, Running

logger = logging.getLogger(__name__)

MOST_TASKS = 10  # that a handler has started, of which it is told where they are
CALLERS = ("handlers.execution", "handlers.together")  # of handlers
# Frames between the engine and the handler.
BETWEEN = (
    "handlers.rq_transport.coroutines", *CALLERS, "handlers.job_types", "handlers.many.types", "handlers.coroutines",
)  # fmt: skip


class Place(NamedTuple):
    """Where a run is."""

    claim: Claim
    text: str
    others: Sequence[Claim] = ()  # that the same run runs


class Stacks:
    """Takes those that the supervisor asks for. ``place_of``: where the run of a slot is."""

    def __init__(self, marks: Marks, place_of: Callable[[int], Place | None]) -> None:
        self._marks, self._place_of = marks, place_of
        self._shows = 0

    def take(self) -> None:
        """Take those that are asked for now, and tell them. What cannot be told is asked for again."""
        if (shows := self._marks.shows) == self._shows:
            return
        self._shows = shows
        for run in self._marks.to_show():
            try:
                self._take(run)
            except Error as error:
                tidying.close_broken_connections()
                # No traceback here: a driver's message can quote the values.
                logger.warning("cannot tell where job %d is: %s", run.job_id, type(error).__name__)
            except Exception:
                logger.exception("cannot tell where job %d is", run.job_id)

    def _take(self, run: Running) -> None:
        place = self._place_of(run.slot)
        # Else what was found may be the next run's.
        if place is None or place.claim.job_id != run.job_id or not self._marks.goes_on(run):
            return
        self._marks.shown(run)
        # Hidden before the cut, which could halve a secret.
        claims, text = [place.claim, *place.others], place.text
        for claim in claims:
            text = execution.hider(claim)(text)
        for claim in claims:
            stacks.keep(claim.job_id, claim.token, text)


def of_thread(ident: int | None) -> str:
    """Where a thread is, from its handler on; all of it while it is in none."""
    frames = _frames(ident)
    first = next((at for at, frame in enumerate(frames, 1) if _is(frame, CALLERS, "_handle")), 0)
    return _told(frames[first:])


def of_tasks(tasks: Sequence[asyncio.Task[Any]], loop_thread: int | None) -> str:
    """Where a run on an event loop is: its own task, and those that its handler has started and that go on."""
    current = _frames(loop_thread)
    first, *others = tasks
    told = [_told(_of_task(first, current))]
    going_on = [task for task in others if not task.done()]
    told += (
        f"{task.get_name()}, which it has started:\n{_told(_of_task(task, current))}" for task in going_on[:MOST_TASKS]
    )
    if len(going_on) > MOST_TASKS:
        told.append(f"{len(going_on) - MOST_TASKS:,} more tasks that it has started\n")
    return "\n".join(told)


def _of_task(task: asyncio.Task[Any], current: list[FrameType]) -> list[FrameType]:
    """``current``: where the loop's thread is, which may be in this task."""
    awaited: Any = task.get_coro()
    frames: list[FrameType] = []
    while (frame := _frame_of(awaited)) is not None:
        if frame in current:
            return frames + current[current.index(frame) :]
        frames.append(frame)
        awaited = _awaited_by(awaited)
    return frames


def _frame_of(awaited: Any) -> FrameType | None:
    """The frame of a coroutine or a generator that waits, or runs; None of anything else."""
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        if (frame := getattr(awaited, name, None)) is not None:
            return frame  # type: ignore[no-any-return]
    return None


def _awaited_by(awaited: Any) -> Any:
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if (inner := getattr(awaited, name, None)) is not None:
            return inner
    return None


def _frames(ident: int | None) -> list[FrameType]:
    """A thread's frames, the outermost first."""
    frame = sys._current_frames().get(ident or 0)
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _told(frames: list[FrameType]) -> str:
    """As a traceback has it, without what lies between the engine and the handler."""
    first = next((at for at, frame in enumerate(frames) if frame.f_globals.get("__name__") not in BETWEEN), 0)
    return in_words(frames[first:])


def _is(frame: FrameType, modules: Sequence[str], name: str) -> bool:
    return frame.f_code.co_name == name and frame.f_globals.get("__name__") in modules
