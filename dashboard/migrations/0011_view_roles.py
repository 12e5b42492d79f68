"""The permissions of saved views, for the ready-made roles that exist already."""

from django.db import migrations

from dashboard.roles import bring

SHARE = "jobsite_dashboard.share_savedview"
NEW = {"Operator": [SHARE], "Administrator": [SHARE, "jobsite_dashboard.delete_savedview"]}


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [("jobsite_dashboard", "0010_saved_views")]
    operations = [bring(NEW, "jobsite_dashboard")]
