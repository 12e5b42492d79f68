"""Programs that tests use and no wheel carries, installed with apt where this user may."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def install(package: str, why: str) -> bool:
    """Install the Debian ``package``; whether that worked."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print(f"Installing {package} for {why} ...", flush=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return all(
        subprocess.run(["apt-get", "-qq", *command], env=env, stdout=subprocess.DEVNULL, check=False).returncode == 0
        for command in (["update"], ["-y", "install", "--no-install-recommends", package])
    )


def unpack(packages: Sequence[str], folder: Path) -> bool:
    """Unpack Debian ``packages`` into ``folder``, installing nothing; whether that worked."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return False
    if os.geteuid() == 0:  # what it knows may be old, or nothing
        subprocess.run(["apt-get", "-qq", "update"], stdout=subprocess.DEVNULL, check=False)
    found = subprocess.run(
        ["apt-get", "-qq", "download", *packages], cwd=folder, stderr=subprocess.DEVNULL, check=False
    )
    for path in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(path), str(folder)], check=True)
    return found.returncode == 0
