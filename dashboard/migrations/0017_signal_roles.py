"""The permission to answer jobs that wait, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

NEW = {role: ["jobsite_jobs.signal_jobrecord"] for role in ("Operator", "Administrator")}


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [("jobsite_dashboard", "0016_saga_roles"), ("jobsite_jobs", "0046_waiting")]
    operations = [bring(NEW)]
