"""The mark on arguments that not everybody may see, and where a type's schema carries it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MARK = "x-sensitive"


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Marks an argument as secret: ``card: Annotated[str, Sensitive()]``.

    The console masks it for whoever lacks the permission ``jobsite_jobs.view_sensitive``, and it is left out of
    recorded errors, tracebacks and log lines. It is stored as it is: for encryption, store it elsewhere and pass
    its id.
    """

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Carry the mark into the JSON schema, where every kind of nesting is told in one way."""
        return {**handler(core_schema), MARK: True}


def paths(schema: dict[str, Any]) -> frozenset[str]:
    """The dotted paths of what is marked in ``schema``. Places in lists have no name; all below a path is sensitive.

    A mark below keys that are not fixed, or inside a class that contains itself, makes the whole field sensitive.
    """
    return frozenset(".".join(path) for path in _marked(schema, schema.get("$defs", {}), (), ()))


def _marked(
    node: Any, defs: dict[str, Any], path: tuple[str, ...], inside: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    if not isinstance(node, dict):
        return
    if node.get(MARK):
        yield path
        return
    ref = str(node.get("$ref", "")).rpartition("/")[2]
    if ref in inside:
        if _mentions(defs.get(ref), defs, {ref}):
            yield path
    elif ref:
        yield from _marked(defs.get(ref), defs, path, (*inside, ref))
    for place, inner in _inner(node):
        yield from _marked(inner, defs, (*path, *place), inside)
    loose = [node.get("additionalProperties"), node.get("propertyNames"), *node.get("patternProperties", {}).values()]
    if any(_mentions(inner, defs, set()) for inner in loose):
        yield path


def _inner(node: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The schemas in ``node`` with the name below which each lies, if any."""
    for name, inner in node.get("properties", {}).items():
        yield (name,), inner
    for word in ("items", "contains"):
        yield (), node.get(word)
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for inner in node.get(word, ()):
            yield (), inner


def _mentions(node: Any, defs: dict[str, Any], seen: set[str]) -> bool:
    """Whether anything below ``node`` is marked."""
    if isinstance(node, list):
        return any(_mentions(inner, defs, seen) for inner in node)
    if not isinstance(node, dict):
        return False
    ref = str(node.get("$ref", "")).rpartition("/")[2]
    if ref and ref not in seen:
        seen.add(ref)
        if _mentions(defs.get(ref), defs, seen):
            return True
    return bool(node.get(MARK)) or any(
        _mentions(inner, defs, seen) for word, inner in node.items() if word != "default"
    )
