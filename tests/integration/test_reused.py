"""That no test sees what another one did on the connection which is left to it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from handlers.models.sql import prepared
from tests.reused import reused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


def ask(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def prepare() -> int:
    """Run a statement so often that it is prepared; how many are."""
    for _ in range(2):
        with prepared(connection) as cursor:
            cursor.execute("SELECT 1")
    return int(ask("SELECT count(*) FROM pg_prepared_statements"))


def test_what_is_left_is_as_new() -> None:
    with reused() as leave:
        first = ask("SELECT pg_backend_pid()")
        assert prepare() == 1
        usual = ask("SHOW statement_timeout")
        ask("SELECT set_config('statement_timeout', '12345', FALSE)")
        leave()
        assert ask("SELECT pg_backend_pid()") == first
        assert ask("SHOW statement_timeout") == usual
        assert ask("SELECT count(*) FROM pg_prepared_statements") == 0
        assert prepare() == 1


@pytest.mark.parametrize("how", ["closed", "in a transaction", "broken", "made otherwise"])
def test_what_is_no_more_what_it_was_is_not_left(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with reused() as leave:
        first = ask("SELECT pg_backend_pid()")
        if how == "in a transaction":
            connection.set_autocommit(False)
            ask("SELECT 1")
        elif how == "broken":
            other = connection.copy()
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [first])
            other.close()
        leave()
        if how == "closed":
            connection.close()
        elif how == "made otherwise":
            monkeypatch.setitem(connection.settings_dict["OPTIONS"], "application_name", "another")
        assert ask("SELECT pg_backend_pid()") != first
