"""The permissions of alerts, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

VIEWER = ["jobsite_jobs.view_alertrule"]
OPERATOR = [*VIEWER, "jobsite_jobs.mute_alertrule"]
NEW = {
    "Viewer": VIEWER,
    "Operator": OPERATOR,
    "Administrator": [*OPERATOR, *(f"jobsite_jobs.{verb}_alertrule" for verb in ("add", "change", "delete"))],
}


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0008_failure_group_roles"), ("jobsite_jobs", "0040_alerts")]
    operations = [bring(NEW)]
