"""Names of a package that need models: looked up when first used, because Django has to load its apps before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, where: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of ``package``, whose names are in the modules that ``where`` says."""
    names = sys.modules[package].__dict__

    def find(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        names[name] = value = getattr(import_module(where[name]), name)
        return value

    def listed() -> list[str]:
        return sorted({*names, *names["__all__"]})

    return find, listed
