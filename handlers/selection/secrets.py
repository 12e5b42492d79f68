"""Which arguments may be searched only by those who may see sensitive ones."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from handlers.masking import MASK
from handlers.registry import registry
from handlers.selection.criteria import ANY, Criteria

Some = TypeVar("Some", bound=Criteria)


def forbidden_paths(selection: Criteria) -> list[str]:
    """The paths of ``selection`` that are, or lie in, a sensitive argument of any registered type."""
    return [path for path, _ in selection.arguments if path != ANY and is_secret(path)]


def is_secret(path: str) -> bool:
    """Whether the argument at ``path`` is, or lies in, a sensitive one of any registered type."""
    secret = _sensitive_paths()
    return any(_lies_in(inner, other) for inner in _inner_paths(_plain(path)) for other in secret)


def hidden(selection: Some) -> Some:
    """``selection`` for those who may not see sensitive arguments: without the values that it looks for there."""
    secret = {*forbidden_paths(selection), *([ANY] if selection.sensitive else [])}
    return replace(
        selection,
        arguments=tuple((path, MASK if path in secret else value) for path, value in selection.arguments),
        text=tuple(MASK for _ in selection.text) if selection.sensitive else selection.text,
    )


def types_without_secrets() -> list[str]:
    """Names of the types of which no argument is sensitive; of an unknown type nobody can tell.

    An argument that is a job may hold any type's secrets, so a type that has one counts as having secrets.
    """
    some = bool(_sensitive_paths())
    return [
        name
        for job_type in registry.all()
        if not job_type.sensitive_fields and not (some and _of_type_holds_jobs(job_type.name, job_type.version))
        for name in (job_type.name, *job_type.aliases)
    ]


@lru_cache(maxsize=5_000)
def _of_type_holds_jobs(name: str, version: str) -> bool:
    """``version``: of the type's schema. To make it takes a millisecond, of each of a thousand types at each search."""
    return _holds_jobs(registry.get(name).schema())


def _holds_jobs(schema: Any) -> bool:
    """Whether some argument is a job or command, as ``Polymorphic`` stores it."""
    if isinstance(schema, list):
        return any(map(_holds_jobs, schema))
    if not isinstance(schema, dict):
        return False
    properties = schema.get("properties")
    if isinstance(properties, dict) and properties.keys() == {"type", "payload"}:
        return True
    return any(map(_holds_jobs, schema.values()))


def _inner_paths(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """``path``, and what it is inside of each job that may be an argument on its way."""
    return [path, *(path[place + 1 :] for place, name in enumerate(path) if name == "payload")]


def _sensitive_paths() -> set[tuple[str, ...]]:
    return {_plain(path) for job_type in registry.all() for path in getattr(job_type, "sensitive_fields", frozenset())}


def _plain(path: str) -> tuple[str, ...]:
    """The path's names, without places in lists."""
    parts = (part.partition("[")[0] for part in path.split("."))
    return tuple(part for part in parts if part and part != "*" and not part.isdigit())


def _lies_in(path: tuple[str, ...], secret: tuple[str, ...]) -> bool:
    return path[: len(secret)] == secret  # an empty one: all of it is
