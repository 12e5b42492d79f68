"""The permission to move jobs to another queue, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

MOVE = ["jobsite_jobs.move_jobrecord"]
NEW = {"Operator": MOVE, "Administrator": MOVE}


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0002_console_roles"), ("jobsite_jobs", "0013_moving_jobs")]
    operations = [bring(NEW)]
