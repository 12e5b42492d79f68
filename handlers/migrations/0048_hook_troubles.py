from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobsite_jobs", "0047_more_room_for_outcomes")]

    operations = [
        migrations.CreateModel(
            name="HookTrouble",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("process", models.CharField(blank=True, default="", max_length=100)),
                ("name", models.CharField(max_length=200)),
                ("hook", models.CharField(max_length=10)),
                ("count", models.BigIntegerField(default=0)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("told_by", models.CharField(max_length=150)),
                ("went", models.CharField(max_length=10)),
                ("detail", models.CharField(blank=True, default="", max_length=500)),
            ],
            options={
                "db_table": "jobs_hooktrouble",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("process", "name", "hook"), name="jobs_hooktrouble_one"),
                ],
            },
        ),
    ]
