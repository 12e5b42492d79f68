"""How far a job's newest run has come, and which of its steps are done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from dashboard.kit.numbers import in_figures
from dashboard.kit.text import inert
from handlers.models import JobRecord, JobStep, RunState
from handlers.states import State

MAX_STEPS = 50  # the newest


@dataclass(frozen=True)
class ShownStep:
    """One step."""

    name: str
    attempt: int
    rows: int | None  # of a cursor: how many are done
    started_at: datetime
    took: float | None  # seconds; None: it is not done
    is_running: bool


@dataclass(frozen=True)
class Progress:
    """What the newest run tells of itself; nothing in it is of data that the page must mask."""

    told: str  # such as 417 of 1,000; empty where it told nothing
    percent: int | None  # of a total that is known
    message: str
    at: datetime | None
    attempt: int
    steps: list[ShownStep]
    are_cut: bool
    checkpoint_at: datetime | None
    lines: Any  # of the run that goes on; None where none does


def progress_of(record: JobRecord) -> Progress | None:
    """None where the job's handler tells nothing. Two queries."""
    if not record.attempt:
        return None
    state = RunState.objects.defer("checkpoint").filter(pk=record.pk).first()
    steps = list(JobStep.objects.defer("data").filter(job=record).order_by("-pk")[: MAX_STEPS + 1])
    if state is None and not steps:
        return None
    is_running = record.state == State.PROCESSING
    is_now = is_running and state is not None and state.attempt == record.attempt
    return Progress(
        told=_told(state),
        percent=int(state.done * 100 / state.total) if state and state.done is not None and state.total else None,
        message=inert(state.message, 200) if state else "",
        at=state.at if state else None,
        attempt=state.attempt if state else 0,
        steps=[_shown(step, is_running=is_running and step.attempt == record.attempt) for step in steps[:MAX_STEPS]][
            ::-1
        ],
        are_cut=len(steps) > MAX_STEPS,
        checkpoint_at=state.checkpoint_at if state else None,
        lines=state.lines if state and is_now else None,
    )


def _told(state: RunState | None) -> str:
    if state is None or state.done is None:
        return ""
    if state.total is None:
        return _number(state.done)
    return _("%(done)s of %(total)s") % {"done": _number(state.done), "total": _number(state.total)}


def _number(value: float) -> str:
    return in_figures(f"{value:,.0f}" if value == int(value) else f"{value:,.2f}")


def _shown(step: JobStep, *, is_running: bool) -> ShownStep:
    took = None if step.finished_at is None else (step.finished_at - step.started_at).total_seconds()
    running = is_running and took is None
    return ShownStep(inert(step.name, 100), step.attempt, step.rows, step.started_at, took, running)
