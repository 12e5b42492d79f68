from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0017_recurring_jobs"),
    ]

    operations = [
        migrations.AddField(
            model_name="jobpayload",
            name="expires_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="jobpayload",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False)), fields=["expires_at", "job"], name="jobs_expiring"
            ),
        ),
    ]
