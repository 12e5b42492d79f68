"""A saga's state as this person may see it, and what a turn has changed in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from dashboard.kit import catalogue
from dashboard.kit.sensitive import may_see
from dashboard.kit.text import inert, pretty_json
from handlers import sensitive
from handlers.events.subscribers import secret_fields
from handlers.masking import mask, mask_paths

MOST_FIELDS = 40  # of one turn that are shown
LONGEST = 200  # characters of a value


@dataclass(frozen=True)
class Changed:
    """One field of the state, before and after; None: it was not there."""

    name: str
    before: str | None
    after: str | None


def seen(request: HttpRequest, saga_type: str, state: Any) -> Any:
    """``state`` with what is sensitive masked, unless this person may see it.

    Of a type that the code does not know nobody can tell, so all is masked but names.
    """
    if state is None or may_see(request):
        return state
    shape = getattr(catalogue.find(saga_type), "shape", None)
    if shape is None:
        return mask(None, state)
    secret = sensitive.paths(shape.schema())
    return _unknown_masked(mask_paths(secret, {"state": state})["state"], shape.fields if secret else None)


def seen_event(request: HttpRequest, saga_type: str, event_type: str, data: Any) -> list[tuple[str, str]]:
    """The fields of an event that came to such a saga, masked in the same way: names and values, not all of many."""
    if not may_see(request):
        take = getattr(catalogue.find(saga_type), "known", {}).get(event_type)
        if take is None:
            data = mask(None, data)
        else:
            secret = secret_fields(take.event_class)
            known = take.event_class.__dataclass_fields__ if secret else None
            data = _unknown_masked(mask_paths(secret, data), known)
    fields = dict(_fields(data))
    return [(inert(name)[:LONGEST], _words(fields, name) or "") for name in fields][:MOST_FIELDS]


def _unknown_masked(data: Any, known: Collection[str] | None) -> Any:
    """``data`` without the values of other names than ``known``; None: nothing there is sensitive."""
    if known is None or not isinstance(data, dict):
        return data
    # A name that the code does not know may be a former one of something sensitive.
    return {name: value if name in known else mask(None, value) for name, value in data.items()}


def changes(before: Any, after: Any) -> list[Changed]:
    """The fields that differ, those within others by dotted names; at most MOST_FIELDS."""
    old, new = dict(_fields(before)), dict(_fields(after))
    names = sorted({*old, *new})  # a database may keep them in an order of its own
    return [
        Changed(inert(name)[:LONGEST], _words(old, name), _words(new, name))
        for name in names
        if old.get(name, old) != new.get(name, new)
    ][:MOST_FIELDS]


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not name):
        for key, inner in value.items():
            yield from _fields(inner, f"{name}.{key}" if name else str(key))
    elif value is not None or name:
        yield name, value


def _words(fields: dict[str, Any], name: str) -> str | None:
    if name not in fields:
        return None
    value = fields[name]
    text = value if isinstance(value, str) else pretty_json(value)
    text = inert(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
