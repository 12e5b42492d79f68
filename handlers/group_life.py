"""What failures do to a failure group that people have put away: the decision, without a clock or a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from handlers.conf import NEXT_VERSION

MOST_VERSIONS = 20  # that a group remembers


class Resolved(NamedTuple):
    """How a group was put away as mended."""

    at: datetime
    fixed_in: str  # the version from which on its failures count; empty: any; NEXT_VERSION: those to come
    fixed_after: str  # the version that was in use then, for NEXT_VERSION
    seen: frozenset[str]  # versions that it had failed in before


class Seen(NamedTuple):
    """A failure: of which version, and when."""

    version: str  # empty: unknown
    at: datetime


def regression(resolved: Resolved, failures: Iterable[Seen], marks: Mapping[str, datetime]) -> Seen | None:
    """The first of ``failures`` that shows that it came back; None: all of them are of before the mend.

    ``marks``: when each version came into use for the first time, as far as that is known.
    """
    return next((seen for seen in failures if seen.at > resolved.at and not _is_older(seen, resolved, marks)), None)


def _is_older(seen: Seen, resolved: Resolved, marks: Mapping[str, datetime]) -> bool:
    """Whether the failure is of code that was there before the mend. A version that nobody knows counts as new."""
    version, wanted = seen.version, resolved.fixed_in
    if not wanted or version == wanted or not version:
        return False
    since = marks.get(version)
    if wanted == NEXT_VERSION:
        if version == resolved.fixed_after:
            return True
        return version in resolved.seen if since is None else since <= resolved.at
    if since is None:
        return version in resolved.seen
    # What is not in use yet comes after all that is.
    return wanted not in marks or since < marks[wanted]


def with_versions(known: Sequence[tuple[str, int]], more: Mapping[str, int]) -> list[tuple[str, int]]:
    """The versions that a group was seen in, with how often, those of ``more`` last; the oldest are forgotten."""
    counts = {version: count for version, count in known if version not in more}
    before = dict(known)
    counts |= {version: before.get(version, 0) + count for version, count in more.items() if version}
    return list(counts.items())[-MOST_VERSIONS:]
