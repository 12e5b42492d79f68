from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_dashboard", "0013_job_columns"),
    ]

    operations = [
        migrations.CreateModel(
            name="Preferences",
            fields=[
                ("person", models.CharField(max_length=150, primary_key=True, serialize=False)),
                ("single_keys", models.BooleanField(default=True)),
            ],
            options={
                "db_table": "jobs_preferences",
                "default_permissions": (),
            },
        ),
    ]
