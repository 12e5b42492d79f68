"""What the operators' console brought, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

VIEWER = [f"jobsite_jobs.view_{model}" for model in ("workerprocess", "failuregroup", "bulkoperation", "storedpolicy")]
OPERATOR = [*VIEWER, "jobsite_jobs.stop_workerprocess", "jobsite_jobs.run_bulkoperation"]
ADMINISTRATOR = [*OPERATOR, *(f"jobsite_jobs.{verb}_storedpolicy" for verb in ("add", "change", "delete"))]
NEW = {"Viewer": VIEWER, "Operator": OPERATOR, "Administrator": ADMINISTRATOR}


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0001_roles"), ("jobsite_jobs", "0002_console")]
    operations = [bring(NEW)]
