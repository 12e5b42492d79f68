"""The ready-made roles: what each may do in the console. Groups, so that an administrator can change them."""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS

VIEWER = frozenset({"jobs.view_jobrecord", "jobs.view_queueswitch", "jobs.view_auditentry"})
OPERATOR = VIEWER | {
    "jobs.retry_jobrecord",
    "jobs.requeue_jobrecord",
    "jobs.delete_jobrecord",
    "jobs.enqueue_jobrecord",
    "jobs.pause_queueswitch",
}
ADMINISTRATOR = OPERATOR | {
    f"auth.{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("user", "group")
}
ROLES = {"Viewer": VIEWER, "Operator": OPERATOR, "Administrator": ADMINISTRATOR}


def create_roles(group_model: Any, permission_model: Any, using: str = DEFAULT_DB_ALIAS) -> None:
    """Create each role that does not exist in the database ``using``. One that exists stays as people made it."""
    for name, labels in ROLES.items():
        group, created = group_model.objects.using(using).get_or_create(name=name)
        if created:
            for label in sorted(labels):
                app, _, codename = label.partition(".")
                permissions = permission_model.objects.using(using)
                group.permissions.add(permissions.get(content_type__app_label=app, codename=codename))
