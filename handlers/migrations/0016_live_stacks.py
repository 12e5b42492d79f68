from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0015_blocking_calls"),
    ]

    operations = [
        migrations.CreateModel(
            name="LiveStack",
            fields=[
                ("job_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("token", models.CharField(max_length=16)),
                ("worker", models.CharField(max_length=100)),
                ("asked_at", models.DateTimeField(db_index=True)),
                ("taken_at", models.DateTimeField(null=True)),
                ("text", models.TextField(blank=True, default="")),
            ],
            options={
                "db_table": "jobs_livestack",
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("taken_at__isnull", True)), fields=["worker"], name="jobs_stacks_wanted"
                    )
                ],
            },
        ),
    ]
