"""A database of its own for each generated project, on the server that the suite runs on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tests.conftest import database_url
from tests.sites.project import Project

Make = Callable[..., Project]


@contextmanager
def _database(folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if connection.vendor != "postgresql":
        yield f"sqlite:///{folder / 'site.sqlite3'}"
        return
    import psycopg

    config = {**settings.DATABASES["default"]}
    name = f"site_{secrets.token_hex(4)}"
    with psycopg.connect(database_url(config), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield database_url(config | {"NAME": name})
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Makes a Project with a database of its own; its arguments are the class's."""
    with ExitStack() as open_:

        def made(**options: object) -> Project:
            folder = tmp_path_factory.mktemp("site")
            return Project(folder, open_.enter_context(_database(folder)), **options)  # type: ignore[arg-type]

        yield made
