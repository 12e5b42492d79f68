"""What is wrong with sagas and can be seen only once all are declared, or in the code of their methods."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from handlers import payloads
from handlers.events.subscribers import names_of, subscriber_types
from handlers.payloads import Event
from handlers.sagas.saga import Saga
from handlers.sagas.types import SagaType

NULL = {"type": "null"}


class Problem(NamedTuple):
    """What is wrong, in words, and how to mend it."""

    text: str
    hint: str


def keys() -> Iterator[Problem]:
    """Keys of one name that are of several types: as JSON 42 and "42" are two values, which never meet."""
    for saga in _sagas():
        for key in saga.keys:
            kinds: dict[str, str] = {}  # the first field of each kind
            fields = [(each, payloads.schema(each)) for each, method in saga.methods.items() if method.key == key]
            state = saga.shape.schema()["properties"]["state"]
            for cls, schema in [*fields, (saga.shape.cls, _resolved(state, saga.shape.schema()))]:
                if kind := _kind(schema.get("properties", {}).get(key), schema):
                    kinds.setdefault(kind, f"{cls.__qualname__}.{key}")
            if len(kinds) > 1:
                told = " and ".join(f"{field} is {kind}" for kind, field in kinds.items())
                yield Problem(
                    f"{saga.name}: key: {told}: what one names the other never finds.",
                    "Give the fields one type: a key's value is compared as JSON.",
                )


def timeouts() -> Iterator[Problem]:
    """Timeouts that are asked for by a name that no method has, and methods that nobody asks for."""
    for saga in _sagas():
        asked = list(_asked(saga.saga_class))
        names = {name for name, _ in asked}
        for name, method in asked:
            if name is not None and name not in saga.timeouts:
                yield Problem(
                    f"{saga.name}: {method}: self.timeout({name!r}, ...): it has no method for that timeout, and the"
                    " event fails.",
                    f"Mark a method with @on_timeout({name!r})"
                    + (f", or name one of {', '.join(sorted(saga.timeouts))}." if saga.timeouts else "."),
                )
        if None not in names:
            for name, method in sorted(saga.timeouts.items()):
                if name not in names:
                    yield Problem(
                        f"{saga.name}: {method}: nothing asks for the timeout {name!r}, so it never comes.",
                        f"Call self.timeout({name!r}, delay) in a method, or take this one away.",
                    )


def names() -> Iterator[Problem]:
    """Names that two classes of events have: what one was published as the other is read from."""
    owners: dict[str, type[Event]] = {}
    for cls in dict.fromkeys(take.event_class for each in subscriber_types() for take in each.takes):
        for name in names_of(cls):
            owner = owners.setdefault(name, cls)
            if owner is not cls:
                yield Problem(
                    f"{_path(owner)} and {_path(cls)} are both called {name!r}: subscribers of one would be given what"
                    " was published as the other.",
                    f'Give one another name: class {cls.__name__}(Event, name="..."), or take the alias away.',
                )


def _sagas() -> Iterator[SagaType]:
    return (each for each in subscriber_types() if isinstance(each, SagaType))


def _path(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _resolved(node: Any, root: dict[str, Any]) -> dict[str, Any]:
    """The node that ``node`` refers to, with what it refers to itself."""
    if not isinstance(node, dict):
        return {}
    if "$ref" in node:
        return {**root["$defs"][node["$ref"].rpartition("/")[2]], "$defs": root["$defs"]}
    return {**node, "$defs": root.get("$defs", {})}


def _kind(node: Any, root: dict[str, Any]) -> str:
    """The JSON type of a field, None left out; empty where it may be several, or anything."""
    found = _resolved(node, root)
    options = [_resolved(each, root) for each in found.get("anyOf", [found]) if each != NULL]
    kinds = {each.get("type") for each in options}
    kind = kinds.pop() if len(kinds) == 1 else None
    return {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}.get(
        kind if isinstance(kind, str) else "", ""
    )


def _asked(cls: type[Any]) -> Iterator[tuple[str | None, str]]:
    """The timeouts that the code of a saga asks for, each with its method; None: one whose name is no constant."""
    for base in cls.__mro__:
        if base is Saga:
            return
        for method, function in vars(base).items():
            if not inspect.isfunction(function):
                continue
            try:
                tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
            except (OSError, TypeError, SyntaxError):  # no source, as in an archive: nobody can tell
                yield None, method
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and node.attr == "timeout":
                    yield from _named(tree, node, method)


def _named(tree: ast.AST, used: ast.Attribute, method: str) -> Iterator[tuple[str | None, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.func is used:
            given = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "name")]
            if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str):
                yield given[0].value, method
                return
    yield None, method
