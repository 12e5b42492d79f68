"""Which jobs a client asks for, as far as it may: the console's search language, narrowed to the token's scope."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.conf import settings

from handlers.api.asking import Asker
from handlers.api.problems import Problem
from handlers.lifecycle import database
from handlers.limits import TookTooLong, time_limit
from handlers.selection import InvalidSelection, Selection, forbidden_paths, offered
from handlers.selection.reach import present

READ_SECONDS = 2.0  # where CONSOLE_STATEMENT_SECONDS says nothing else


def selection_of(asker: Asker, q: str, **given: Sequence[str]) -> Selection | None:
    """The jobs that ``q``, narrowed by ``given`` (values by qualifier), asks for; None: none that the scope has.

    Raises Problem, naming the qualifier.
    """
    try:
        selection = Selection.parse(q, **{name: values for name, values in given.items() if values})
    except InvalidSelection as error:
        field = error.field if error.field in given else "q"
        mend = offered(q) or "Mend the search: docs/console/jobs.md has its words."
        raise Problem(422, str(error), field=field, mend=mend) from None
    if not asker.sees_sensitive:
        if secret := forbidden_paths(selection):
            raise Problem(
                403,
                f"args.{secret[0]}: this argument is sensitive",
                field="q",
                mend="Leave it out, or use a token that has the verb 'sensitive'.",
            )
        selection = replace(selection, sensitive=False)
    return _narrowed(selection, asker)


def _narrowed(selection: Selection, asker: Asker) -> Selection | None:
    scope = asker.scope
    if scope.types:
        types = [name for name in selection.types or sorted(scope.types) if present(name) in scope.types]
        selection = replace(selection, types=tuple(types))
    if scope.queues:
        queues = [name for name in selection.queues or sorted(scope.queues) if name in scope.queues]
        selection = replace(selection, queues=tuple(queues))
    is_nothing = (scope.types and not selection.types) or (scope.queues and not selection.queues)
    return None if is_nothing else selection


@contextmanager
def in_time() -> Iterator[None]:
    """What is read inside ends in time. Raises Problem (503)."""
    try:
        with time_limit(float(getattr(settings, "CONSOLE_STATEMENT_SECONDS", READ_SECONDS)), database()):
            yield
    except TookTooLong:
        raise Problem(
            503,
            "Reading this takes too long",
            mend="Ask for less: name a state, a type, or a time such as since:1d.",
            headers={"Retry-After": "10"},
        ) from None


def place_of(cursor: str | None) -> int | None:
    """The id that a cursor stands for. Raises Problem."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Problem(422, "cursor: is no cursor of this list", field="cursor", mend="Send what 'next' was, or none.")
    return int(cursor)


def cursor_of(rows: Sequence[Any], size: int) -> str | None:
    """Where the next page begins, if this one, of which one row more than ``size`` was read, is not the last."""
    return str(rows[size - 1].pk) if len(rows) > size else None
