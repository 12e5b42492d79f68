"""The Pythons of this machine: those on PATH and those that pyenv has."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


@cache
def find(version: str) -> str | None:
    """The interpreter of ``version``, such as "3.12"; None where there is none."""
    folder = Path.home() / ".pyenv" / "versions"
    kept = (path / "bin" / "python" for path in sorted(folder.glob(f"{version}.*"), reverse=True))
    for program in (shutil.which(f"python{version}"), *map(str, kept)):
        if program and (path := _told(program, version)):
            return path
    return None


def found() -> dict[str, str]:
    """Version -> interpreter, the oldest first."""
    return {version: path for version in VERSIONS if (path := find(version))}


def _told(program: str, version: str) -> str | None:
    """The path of the interpreter behind ``program``, which may be the stand-in of a version manager."""
    script = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    done = subprocess.run([program, "-c", script], capture_output=True, text=True, check=False)
    said, _, path = done.stdout.strip().partition(" ")
    return path if done.returncode == 0 and said == version else None
