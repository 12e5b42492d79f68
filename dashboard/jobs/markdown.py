"""A failed job as Markdown, to paste into a ticket or a chat."""

from __future__ import annotations

import re

from dashboard.jobs.timeline import Attempt
from dashboard.kit.text import inert, one_line
from handlers.models import JobRecord

MAX_TRACEBACK = 20_000  # characters


def failure_markdown(record: JobRecord, failure: Attempt, call: str) -> str:
    """What failed, where and how. ``call``: the job as code, its sensitive arguments masked already."""
    error, frame = failure.error, failure.frame
    if error is None:
        return ""
    place = f"{frame.short_path}:{frame.line} in {frame.name}" if frame else error.frame
    parts = [
        f"**Job {record.pk}**, attempt {failure.number}",
        _fenced(inert(f"{record.job_type}\n{error.exception}: {one_line(error.message)}\n{place}".strip())),
        "Call:",
        _fenced(call),
    ]
    if error.traceback:
        parts += ["Traceback:", _fenced(inert(error.traceback[-MAX_TRACEBACK:]))]
    return "\n\n".join(parts) + "\n"


def _fenced(text: str) -> str:
    """``text`` in a fence longer than any run of backticks in it, so that nothing in it can end the fence."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
