"""Apps that stand for two releases of one site, of which a deploy has both at work for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, reload
from typing import Any

from handlers.registry import registry


@contextmanager
def release(name: str) -> Iterator[Any]:
    """This process has the code of that release; its job types."""
    with registry.isolated():
        module = import_module(f"tests.releases.{name}.jobs")
        if "shop.Parcel" not in registry.versions():  # imported before, and forgotten since
            module = reload(module)
        yield module
