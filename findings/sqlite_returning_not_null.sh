#!/usr/bin/env bash
# RETURNING says of a NULL that it IS NOT NULL, when the primary key is declared NOT NULL: SQLite 3.39.4 and 3.40.1
#
# On a table with "id" integer NOT NULL PRIMARY KEY, which is how Django declares every one, INSERT, UPDATE and DELETE
# return 1 for `column IS NOT NULL`, and 0 for `column IS NULL`, whatever another column holds; the column itself comes
# back as NULL in the same row. SELECT is right, and so is all of it without that NOT NULL. SQLite 3.40.1 is Debian 12's,
# with which its Python works; 3.41.0 is the first that is right.
#
# Seen: SQLite version, the key's declaration, then (column IS NOT NULL, column IS NULL, column) of a NULL from INSERT,
# UPDATE, DELETE and SELECT
#     3.40.1 integer NOT NULL PRIMARY KEY: (1, 0, None) (1, 0, None) (1, 0, None) (0, 1, None)
#     3.40.1 integer PRIMARY KEY: (0, 1, None) (0, 1, None) (0, 1, None) (0, 1, None)
#     3.41.0 integer NOT NULL PRIMARY KEY: (0, 1, None) (0, 1, None) (0, 1, None) (0, 1, None)
#
# Here a column is returned as it is, and looked at in Python: handlers/workflows/rows.py,
# tests/integration/test_workflows.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/ask.py" <<'PY'
import apsw

NULL = "done IS NOT NULL, done IS NULL, done"


def answers(key):
    cursor = apsw.Connection(":memory:").cursor()
    cursor.execute(f"CREATE TABLE job (id {key}, state text, done datetime NULL)")
    yield from cursor.execute(f"INSERT INTO job (state) VALUES ('new') RETURNING {NULL}")
    yield from cursor.execute(f"UPDATE job SET state = 'old' RETURNING {NULL}")
    selected = list(cursor.execute(f"SELECT {NULL} FROM job"))
    yield from cursor.execute(f"DELETE FROM job RETURNING {NULL}")
    yield from selected


version = apsw.sqlitelibversion() if hasattr(apsw, "sqlitelibversion") else apsw.sqlite_lib_version()
right, wrong = (0, 1, None), (1, 0, None)
for key in ("integer NOT NULL PRIMARY KEY", "integer PRIMARY KEY"):
    found = list(answers(key))
    print(f"{version} {key}: {' '.join(map(str, found))}")
    is_wrong = version == "3.40.1" and "NOT NULL" in key
    assert found == ([wrong] * 3 if is_wrong else [right] * 3) + [right], "it behaves differently now"
PY
for version in 3.40.1.0 3.41.0.0; do
  "${PYTHON:-python3}" -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --disable-pip-version-check "apsw==$version"
  "$work/$version/bin/python" "$work/ask.py"
done
