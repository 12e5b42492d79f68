"""The permissions of saved views, for the ready-made roles that exist already."""

from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations, router

from dashboard.roles import add_to_roles

SHARE = "jobsite_dashboard.share_savedview"
NEW = {"Operator": [SHARE], "Administrator": [SHARE, "jobsite_dashboard.delete_savedview"]}


def add(apps: Any, schema_editor: Any) -> None:
    """Add the permissions, which Django would only make after the last migration."""
    using = schema_editor.connection.alias
    if not router.allow_migrate_model(using, apps.get_model("auth", "Group")):
        return  # users and groups live in another database
    create_permissions(installed.get_app_config("jobsite_dashboard"), verbosity=0, using=using)
    add_to_roles(NEW, apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"), using)


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [("jobsite_dashboard", "0010_saved_views")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
