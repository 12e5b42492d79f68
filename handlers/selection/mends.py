"""What somebody may have meant who wrote a name that no search knows: ``order_id:4711``, ``typ:Receipt``."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import NamedTuple

from handlers.selection import declared, parsing
from handlers.selection.errors import InvalidSelection
from handlers.selection.language import MAX_VALUE, Term, terms, written

OFFERED = 3  # for each name
NAMES = 5  # that are looked at
CLOSE = 0.7  # as difflib has it

# What other consoles call it, and what the columns and the API here do.
_SYNONYMS = {
    "after": "since", "batch": "bulk", "before": "until", "class": "type", "error_message": "error",
    "exception": "error", "fingerprint": "group", "from": "since", "func": "type", "function": "type", "host": "worker",
    "job": "id", "job_id": "id", "job_type": "type", "jobtype": "type", "kind": "type", "label": "tag", "lane": "queue",
    "message": "error", "name": "type", "operation": "bulk", "parent_id": "parent", "pk": "id", "server": "worker",
    "status": "state", "task": "type", "to": "until", "trace": "correlation", "workflow_id": "workflow",
}  # fmt: skip
_ASSIGNED = re.compile(r"([A-Za-z][\w.]*)=(.+)", re.DOTALL)


class Mend(NamedTuple):
    """One name of a search that was looked for as a word, and what may have been meant."""

    name: str  # as it was written, with what stands behind it: "order_id:"
    means: str  # "args.order_id:4711"
    text: str  # the whole search, with that in its place


def mends(text: str, *, sensitive: bool = True, types: Collection[str] | None = None) -> list[Mend]:
    """What may have been meant by ``text``, likeliest first. Raises InvalidSelection for what cannot be read at all.

    ``sensitive``: whether arguments may be named that only those may search who see sensitive ones; ``types``: whose
    arguments may be named, if not those of all.
    """
    odd = [*parsing.unknown(text), *_assigned(text)]
    if not odd:
        return []
    arguments = declared.paths(sensitive=sensitive, types=types)
    found = []
    for term in odd[:NAMES]:
        sign = text[term.start + len(term.qualifier)]
        for name in _meant(term, sign, arguments):
            means = f"{name}:{written(term.value, always=term.quoted)}"
            mended = f"{text[: term.start]}{means}{text[term.end :]}"
            if _can_be_read(mended) and (sensitive or not name.startswith("args.") or name[5:] in arguments):
                found.append(Mend(f"{term.qualifier}{sign}", means, mended))
    return found


def offered(text: str) -> str:
    """``Did you mean args.order_id:4711?`` for programs and terminals, which guess nothing; empty: nothing to offer."""
    try:
        found = mends(text, sensitive=False)
    except InvalidSelection:
        return ""
    return f"Did you mean {' or '.join(mend.means for mend in found)}?" if found else ""


def _assigned(text: str) -> list[Term]:
    """Words such as ``order_id=4711``, which elsewhere would be an argument."""
    found = []
    for term in terms(text):
        match = None if term.qualifier or term.quoted else _ASSIGNED.fullmatch(term.value)
        if match and len(match[2]) <= MAX_VALUE:
            found.append(Term(match[1], match[2], quoted=False, start=term.start, end=term.end))
    return found


def _meant(term: Term, sign: str, arguments: list[str]) -> list[str]:
    name = term.qualifier.casefold()
    qualifiers = {known for known in parsing.QUALIFIERS if "." not in known}
    if sign == "=" and name in qualifiers:
        return [name]
    whole = [path for path in arguments if path.casefold() == name]
    last = [path for path in arguments if path.casefold().endswith(f".{name}")]
    found = [f"args.{path}" for path in whole + last]
    if name in _SYNONYMS:
        found.append(_SYNONYMS[name])
    if not found:
        found += get_close_matches(name, qualifiers, n=1, cutoff=CLOSE)
        found += [f"args.{path}" for path in get_close_matches(name, arguments, n=2, cutoff=CLOSE)]
    if not found and sign == ":":
        found.append(f"args.{term.qualifier}")  # no type declares it here, and jobs of one that is gone may have it
    return found[:OFFERED]


def _can_be_read(text: str) -> bool:
    try:
        parsing.parse(text, {}, guess=True)
    except InvalidSelection:
        return False
    return True
