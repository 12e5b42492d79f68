"""A database of its own for each generated project, on the server that the suite runs on."""

from __future__ import annotations

import secrets
import shutil
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
def _database(folder: Path, copy_of: str = "") -> Iterator[str]:
    """The URL of a database: an empty one, or a copy of that at the URL ``copy_of``, which nobody is connected to."""
    if connection.vendor != "postgresql":
        path = folder / "site.sqlite3"
        if copy_of:
            shutil.copyfile(copy_of.removeprefix("sqlite:///"), path)
        yield f"sqlite:///{path}"
        return
    import psycopg

    config = {**settings.DATABASES["default"]}
    name = f"site_{secrets.token_hex(4)}"
    with psycopg.connect(database_url(config), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {copy_of.rpartition('/')[2] or 'template1'}")
        try:
            yield database_url(config | {"NAME": name})
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def with_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database that the usual project has migrated, which takes seconds: once for all."""
    folder = tmp_path_factory.mktemp("tables")
    with _database(folder) as url:
        Project(folder, url).manage("migrate", "--verbosity", "0")
        yield url


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a Project with a database of its own; its arguments are the class's.

    ``migrated``: the database has the tables of the usual project, with its user model. Else it is empty.
    """
    with ExitStack() as open_:

        def made(*, migrated: bool = False, **options: object) -> Project:
            folder = tmp_path_factory.mktemp("site")
            copy_of = request.getfixturevalue("with_tables") if migrated else ""
            return Project(folder, open_.enter_context(_database(folder, copy_of)), **options)  # type: ignore[arg-type]

        yield made
