import django.db.models.deletion
from django.db import migrations, models

import handlers.models.job


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0019_unique_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="JobResult",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="kept_result",
                        serialize=False,
                        to="jobsite_jobs.jobrecord",
                    ),
                ),
                ("attempt", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
                ("data", models.JSONField(encoder=handlers.models.job.AsItIs)),
            ],
            options={
                "db_table": "jobs_jobresult",
                "default_permissions": (),
            },
        ),
    ]
