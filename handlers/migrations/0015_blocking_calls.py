from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0014_many_at_once"),
    ]

    operations = [
        migrations.CreateModel(
            name="BlockingCall",
            fields=[
                ("job_type", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("job_id", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("seconds", models.FloatField()),
                ("others", models.PositiveIntegerField()),
                ("stack", models.TextField()),
                ("worker", models.CharField(max_length=100)),
            ],
            options={
                "db_table": "jobs_blockingcall",
                "default_permissions": (),
            },
        ),
    ]
