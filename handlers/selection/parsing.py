"""From text, and from stored JSON, to the parts of a selection; everything bounded and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from handlers.priorities import check_priority
from handlers.selection import pasted, values
from handlers.selection.criteria import ANY, Criteria
from handlers.selection.errors import InvalidSelection
from handlers.selection.language import MAX_VALUE, Term, check_text, terms
from handlers.selection.reach import Part
from handlers.wording import Figures, worded

MAX_IDS = 1_000
MOST_TAGS = 10
MAX_CHOICES = 20  # states, types or queues
MAX_WORDS = 20
MAX_ARGUMENTS = 10
MAX_DEPTH = 10

QUALIFIERS = (
    "type", "queue", "state", "error", "args.NAME", "args", "id", "correlation", "worker", "group", "parent", "since",
    "until", "bulk", "workflow", "priority", "tag",
)  # fmt: skip

# qualifier -> field of the selection, and how a value is read
_MANY: dict[str, tuple[str, Callable[[str], tuple[Any, ...]], int]] = {
    "state": ("states", lambda text: (values.state(text),), MAX_CHOICES),
    "type": ("types", values.job_types, 200),
    "queue": ("queues", lambda text: (text,), MAX_CHOICES),
    "tag": ("tags", lambda text: (values.tag(text),), MOST_TAGS),
    "id": ("ids", lambda text: (values.number("id", text),), MAX_IDS),
}
_ONE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "worker": ("worker", str),
    "error": ("error", str),
    "group": ("fingerprint", str),
    "correlation": ("correlation", str),
    "priority": ("priority", values.priority),
    "parent": ("parent", lambda text: values.number("parent", text)),
    "bulk": ("operation", lambda text: values.number("bulk", text)),
    "workflow": ("workflow", lambda text: values.number("workflow", text)),
    "since": ("since", lambda text: values.moment("since", text)),
    "until": ("until", lambda text: values.moment("until", text)),
}


def parse(text: str, params: Mapping[str, str | Sequence[str]], *, guess: bool = False) -> dict[str, Any]:
    """The parts of the selection of ``text``, narrowed by ``params``. Raises InvalidSelection.

    ``guess``: what stands before a colon and is no qualifier is looked for as a word, and so is what comes after it.
    """
    around, error = pasted.split(text, _narrows)
    found = _read(terms(around), guess=guess)
    if error:
        _add_pasted(found, error)
    for name, given in params.items():
        each = [given] if isinstance(given, str) else list(given)
        chosen = [Term(name, value.strip(), quoted=True) for value in each if value.strip()]
        for term in chosen:
            check_text(term.value, name, MAX_VALUE)
        _narrow(found, _read(chosen))
    return found


def unknown(text: str) -> list[Term]:
    """The terms of ``text`` whose names no search knows; none of an error that was pasted. Raises InvalidSelection."""
    around, _ = pasted.split(text, _narrows)
    given = list(terms(around))
    if _is_error(given):
        return []
    named = [term for term in given if term.qualifier and not term.value.startswith("//")]
    return [term for term in named if not _is_ours(term.qualifier.casefold())]


def _read(given: Iterable[Term], *, guess: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {}
    free: list[Term] = []
    given = list(given)
    is_error = _is_error(given)
    for term in given:
        if not term.qualifier:
            free.append(term)
        elif not term.value and _is_ours(term.qualifier) and not is_error:
            raise InvalidSelection(term.qualifier, worded("say what to look for right after the colon"))
        elif term.value and _is_ours(term.qualifier.casefold()):
            _add_ours(found, term)
        elif is_error or term.value.startswith("//"):
            free += _as_words(term)
        elif guess:
            free += [Term("", word, quoted=True) for word in (term.qualifier, term.value)]
        else:
            known = ", ".join(f"{known}:" for known in QUALIFIERS)
            told = worded(
                "%(qualifier)s: is not known here. Known are %(known)s Put text with a colon in quotation marks.",
                qualifier=term.qualifier[:60],
                known=known,
            )
            raise InvalidSelection("", told)
    _add_free(found, free)
    return found


def _add_ours(found: dict[str, Any], term: Term) -> None:
    name = term.qualifier.casefold()
    if name in _MANY:
        _add(found, name, term.value, quoted=term.quoted)
    elif name in _ONE:
        field, reader = _ONE[name]
        read = reader(term.value)
        if found.setdefault(field, read) != read:
            raise InvalidSelection(name, worded("can be given once only"))
    else:
        _add_argument(found, ANY if name == "args" else term.qualifier[len("args.") :], term.value, quoted=term.quoted)


def _is_error(given: Iterable[Term]) -> bool:
    """Whether it reads as "could not connect: localhost:6379": elsewhere an unknown qualifier is more likely a slip."""
    return any(term.qualifier and not term.value and not _is_ours(term.qualifier) for term in given)


def _is_ours(qualifier: str) -> bool:
    """Whether it is one of QUALIFIERS, written as these are."""
    return qualifier in _MANY or qualifier in _ONE or qualifier == "args" or qualifier.startswith("args.")


def _narrows(text: str) -> bool:
    """Whether ``text`` is one of our qualifiers with a value that it can have."""
    try:
        return all(_is_ours(term.qualifier) for term in terms(text)) and bool(_read(terms(text)))
    except InvalidSelection:
        return False


def _add_pasted(found: dict[str, Any], error: str) -> None:
    """An error as it was pasted: its words where these are a few in one line, as somebody may have typed them."""
    words: list[str] = []
    if len(error.splitlines()) == 1 and len(error) <= pasted.KEPT and pasted.TRACEBACK not in error:
        with suppress(InvalidSelection):  # an open quotation mark is one of the error's
            words = [word.value for term in terms(error) for word in _as_words(term)]
    typed = found.get("text", ())
    found["text"] = (*typed, *words) if 0 < len(words) <= MAX_WORDS - len(typed) else (*typed, pasted.line(error))


def _as_words(term: Term) -> list[Term]:
    """A term of an error, whatever stands before its colons."""
    if not term.qualifier:
        return [term]
    if not term.value:
        # As errors begin: "KeyError:", or just "Error:". Of the class's path a job's row has the last name only.
        return [Term("", f"{term.qualifier.rpartition('.')[2]}:", quoted=False)]
    words = [f"{term.qualifier}:", term.value] if term.quoted else [f"{term.qualifier}:{term.value}"]
    return [Term("", word, term.quoted) for word in words]


def _add_free(found: dict[str, Any], free: Sequence[Term]) -> None:
    """What stands without a qualifier: ids, if there is nothing but such numbers; among other words they are words."""
    if free and all(not term.quoted and values.is_id(term.value) for term in free):
        for term in free:
            _add(found, "id", term.value, quoted=False)
        return
    if len(free) > MAX_WORDS:
        raise InvalidSelection(
            "", worded("at most %(max_words)s words at once; put a phrase in quotation marks", max_words=MAX_WORDS)
        )
    if free:
        found["text"] = tuple(term.value for term in free)


def _add(found: dict[str, Any], name: str, value: str, *, quoted: bool) -> None:
    field, reader, limit = _MANY[name]
    if name == "tag" and "," in value:  # elsewhere it would mean any of them
        raise InvalidSelection(name, worded("one at a time: with tag:one tag:other a job must have both"))
    for part in [value] if quoted else [part for part in value.split(",") if part]:
        new = tuple(item for item in reader(part) if item not in found.get(field, ()))
        found[field] = (*found.get(field, ()), *new)
    if len(found.get(field, ())) > limit:
        raise InvalidSelection(name, worded("at most %(limit)s at once", limit=Figures(f"{limit:,}")))
    if field not in found:
        raise InvalidSelection(name, worded("say what to look for right after the colon"))


def _add_argument(found: dict[str, Any], path: str, value: str, *, quoted: bool) -> None:
    _check_path(path)
    pair = (path, values.argument(value, quoted=quoted))
    if repr(pair) not in map(repr, found.get("arguments", ())):  # true is not 1
        found["arguments"] = (*found.get("arguments", ()), pair)
    if len(found["arguments"]) > MAX_ARGUMENTS:
        raise InvalidSelection("args", worded("at most %(max_arguments)s at once", max_arguments=MAX_ARGUMENTS))


def _check_path(path: str) -> None:
    parts = path.split(".")
    if not all(parts) or len(parts) > MAX_DEPTH:
        raise InvalidSelection(
            f"args.{path}", worded("name an argument, such as args.order_id: or args.customer.email:")
        )
    if number := next(filter(_is_number, parts), None):
        # The databases do not agree on whether it is a name or a place in a list.
        raise InvalidSelection(
            f"args.{path}", worded("an argument cannot be searched for by a number, such as %(number)s", number=number)
        )


def _is_number(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _narrow(found: dict[str, Any], more: dict[str, Any]) -> None:
    """Both must fit: what a choice beside the box says goes with what the box says, and cannot widen it."""
    for field, value in more.items():
        old = found.get(field)
        if old is None:
            found[field] = value
        elif field in ("since", "until"):
            found[field] = max(old, value) if field == "since" else min(old, value)
        elif field in ("states", "types", "queues", "ids"):
            both = tuple(item for item in old if _covers(value, item)) + tuple(
                item for item in value if item not in old and _covers(old, item)
            )
            if not both:
                told = worded(
                    "%(old)s in the search and %(new)s beside it",
                    old=", ".join(map(str, old)),
                    new=", ".join(map(str, value)),
                )
                raise InvalidSelection(field.removesuffix("s"), worded("%(told)s: no job is both", told=told))
            found[field] = both
        elif field in ("text", "arguments", "tags"):
            found[field] = (*old, *(item for item in value if item not in old))
        elif old != value:
            raise InvalidSelection(
                field, worded("%(old)s in the search and %(value)s beside it: no job is both", old=old, value=value)
            )


def _covers(chosen: Sequence[Any], item: Any) -> bool:
    return item in chosen or (item == values.RETRYING and "scheduled" in chosen)


_TEXTS = {"states", "types", "queues", "tags", "text"}


def restore(data: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the selection that was stored as ``data``. Raises InvalidSelection."""
    if not isinstance(data, Mapping) or set(data) - {field.name for field in fields(Criteria)}:
        raise InvalidSelection("", "this is no stored selection")
    try:
        return {name: _restored(name, value) for name, value in data.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidSelection("", f"this is no stored selection: {error}") from None


def _restored(name: str, value: Any) -> Any:
    if name in _TEXTS:
        items = tuple(_text(name, item) for item in value)
        return tuple(values.state(item) for item in items) if name == "states" else items
    if name == "ids":
        return tuple(_number(item) for item in value)
    if name == "within":
        return tuple(_part(types, queues) for types, queues in value)
    if name == "arguments":
        for path, _ in value:
            _check_path(_text(name, path))
        return tuple((path, _argument(item)) for path, item in value)
    if name in ("since", "until"):
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if name in ("parent", "operation", "workflow", "lowest", "highest", "priority"):
        read = check_priority if name == "priority" else _number
        return None if value is None else read(value)
    if name in ("sensitive", "engine"):
        if not isinstance(value, bool):
            raise TypeError(f"{name} is neither true nor false")
        return value
    return _text(name, value)


def _part(*names: Any) -> Part:
    return Part(*(tuple(_text("within", each) for each in some) for some in names))


def _argument(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"number"}:
        number = values.argument(_text("arguments", value["number"]), quoted=False)
        if isinstance(number, values.Number):
            return number
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError("an argument is no plain value")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} holds something else than text")
    check_text(value, name)
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= values.MAX_ID:
        raise TypeError("an id is no number")
    return value
