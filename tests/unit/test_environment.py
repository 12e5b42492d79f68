"""What the environment says about the database, whatever stands in the data folder's path."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from jobsite import environment


@pytest.mark.parametrize("name", ["a blank", "a=b", "n#1", "q?x=1", "p%20x", "100%", "plus+&;", "Gerät"])
def test_sqlite_lies_in_the_data_folder_whatever_that_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    config = environment.database(tmp_path / name)
    assert config["NAME"] == str(tmp_path / name / "db.sqlite3")
    assert config["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_database_url_is_unquoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////data/n%231%3F%2520/db.sqlite3")
    assert environment.database(tmp_path)["NAME"] == "/data/n#1?%20/db.sqlite3"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:////data/n#1/db.sqlite3", "DATABASE_URL is not usable: it holds a #; write # as %23"),
        ("sqlite:////data/q?x/db.sqlite3", "DATABASE_URL is not usable: SQLite takes no options"),
        ("postgres://app:s3#cr.t@host/jobs", "DATABASE_URL is not usable: it holds a #; write # as %23"),
        ("postgres://app:s3?cr.t@host/jobs", "DATABASE_URL is not usable"),
        ("postgres://app:s3/cr.t@host/jobs", "DATABASE_URL is not usable"),
    ],
)
def test_a_database_url_that_would_be_cut_short_is_refused_without_repeating_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured) as refused:
        environment.database(tmp_path)
    assert str(refused.value).startswith(says)
    assert "cr.t" not in str(refused.value)
