#!/usr/bin/env bash
# Ids of deleted rows are given again after a migration: Django 5.2.19 on SQLite
#
# Django declares each automatic key with AUTOINCREMENT, for which SQLite keeps the highest id that a table ever had, so
# that none is used twice. Most changes of a table make a new one, copy the rows and give it the old name. The new table
# knows only of the ids that were copied: those of rows deleted from the end before are free again, and if all rows were
# deleted it begins at 1. What was kept elsewhere by id (a log, a cache, a generic relation, a message on a queue) now
# means another row. Adding a field with a default does it, and so do a longer field and a constraint;
# adding a field that may be null, or an index, does not. PostgreSQL goes on from where its sequence was.
#
# Seen, of five rows of which the last three were deleted, the id of the next row:
#     no migration: 6
#     AddIndex: 6
#     AddField, null: 6
#     AddField, with a default: 3
#     AlterField, longer: 3
#     AddConstraint: 3
#     AlterField, when all rows were deleted: 1
#
# Here the highest id is kept over each migrate: handlers/given_ids.py, tests/integration/test_given_ids.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check Django==5.2.19
"$work/venv/bin/python" -W ignore - <<'PY'
import django
from django.conf import settings

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState

CREATE = migrations.CreateModel(
    "Job",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("kind", models.CharField(max_length=10)),
    ],
)
STEPS = {
    "no migration": None,
    "AddIndex": migrations.AddIndex("Job", models.Index(fields=["kind"], name="by_kind")),
    "AddField, null": migrations.AddField("Job", "at", models.DateTimeField(null=True)),
    "AddField, with a default": migrations.AddField("Job", "weight", models.IntegerField(default=1)),
    "AlterField, longer": migrations.AlterField("Job", "kind", models.CharField(max_length=20)),
    "AddConstraint": migrations.AddConstraint(
        "Job", models.CheckConstraint(condition=~models.Q(kind=""), name="has_kind")
    ),
}


def migrate(state, operation):
    after = state.clone()
    operation.state_forwards("app", after)
    with connection.schema_editor() as editor:
        operation.database_forwards("app", editor, state, after)
    return after


def next_id(operation, kept=2):
    state = migrate(ProjectState(), CREATE)
    jobs = state.apps.get_model("app", "Job").objects
    jobs.bulk_create(jobs.model(kind="mail") for _ in range(5))
    jobs.filter(pk__gt=kept).delete()
    if operation:
        state = migrate(state, operation)
    found = state.apps.get_model("app", "Job").objects.create(kind="mail").pk
    migrate(state, migrations.DeleteModel("Job"))
    return found


found = {name: next_id(operation) for name, operation in STEPS.items()}
found["AlterField, when all rows were deleted"] = next_id(STEPS["AlterField, longer"], kept=0)
for name, pk in found.items():
    print(f"{name}: {pk}")
assert list(found.values()) == [6, 6, 6, 3, 3, 3, 1], "it behaves differently now"
PY
