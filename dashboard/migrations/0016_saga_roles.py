"""The permissions of sagas, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

VIEWER = ["jobsite_jobs.view_sagarecord"]
OPERATOR = [*VIEWER, "jobsite_jobs.change_sagarecord"]
NEW = {"Viewer": VIEWER, "Operator": OPERATOR, "Administrator": OPERATOR}


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [("jobsite_dashboard", "0015_role_limits"), ("jobsite_jobs", "0043_sagas")]
    operations = [bring(NEW)]
