from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0022_watched_jobs"),
    ]

    operations = [
        migrations.AddField(
            model_name="jobrecord",
            name="priority",
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
    ]
