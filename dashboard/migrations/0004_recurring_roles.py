"""The permissions of recurring jobs, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

VIEWER = ["jobsite_jobs.view_recurringjob"]
OPERATOR = [*VIEWER, "jobsite_jobs.trigger_recurringjob", "jobsite_jobs.pause_recurringjob"]
ADMINISTRATOR = [*OPERATOR, *(f"jobsite_jobs.{verb}_recurringjob" for verb in ("add", "change", "delete"))]
NEW = {"Viewer": VIEWER, "Operator": OPERATOR, "Administrator": ADMINISTRATOR}


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0003_moving_roles"), ("jobsite_jobs", "0017_recurring_jobs")]
    operations = [bring(NEW)]
