from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0012_turns"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="jobrecord",
            options={
                "default_permissions": ("view",),
                "permissions": [
                    ("enqueue_jobrecord", "Can enqueue jobs"),
                    ("retry_jobrecord", "Can retry failed and scheduled jobs"),
                    ("requeue_jobrecord", "Can run succeeded jobs again"),
                    ("move_jobrecord", "Can move jobs to another queue"),
                    ("delete_jobrecord", "Can delete and restore jobs"),
                    ("view_sensitive", "Can see sensitive arguments"),
                ],
                "verbose_name": "job",
            },
        ),
        migrations.AddField(
            model_name="bulkoperation",
            name="queue",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
    ]
