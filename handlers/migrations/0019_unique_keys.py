from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0018_expiring_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="UniqueKey",
            fields=[
                ("key", models.UUIDField(primary_key=True, serialize=False)),
                ("job_id", models.BigIntegerField(db_index=True)),
                ("until", models.CharField(max_length=7)),
                ("held_until", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "jobs_uniquekey",
                "default_permissions": (),
            },
        ),
    ]
