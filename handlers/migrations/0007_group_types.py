from typing import Any

from django.db import migrations, models

# Failures without a line of app code once shared a group, whatever their types. One that has had a single type until
# now keeps its name, and goes on with that type's failures; what such a group of several types held, it keeps.
TYPES = """
    SELECT job_type FROM jobs_jobcount c WHERE c.fingerprint = jobs_failuregroup.fingerprint AND period = 'day'
    UNION SELECT job_type FROM jobs_jobcountdelta d WHERE d.fingerprint = jobs_failuregroup.fingerprint
"""


def name_types(_: Any, schema_editor: Any) -> None:
    """Write down the type of each group that has no frame, and one type."""
    schema_editor.execute(
        f"UPDATE jobs_failuregroup SET job_type = (SELECT MIN(job_type) FROM ({TYPES}) AS types)"  # noqa: S608
        f" WHERE frame = '' AND 1 = (SELECT COUNT(*) FROM ({TYPES}) AS types)"
    )


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0006_failure_group_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="job_type",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.RunPython(name_types, migrations.RunPython.noop),
    ]
