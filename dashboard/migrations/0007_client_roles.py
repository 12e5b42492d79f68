"""The permissions of the API's clients, for the ready-made role that exists already."""

from django.db import migrations

from dashboard.roles import bring

NEW = {"Administrator": [f"jobsite_jobs.{verb}_apiclient" for verb in ("view", "add", "revoke")]}


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0006_limit_roles"), ("jobsite_jobs", "0031_api_clients")]
    operations = [bring(NEW)]
