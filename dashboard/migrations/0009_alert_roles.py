"""The permissions of alerts, for the ready-made roles that exist already."""

from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations, router

from dashboard.roles import add_to_roles

VIEWER = ["jobsite_jobs.view_alertrule"]
OPERATOR = [*VIEWER, "jobsite_jobs.mute_alertrule"]
NEW = {
    "Viewer": VIEWER,
    "Operator": OPERATOR,
    "Administrator": [*OPERATOR, *(f"jobsite_jobs.{verb}_alertrule" for verb in ("add", "change", "delete"))],
}


def add(apps: Any, schema_editor: Any) -> None:
    """Add the permissions, which Django would only make after the last migration."""
    using = schema_editor.connection.alias
    if not router.allow_migrate_model(using, apps.get_model("auth", "Group")):
        return  # users and groups live in another database
    create_permissions(installed.get_app_config("jobsite_jobs"), verbosity=0, using=using)
    add_to_roles(NEW, apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"), using)


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [("jobsite_dashboard", "0008_failure_group_roles"), ("jobsite_jobs", "0040_alerts")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
