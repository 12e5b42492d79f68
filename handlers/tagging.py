"""Tags: short texts by which jobs are found, whatever their type. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from handlers.exceptions import InvalidJob
from handlers.wording import worded

LONGEST, MOST = 50, 10
Tags = Iterable[str]


def check_tags(value: object) -> tuple[str, ...]:
    """``value``, a list or tuple of tags, each once and in its order. Raises InvalidJob (``tags``)."""
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise InvalidJob(
            worded(
                'tags: must be a list or tuple of texts, such as tags=["nightly"], not a %(kind)s',
                kind=type(value).__name__,
            ),
            field="tags",
        )
    given = sorted(value, key=str) if isinstance(value, set | frozenset) else value
    tags = tuple(dict.fromkeys(check_tag(tag) for tag in given))
    if len(tags) > MOST:
        raise InvalidJob(
            worded("tags: at most %(most)s of one job, not %(tags)s: leave some out", most=MOST, tags=len(tags)),
            field="tags",
        )
    return tags


def check_tag(value: object) -> str:
    """``value``, which must be a tag. Raises InvalidJob (``tags``)."""
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= LONGEST
        or not value.isprintable()
        or set(value) & {" ", ",", '"', "\\"}
    ):
        raise InvalidJob(
            worded(
                "tags: %(value)s is no tag: use 1 to %(longest)s printable characters without blanks, "
                "commas, quotation marks and backslashes, such as customer:42",
                value=repr(str(value)[:60]),
                longest=LONGEST,
            ),
            field="tags",
        )
    return value
