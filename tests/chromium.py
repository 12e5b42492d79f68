"""The system's Chromium, which the browser tests drive.

The shell is the same engine without windows of its own, and takes half of the time that the whole program would.
"""

from __future__ import annotations

import os
import shutil

from tests import apt

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PACKAGES = ("chromium-headless-shell", "chromium")  # the first that there is


def find() -> str | None:
    """The path of a Chromium on this machine, or None. The variable CHROMIUM names another one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def install() -> str | None:
    """Install Chromium with apt where this user may; its path, or None where that does not work."""
    return find() if any(apt.install(package, "the browser tests") for package in _PACKAGES) else None
