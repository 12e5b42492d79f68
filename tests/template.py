"""Databases with all tables, made once for a run of the suite, whose parts copy them: migrating takes seconds.

A run makes them anew, so they are never older than the code. A pytest of its own migrates as ever.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests import servers
from tests.processes import ROOT

NAMED = "TESTS_TEMPLATE"  # the environment's name for the folder
POSTGRESQL, SQLITE = "postgresql", "sqlite"  # in it: a server's data, and the data folder of the settings


def make(folder: Path, env: Mapping[str, str]) -> None:
    """Make those of both databases in ``folder``. CalledProcessError, after what migrating said."""
    (folder / SQLITE).mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_migrate, {**env, "JOBSITE_DATA": str(folder / SQLITE)})
        with servers.postgresql(folder=folder / POSTGRESQL) as url:
            _migrate({**env, "DATABASE_URL": url})
        beside.result()


def take(connection: Any, folder: Path) -> None:
    """Have the test database of ``connection`` not made, but copied from what ``make`` made in ``folder``."""

    def copy(**_: object) -> str:
        name = str(connection.creation._get_test_db_name())
        if connection.vendor == "sqlite":
            shutil.copyfile(folder / SQLITE / Path(name).name, name)
        # Else the whole server is a copy, see ``servers.postgresql``.
        connection.close()
        connection.settings_dict["NAME"] = name
        connection.ensure_connection()
        return name

    connection.creation.create_test_db = copy


def _migrate(env: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "tests.template"], cwd=ROOT, env=env, check=True)


def _main() -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    connection.close()


if __name__ == "__main__":
    _main()
