import json
from typing import Any

from django.db import migrations, models

import handlers.models.job

CHUNK = 1_000


def unescape(_: Any, schema_editor: Any) -> None:
    """SQLite keeps JSON as text: what was edited has \\u escapes, by which no search finds it."""
    connection = schema_editor.connection
    if connection.vendor != "sqlite":
        return
    last = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT job_id, data FROM jobs_jobpayload WHERE job_id > %s AND instr(data, %s) > 0"
                " ORDER BY job_id LIMIT %s",
                [last, "\\u", CHUNK],
            )
            rows = cursor.fetchall()
            if not rows:
                return
            last = rows[-1][0]
            plain = [(_plain(data), job_id) for job_id, data in rows]
            cursor.executemany("UPDATE jobs_jobpayload SET data = %s WHERE job_id = %s", plain)


def _plain(data: str) -> str:
    text = json.dumps(json.loads(data), ensure_ascii=False)
    # A half of a pair of surrogates can only be written as an escape.
    return data if any("\ud800" <= char <= "\udfff" for char in text) else text


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0008_scheduler_troubles"),
    ]

    operations = [
        # The column stays as it is.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="jobpayload",
                    name="data",
                    field=models.JSONField(encoder=handlers.models.job.AsItIs),
                ),
            ],
        ),
        migrations.RunPython(unescape, migrations.RunPython.noop),
    ]
