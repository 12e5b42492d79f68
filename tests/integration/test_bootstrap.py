"""What ``make`` does first: an environment from nothing, and one line for whatever stands in the way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from jobsite import bootstrap

pytestmark = pytest.mark.once
SOURCE = Path(settings.BASE_DIR) / "jobsite" / "bootstrap.py"


def test_bootstrap_can_be_read_by_an_old_python() -> None:
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in ast.walk(tree))


def test_bootstrap_refuses_an_old_python_and_names_one_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "runs", {"python3.12": True}.get)
    with pytest.raises(bootstrap.CannotStart) as refusal:
        bootstrap.check_python((3, 9, 2), "test")
    assert str(refusal.value) == "Python 3.11 or newer is needed, this is 3.9.2: run 'make test PYTHON=python3.12'."


def test_bootstrap_refuses_an_old_python_where_there_is_no_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "runs", {}.get)
    with pytest.raises(bootstrap.CannotStart, match=r"this is 3\.6\.15: install one, then run 'make run PYTHON="):
        bootstrap.check_python((3, 6, 15))


@pytest.mark.parametrize(
    ("system", "libc", "said"), [("Windows", "", "inside WSL"), ("Linux", "x86_64-pc-linux-musl", "uses musl")]
)
def test_bootstrap_refuses_a_platform_without_wheels(system: str, libc: str, said: str) -> None:
    with pytest.raises(bootstrap.CannotStart, match=said):
        bootstrap.check_platform(system, libc)


def test_bootstrap_says_what_to_install_when_venv_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(bootstrap.CannotStart, match=r"apt install python3\.\d+-venv\), then run 'make run' again"):
        bootstrap.check_venv_module()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that needs nothing, so that installing is quick and asks no registry."""
    (tmp_path / "jobsite").mkdir()
    (tmp_path / "jobsite" / "bootstrap.py").write_bytes(SOURCE.read_bytes())
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "requirements-tests.txt").touch()
    (tmp_path / "requirements-dev.txt").touch()
    return tmp_path


def start(project: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "jobsite/bootstrap.py", "dev"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_bootstrap_makes_an_environment_once_for_two_at_a_time_and_mends_a_broken_one(project: Path) -> None:
    both = [start(project), start(project)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("Making a virtual environment") == 1
    assert bootstrap.is_ready(str(project), "run")

    again = start(project)
    assert again.communicate(timeout=120)[0] == ""  # quick: nothing to do

    # An install that was interrupted has no stamp, and here not even pip.
    Path(bootstrap.stamp(str(project), "dev")).unlink()
    for pip in project.glob(".venv/lib/*/site-packages/pip/__init__.py"):
        pip.unlink()
    mended = start(project)
    assert "Making a virtual environment" in mended.communicate(timeout=120)[0]
    assert mended.returncode == 0

    (project / "requirements.txt").write_text("no-such-file.whl\n")
    assert not bootstrap.is_ready(str(project), "run")


def test_bootstrap_says_in_one_line_why_an_install_failed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing = [sys.executable, "-c", "print('warning'); print('ERROR: no space left'); raise SystemExit(1)"]
    with (project / "log").open("w+") as log, pytest.raises(bootstrap.CannotStart) as refusal:
        bootstrap.run_step(str(project), failing, log, "run")
    assert str(refusal.value).startswith("setting up .venv failed: ERROR: no space left (all of it:")
    assert (project / "log").read_text().startswith("warning")


def test_make_needs_nothing_but_python_and_make() -> None:
    # As from a shell: `make test` hands its own variables and level down to a make that it starts.
    env = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON")
    }
    shown = subprocess.run(
        ["make", "--dry-run", "run"], cwd=settings.BASE_DIR, env=env, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "exec python3 jobsite/bootstrap.py run"
