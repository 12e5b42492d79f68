"""How long a page waits for a database that says nothing any more: the thread that serves it is needed for others."""

from __future__ import annotations

from contextlib import AbstractContextManager

from handlers import patience

ANSWER_SECONDS = 15.0  # for each answer; reading ends much sooner, by ``kit.limits``


def answered() -> AbstractContextManager[None]:
    """Whatever is asked inside is answered in time, or an OperationalError."""
    return patience.limited(ANSWER_SECONDS)
