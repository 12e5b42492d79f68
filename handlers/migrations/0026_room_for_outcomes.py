"""PostgreSQL leaves room on each page of what is updated once a row: then no index is touched."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLES = ("jobs_workflownode", "jobs_gateparent")


def leave_room(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05)")


class Migration(migrations.Migration):
    dependencies = [("jobsite_jobs", "0025_limits")]

    operations = [
        migrations.RunPython(leave_room, migrations.RunPython.noop),
    ]
