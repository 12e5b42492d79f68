from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Every job's row is written several times. As PostgreSQL comes, it would clean a table of ten million once two million
# rows are dead or new; until then each count by an index has to look at the rows too, which takes twice as long.
SETTINGS = {
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_vacuum_insert_scale_factor": 0.02,
    "autovacuum_analyze_scale_factor": 0.02,
}


def _tune(_: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        values = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
        schema_editor.execute(f"ALTER TABLE jobs_jobrecord SET ({values})")


def _reset(_: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE jobs_jobrecord RESET ({', '.join(SETTINGS)})")


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0004_console_indexes"),
    ]

    operations = [
        migrations.RunPython(_tune, _reset),
        migrations.AddIndex(
            model_name="jobcount",
            index=models.Index(
                condition=models.Q(("fingerprint", ""), ("period", "hour"), models.Q(("job_type", ""), _negated=True)),
                fields=["outcome", "at"],
                name="jobs_count_hours",
            ),
        ),
    ]
