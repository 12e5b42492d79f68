"""The ready-made roles: what each may do in the console. Groups, so that an administrator can change them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS

VIEWER = frozenset(
    f"jobs.view_{model}"
    for model in (
        "jobrecord",
        "queueswitch",
        "auditentry",
        "workerprocess",
        "failuregroup",
        "bulkoperation",
        "storedpolicy",
    )
)
OPERATOR = VIEWER | {
    "jobs.retry_jobrecord",
    "jobs.requeue_jobrecord",
    "jobs.delete_jobrecord",
    "jobs.enqueue_jobrecord",
    "jobs.run_bulkoperation",
    "jobs.pause_queueswitch",
    "jobs.stop_workerprocess",
}
ADMINISTRATOR = OPERATOR | {f"jobs.{verb}_storedpolicy" for verb in ("add", "change", "delete")}
ADMINISTRATOR |= {"jobs.view_sensitive"}
ADMINISTRATOR |= {f"auth.{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("user", "group")}
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


def add_to_roles(
    new: Mapping[str, Iterable[str]], group_model: Any, permission_model: Any, using: str = DEFAULT_DB_ALIAS
) -> None:
    """Give the roles that exist permissions that are ``new``. What people took away before stays away."""
    for name, labels in new.items():
        group = group_model.objects.using(using).filter(name=name).first()
        for label in sorted(labels) if group else ():
            app, _, codename = label.partition(".")
            permissions = permission_model.objects.using(using)
            group.permissions.add(permissions.get(content_type__app_label=app, codename=codename))
