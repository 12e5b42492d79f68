"""A correlation: what jobs and events that belong together share."""

from __future__ import annotations

from handlers.exceptions import InvalidJob
from handlers.wording import worded

LONGEST_CORRELATION = 64


def check_correlation(value: object) -> None:
    """Raise InvalidJob unless ``value`` can be one."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_CORRELATION or not value.isprintable():
        raise InvalidJob(
            worded(
                "correlation: must be 1 to %(longest_correlation)s printable characters, not %(value)s",
                longest_correlation=LONGEST_CORRELATION,
                value=repr(str(value)[:100]),
            ),
            field="correlation",
        )
