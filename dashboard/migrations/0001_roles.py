"""The ready-made roles."""

from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations, router

from dashboard.roles import create_roles


def create(apps: Any, schema_editor: Any) -> None:
    """Create the roles, and first their permissions, which Django would only make after the last migration."""
    using = schema_editor.connection.alias
    if not router.allow_migrate_model(using, apps.get_model("auth", "Group")):
        return  # users and groups live in another database
    for label in ("jobs", "auth"):
        create_permissions(installed.get_app_config(label), verbosity=0, using=using)
    create_roles(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"), using)


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("jobs", "0001_initial"),
    ]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
