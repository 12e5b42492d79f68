from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0009_arguments_as_they_are"),
    ]

    operations = [
        migrations.CreateModel(
            name="Act",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_index=True)),
                ("answer", models.CharField(default="", max_length=200)),
            ],
            options={
                "db_table": "jobs_act",
                "default_permissions": (),
            },
        ),
    ]
