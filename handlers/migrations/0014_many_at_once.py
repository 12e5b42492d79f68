from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0013_moving_jobs"),
    ]

    operations = [
        *(
            migrations.AddField(model_name="workerprocess", name=name, field=models.PositiveIntegerField(null=True))
            for name in ("running_async", "max_async", "running_sync", "threads")
        ),
        migrations.AddField(model_name="workerprocess", name="runs", field=models.JSONField(null=True)),
    ]
