"""The ready-made roles."""

from typing import Any

from django.apps import apps as installed
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, router

from dashboard.roles import create_roles


def create(apps: Any, schema_editor: Any) -> None:
    """Create the roles, and first their permissions, which Django would only make after the last migration.

    Those of users are the site's own user model's. A group that has a role's name by now is the site's, not ours.
    """
    using = schema_editor.connection.alias
    if not router.allow_migrate_model(using, apps.get_model("auth", "Group")):
        return  # users and groups live in another database
    for label in sorted({"jobsite_jobs", "auth", settings.AUTH_USER_MODEL.partition(".")[0]}):
        create_permissions(installed.get_app_config(label), verbosity=0, using=using)
    create_roles(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"), using, is_new=True)


class Migration(migrations.Migration):
    """Data only: the console has no models."""

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("jobsite_jobs", "0001_initial"),
    ]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
