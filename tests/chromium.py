"""The system's Chromium, which the browser tests drive."""

from __future__ import annotations

import os
import shutil

from tests import apt

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PACKAGE = "chromium"


def find() -> str | None:
    """The path of a Chromium on this machine, or None. The variable CHROMIUM names another one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def install() -> str | None:
    """Install Chromium with apt where this user may; its path, or None where that does not work."""
    return find() if apt.install(_PACKAGE, "the browser tests") else None
