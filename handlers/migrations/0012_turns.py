from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0011_stranded_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="Turn",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("token", models.CharField(max_length=32)),
                ("holder", models.CharField(max_length=150)),
                ("until", models.DateTimeField()),
            ],
            options={
                "db_table": "jobs_turn",
                "default_permissions": (),
            },
        ),
    ]
