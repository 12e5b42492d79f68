"""Which arguments may be searched only by those who may see sensitive ones."""

from __future__ import annotations

from handlers.registry import registry
from handlers.selection.selection import Selection


def forbidden_paths(selection: Selection) -> list[str]:
    """The paths of ``selection`` that are, or lie in, a sensitive argument of any registered type."""
    secret = _sensitive_paths()
    return [path for path, _ in selection.arguments if any(_lies_in(_plain(path), other) for other in secret)]


def _sensitive_paths() -> set[tuple[str, ...]]:
    return {_plain(path) for job_type in registry.all() for path in getattr(job_type, "sensitive_fields", frozenset())}


def _plain(path: str) -> tuple[str, ...]:
    """The path's names, without places in lists."""
    parts = (part.partition("[")[0] for part in path.split("."))
    return tuple(part for part in parts if part and part != "*" and not part.isdigit())


def _lies_in(path: tuple[str, ...], secret: tuple[str, ...]) -> bool:
    return path[: len(secret)] == secret  # an empty one: all of it is
