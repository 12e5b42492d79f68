"""The package, built once, and empty environments that it is installed into."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import pythons, servers
from tests.matrix import AGES, NEWEST, OLDEST
from tests.processes import ROOT

# What each environment has of the package: the oldest only what a first site needs, the newest all of it.
EXTRAS = {
    OLDEST: ("embedded", "postgresql"),
    NEWEST: ("api", "embedded", "mcp", "metrics", "otel", "postgresql", "uvloop"),
}
UV = (sys.executable, "-m", "uv")  # as pip does it, in seconds in place of a minute
Install = Callable[[str, str, str], Path]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, made from the checkout, and the wheel, made from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    """The wheel."""
    return next(built.glob("*.whl"))


@pytest.fixture(scope="session")
def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Makes the environment of a Python version, a Django and how old the rest is, once each; its folder of programs.

    Skips the test where the machine has no such Python.
    """
    made: dict[tuple[str, str, str], Path] = {}

    def installed(version: str, django: str, age: str) -> Path:
        if (version, django, age) not in made:
            python = pythons.find(version) or pytest.skip(f"no Python {version}")
            folder = tmp_path_factory.mktemp("env")
            call(*UV, "venv", "--quiet", "--clear", "--python", python, str(folder))
            wanted = [f"jobsite[{','.join(EXTRAS[age])}] @ {wheel.as_uri()}", f"django~={django}.0"]
            if age == OLDEST:  # of our own ranges, which uv takes for direct ones only where it reads them itself
                wanted += ["-r", str(ROOT / "pyproject.toml"), *(f"--extra={extra}" for extra in EXTRAS[age])]
            options = ("--python", str(folder / "bin" / "python"), "--resolution", AGES[age])
            call(*UV, "pip", "install", "--quiet", *options, *wanted)
            made[version, django, age] = folder / "bin"
        return made[version, django, age]

    return installed


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    with servers.postgresql() as url:
        yield url


def call(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What ``command`` says. AssertionError, with all of it, when it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, timeout=300, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
