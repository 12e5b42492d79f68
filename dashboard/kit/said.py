"""What is said after an action, with a way to undo it and the jobs that the page follows from there.

Both ride on a message as tags (``undo-17 jobs-4711-4712``), so the message itself stays plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from django.contrib import messages
from django.contrib.messages.storage.base import Message
from django.http import HttpRequest

from dashboard.kit.became import FOLLOWED

_UNDO, _JOBS = re.compile(r"\bundo-(\d{1,18})\b"), re.compile(r"\bjobs-(\d{1,18}(?:-\d{1,18})*)\b")


class Said(NamedTuple):
    """What rides on a message."""

    undo: int | None  # the audit's entry of what can be undone
    jobs: list[int]


def say(request: HttpRequest, level: int, text: str, *, undo: int | None = None, jobs: Sequence[int] = ()) -> None:
    """Say ``text``. ``undo``: the entry of the audit; ``jobs``: those that moved, followed where they are few."""
    tags = [f"undo-{undo}"] if undo else []
    tags += [f"jobs-{'-'.join(map(str, jobs))}"] if 0 < len(jobs) <= FOLLOWED else []
    messages.add_message(request, level, text, extra_tags=" ".join(tags))


def read(message: Message) -> Said:
    """What rides on ``message``."""
    tags = str(message.extra_tags or "")
    undo, jobs = _UNDO.search(tags), _JOBS.search(tags)
    return Said(int(undo[1]) if undo else None, [int(pk) for pk in jobs[1].split("-")][:FOLLOWED] if jobs else [])
