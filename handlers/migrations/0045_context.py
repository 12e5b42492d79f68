from django.db import migrations, models

import handlers.models.job


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0043_sagas"),
    ]

    operations = [
        migrations.AddField(
            model_name="jobpayload",
            name="context",
            field=models.JSONField(encoder=handlers.models.job.AsItIs, null=True),
        ),
    ]
