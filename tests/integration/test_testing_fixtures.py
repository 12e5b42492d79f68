"""The test tools as pytest finds them: in a run of its own, as in an app's project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"
TESTS = """
import pytest
from datetime import timedelta

from handlers import job_scheduler
from handlers.testing import assert_enqueued, fail_next
from handlers.transport import get_transport
from tests.app.jobs import Fail, Nothing


def test_captured_jobs(captured_jobs):
    job_scheduler.enqueue(Nothing())
    assert captured_jobs.jobs == [Nothing()]
    assert type(get_transport()).__name__ == "Nowhere"


@pytest.mark.django_db
def test_run_due_jobs(run_due_jobs):
    job_scheduler.enqueue(Nothing())
    fail_next(Nothing, ValueError("never made"), times=9)
    assert [run.error for run in run_due_jobs()] == ["ValueError: never made"]


@pytest.mark.django_db
def test_nothing_left(run_due_jobs):
    assert type(get_transport()).__name__ == "Nowhere"
    job_scheduler.enqueue(Fail(1, "a"))
    job_scheduler.enqueue(Nothing(), delay=timedelta(hours=1))
    runs = run_due_jobs(now=timedelta(hours=2))
    assert [run.state for run in runs] == ["scheduled", "succeeded", "succeeded"]


@pytest.mark.django_db(transaction=True)
def test_committed(captured_jobs, run_due_jobs):
    job_scheduler.enqueue(Nothing())
    assert len(run_due_jobs()) == 1
    assert_enqueued(Nothing)


def test_usual_transport():
    assert type(get_transport()).__name__ == "RQTransport"
"""


@pytest.mark.once
def test_fixtures_and_examples_work_in_an_apps_project(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(TESTS)
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    imports = "from django.utils import timezone\nfrom tests.app.jobs import Nothing\n"
    (tmp_path / "test_docs.py").write_text("\n\n".join([imports, *examples]))
    env = os.environ | {"PYTHONPATH": str(Path.cwd()), "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3"}
    plugin = [] if entry_points(group="pytest11", name="jobs") else ["-p", "handlers.testing.fixtures"]
    command = [sys.executable, "-m", "pytest", *plugin, "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    options = [
        "-c",
        "/dev/null",
        "--rootdir",
        str(tmp_path),
        "--ds",
        "tests.settings",
        "-W",
        "error",
        "--no-migrations",
        str(tmp_path),
    ]
    done = subprocess.run([*command, *options], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 passed" in done.stdout


@pytest.mark.once
def test_plugin_is_harmless_where_there_is_no_django(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\ndef test_a():\n    assert 'handlers.models' not in sys.modules\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    env |= {"PYTHONPATH": str(Path.cwd())}
    plugin = [] if entry_points(group="pytest11", name="jobs") else ["-p", "handlers.testing.fixtures"]
    command = [sys.executable, "-m", "pytest", *plugin, "-q", "-p", "no:cacheprovider", "-p", "no:django"]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.once
def test_production_imports_no_test_tools() -> None:
    code = (
        "import django; django.setup(); import sys;"
        "import handlers.management.commands.worker, handlers.management.commands.scheduler, handlers.entry,"
        " jobsite.urls;"
        "assert not [name for name in sys.modules if name.startswith(('handlers.testing', 'handlers.in_process'))]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
