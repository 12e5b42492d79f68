"""The permission to say what becomes of failure groups, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

CHANGE = ["jobsite_jobs.change_failuregroup"]
NEW = {"Operator": CHANGE, "Administrator": CHANGE}


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0007_client_roles"), ("jobsite_jobs", "0039_group_lives")]
    operations = [bring(NEW)]
