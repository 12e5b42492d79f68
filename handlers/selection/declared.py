"""The arguments that registered types declare: where a value is looked for that may be in any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from handlers.conf import ENGINE_TYPES
from handlers.registry import registry
from handlers.selection.secrets import is_secret

MOST = 500  # paths; of more, those that most types have
DEEPEST = 3  # names of a path


def paths(*, sensitive: bool, types: Collection[str] | None = None) -> list[str]:
    """The dotted paths of what is one value, no list; ``sensitive``: also those that some type has as such.

    ``types``: of these alone.
    """
    found: Counter[str] = Counter()
    for job_type in registry.all():
        if not job_type.name.startswith(ENGINE_TYPES) and job_type.declares_arguments:
            if types is not None and job_type.name not in types:
                continue
            found.update(_of_type(job_type.name, job_type.version))
    allowed = [path for path in found if sensitive or not is_secret(path)]
    return sorted(allowed, key=lambda path: (-found[path], path))[:MOST]


@lru_cache(maxsize=5_000)
def _of_type(name: str, version: str) -> frozenset[str]:
    """``version``: of the type's schema, which a test may declare anew."""
    schema = registry.get(name).schema()
    return frozenset(_inner(schema, schema, ()))


def _inner(node: Any, root: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    if not isinstance(node, dict):
        return []
    if isinstance(reference := node.get("$ref"), str):
        node = root.get("$defs", {}).get(reference.rpartition("/")[2], {})
    options = [option for kind in ("anyOf", "oneOf", "allOf") for option in node.get(kind, ())]
    found = [inner for option in options for inner in _inner(option, root, path)]
    properties = node.get("properties")
    if isinstance(properties, dict):
        if len(path) < DEEPEST:
            named = {name: value for name, value in properties.items() if _is_name(name)}
            found += [inner for name, value in named.items() for inner in _inner(value, root, (*path, name))]
    elif path and not options and node.get("type") not in ("array", "object", "boolean", "null"):
        found.append(".".join(path))
    return found


def _is_name(text: Any) -> bool:
    """Whether an argument of this name can be searched for."""
    return isinstance(text, str) and text.isidentifier()


def places_of(data: Any, number: int, *, sensitive: bool) -> list[str]:
    """The declared arguments of ``data`` that hold ``number``, or its digits as text."""
    return [path for path in paths(sensitive=sensitive) if _holds(_at(data, path), number)]


def _at(data: Any, path: str) -> Any:
    for name in path.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _holds(value: Any, number: int) -> bool:
    return value == str(number) or (isinstance(value, int | float) and not isinstance(value, bool) and value == number)
