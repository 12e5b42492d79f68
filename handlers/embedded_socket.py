"""Where the embedded Redis or Valkey of a data folder listens.

The path follows from the folder alone, so every process finds the server without asking anyone.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import quote

MAX_SOCKET_PATH = 100  # bytes; the system's limit is 104 on macOS and 108 on Linux, the last one a NUL


def socket_path(folder: Path) -> Path:
    """Where the server with its data in ``folder`` listens: inside it, or under /tmp when that path is too long."""
    path = folder.absolute() / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    # Not tempfile.gettempdir(): TMPDIR may differ between the processes that must agree on this path.
    return Path("/tmp") / f"jobsite-{os.getuid()}-{digest}" / "valkey.sock"  # noqa: S108


def find_url(folder: Path) -> str:
    """The URL of the server that keeps its data in ``folder``, whether or not it runs at the moment."""
    return f"unix://{quote(str(socket_path(folder)))}"
