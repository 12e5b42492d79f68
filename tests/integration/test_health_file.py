"""The file by which a process shows that it lives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from handlers import patience
from handlers.rq_transport.health_file import READY, HealthFile

pytestmark = [pytest.mark.once, pytest.mark.django_db]


def test_file_tells_the_state_and_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "health"
    file = HealthFile(str(path))
    assert path.read_text() == "starting\n"
    file.beat("waiting for the database")
    assert path.read_text() == "waiting for the database\n"
    file.beat(READY)
    os.utime(path, (0, 0))
    file.beat(READY)  # not a second later
    assert path.stat().st_mtime == 0
    monkeypatch.setattr("handlers.rq_transport.health_file.BEAT_SECONDS", 0.0)
    file.beat(READY)
    assert path.stat().st_mtime > 0
    assert [each.name for each in tmp_path.iterdir()] == ["health"]
    file.remove()
    assert not path.exists()


def test_file_that_somebody_removed_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.rq_transport.health_file.BEAT_SECONDS", 0.0)
    path = tmp_path / "health"
    file = HealthFile(str(path))
    file.beat(READY)
    path.unlink()
    file.beat(READY)
    assert path.read_text() == "ready\n"


def test_file_that_cannot_be_written_stops_nobody_who_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    file = HealthFile(str(folder / "health"))
    (folder / "health").unlink()
    folder.rmdir()
    for state in ("a", "b", "c"):
        file.beat(state)
    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_file_that_cannot_be_written_is_told_at_the_start(command: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--health-file: cannot be written"):
        call_command(command, "--health-file", str(tmp_path / "nowhere" / "health"))
    assert patience.limit(None) is None, "and nothing else has begun"
