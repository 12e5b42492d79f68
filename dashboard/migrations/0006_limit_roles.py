"""The permissions of limits, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

VIEWER = ["jobsite_jobs.view_limitoverride"]
NEW = {"Viewer": VIEWER, "Operator": VIEWER, "Administrator": [*VIEWER, "jobsite_jobs.change_limitoverride"]}


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0005_workflow_roles"), ("jobsite_jobs", "0025_limits")]
    operations = [bring(NEW)]
