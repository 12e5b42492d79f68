"""Whether the site's own code has changed on disk, by which a run starts again what has read it."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from django.apps import apps

INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))


class SourceWatch:
    """The Python files of the site's own apps, and when each was changed. Installed packages stay as they are."""

    def __init__(self) -> None:
        folders = {Path(config.path).resolve() for config in apps.get_app_configs()}
        prefix = Path(sys.prefix).resolve()
        self.folders = [each for each in folders if not _is_installed(each, (*INSTALLED, prefix))]
        self._seen = self._look()

    def changed(self) -> list[str]:
        """The files that were changed, made or removed since this was asked before."""
        seen, self._seen = self._seen, self._look()
        return sorted(str(path) for path, _ in set(seen.items()) ^ set(self._seen.items()))

    def _look(self) -> dict[Path, int]:
        found = {}
        for folder in self.folders:
            for path in folder.rglob("*.py"):
                try:
                    found[path] = path.stat().st_mtime_ns
                except OSError:  # removed meanwhile
                    continue
        return found


def _is_installed(folder: Path, roots: tuple[Path, ...]) -> bool:
    return any(folder.is_relative_to(root) for root in roots)
