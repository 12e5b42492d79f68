from django.db import migrations, models

import handlers.models.job


class Migration(migrations.Migration):
    dependencies = [("jobsite_jobs", "0048_hook_troubles")]

    operations = [
        migrations.AddField(
            model_name="recurringjob",
            name="context",
            field=models.JSONField(encoder=handlers.models.job.AsItIs, null=True),
        ),
    ]
