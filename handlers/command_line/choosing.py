"""Which jobs a command means: ids, or a search in the console's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from handlers.command_line.answers import usage
from handlers.conf import ENGINE_TYPES
from handlers.job_types import JobType
from handlers.registry import registry
from handlers.selection import InvalidSelection, Selection, forbidden_paths, offered

TOLD = 10  # types that a message names
HELP = 'ids, or a search as in the console: state:failed type:SendReceipt since:2h args.order_id:7 error:"timed out"'


def selection_of(words: Sequence[str], *, empty: bool = False) -> Selection:
    """The jobs that ``words`` mean; ``empty``: whether they may be none, and mean every job. Raises CommandError.

    As for whoever may not see sensitive arguments, these are not searched: a search is kept in histories of shells.
    """
    try:
        selection = Selection.parse(" ".join(words))
    except InvalidSelection as error:
        raise usage(f"search: {error} {offered(' '.join(words))}".rstrip()) from None
    if secret := forbidden_paths(selection):
        raise usage(f"search: args.{secret[0]}: this argument is sensitive and is not searched here: use the console")
    if selection.is_empty and not empty:
        raise usage(f"search: name the jobs: {HELP}")
    return replace(selection, sensitive=False)


def type_named(name: str) -> JobType:
    """The type of this name or former name, or whose last part it is. Raises CommandError."""
    own = [known for known in registry.all() if not known.name.startswith(ENGINE_TYPES)]
    asked = name.casefold()
    if exact := [known for known in own if name in (known.name, *known.aliases)]:
        return exact[0]
    ends = [known for known in own if known.name.rpartition(".")[2].casefold() == asked]
    if len(ends) == 1:
        return ends[0]
    names = [known.name for known in ends or own]
    close = [each for each in names if asked in each.casefold()] or get_close_matches(name, names, n=3, cutoff=0.5)
    told = close or names
    more = f", and {len(told) - TOLD} more" if len(told) > TOLD else ""
    raise usage(f"type: {name[:200]!r} is not the name of one type; there are {', '.join(told[:TOLD])}{more}")
