"""Programs that tests use and no wheel carries, installed with apt where this user may."""

from __future__ import annotations

import os
import shutil
import subprocess


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
