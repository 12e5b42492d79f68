"""The permissions of workflows, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

VIEWER = ["jobsite_jobs.view_workflow"]
OPERATOR = [*VIEWER, "jobsite_jobs.change_workflow"]
NEW = {"Viewer": VIEWER, "Operator": OPERATOR, "Administrator": OPERATOR}


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0004_recurring_roles"), ("jobsite_jobs", "0024_workflows")]
    operations = [bring(NEW)]
