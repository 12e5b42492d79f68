"""What a site that ran an earlier release has to do once: our apps were labelled ``jobs`` and ``dashboard`` then.

Sites have apps of such names themselves. Tables kept their names; what says a label is Django's own: which migrations
were applied, and the content types, on which permissions and the admin's log hang.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.migrations.recorder import MigrationRecorder

from handlers.models import JobRecord
from handlers.writing import writing

LABELS = {"jobs": "jobsite_jobs", "dashboard": "jobsite_dashboard"}
# Of migrations that only our apps have: a site's own app of that label never applied them.
OURS = {"jobs": "0005_at_size", "dashboard": "0001_roles"}
COMMAND = "relabel_jobs"


def is_due(using: str) -> bool:
    """Whether the database of alias ``using`` knows our tables by the labels of before.

    Raises what Django does if it is away.
    """
    return bool(_outdated(using))


def relabel(using: str) -> int:
    """Give our apps their labels in the database of alias ``using``, in one transaction; how many rows say so now."""
    with writing(using):
        outdated = _outdated(using)
        changed = 0
        for old in outdated:
            changed += _applied(using).filter(app=old, name__in=_names(LABELS[old])).update(app=LABELS[old])
        if "jobs" in outdated and apps.is_installed("django.contrib.contenttypes"):
            changed += _relabel_content_types(using)
    return changed


def _relabel_content_types(using: str) -> int:
    from django.contrib.contenttypes.models import ContentType  # a model of an app that not every site has

    if not router.allow_migrate_model(using, ContentType):
        return 0
    types = ContentType.objects.using(using)
    models = [model._meta.model_name or "" for model in apps.get_app_config(LABELS["jobs"]).get_models()]
    older = types.filter(app_label="jobs", model__in=models)
    for each in older:
        # Django makes one when it is first asked for it: a process of this release was started too early.
        if (newer := types.filter(app_label=LABELS["jobs"], model=each.model).first()) is not None:
            _put_in_place(each, newer, using)
    changed = older.update(app_label=LABELS["jobs"])
    ContentType.objects.clear_cache()
    return changed


def _put_in_place(older: Any, newer: Any, using: str) -> None:
    """Let what hangs on the content type ``newer`` hang on ``older``, to which people have been granted permissions."""
    for relation in newer._meta.related_objects:
        name, rows = relation.field.name, relation.related_model._base_manager.using(using)
        theirs = rows.filter(**{name: newer})
        if relation.related_model._meta.label == "auth.Permission":
            theirs = theirs.exclude(codename__in=list(rows.filter(**{name: older}).values_list("codename", flat=True)))
        theirs.update(**{name: older})
    newer.delete(using=using)


def _outdated(using: str) -> list[str]:
    """The labels of before whose migrations are recorded in this database, and are ours."""
    connection = connections[using]
    tables = connection.introspection.table_names()
    if MigrationRecorder.Migration._meta.db_table not in tables:
        return []
    found = _applied(using).filter(app__in=LABELS).values_list("app", "name")
    recorded = {app for app, name in found if OURS[app] == name}
    if JobRecord._meta.db_table not in tables:
        recorded.discard("jobs")
    return sorted(recorded)


def _applied(using: str) -> Any:
    return MigrationRecorder(connections[using]).migration_qs


def _names(label: str) -> list[str]:
    """Of the migrations that the app of this label has."""
    from django.db.migrations.loader import MigrationLoader

    return [name for app, name in MigrationLoader(None).disk_migrations if app == label]
