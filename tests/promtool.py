"""The system's promtool, which says whether Prometheus would read our rules."""

from __future__ import annotations

import shutil

from tests import apt


def find() -> str | None:
    """The path of a promtool on this machine, or None."""
    return shutil.which("promtool")


def install() -> str | None:
    """Install promtool with apt where this user may; its path, or None where that does not work."""
    return find() if apt.install("prometheus", "the tests of alert rules") else None
