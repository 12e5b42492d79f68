"""What the audit says of changes to users and groups: fields, groups, permissions; never a password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db import router
from django.db.models import Model

from dashboard.roles import limit_of
from handlers.audit import By, audit

PEOPLE_VERBS = (
    "add_user", "change_user", "delete_user", "set_password", "disable_password",
    "add_group", "change_group", "delete_group", "sign_in", "lock_out", "lift_lock_out",
)  # fmt: skip
FLAGS = ("email", "is_active", "is_staff", "is_superuser")
MAX_LISTED = 200  # permissions or groups that an entry names


def person_facts(person: Any) -> dict[str, Any]:
    """A user or a group as the audit keeps it."""
    if isinstance(person, Group):
        limit = {f"only_{name}": chosen for name, chosen in limit_of(person).items() if chosen}
        return {"name": person.name, "permissions": _labels(person.permissions.using(written(person))), **limit}
    groups = person.groups.using(written(person)).order_by("name").values_list("name", flat=True)
    flags = {name: getattr(person, name) for name in FLAGS if hasattr(person, name)}
    return {
        "name": person.get_username(),
        **flags,
        "groups": list(groups[:MAX_LISTED]),
        "permissions": _labels(person.user_permissions.using(written(person))),
    }


def written(person: Any) -> str:
    """The alias of the database that a user or a group is written to: a replica does not know of the last change."""
    return router.db_for_write(type(person), instance=person)


def audit_person(by: By, did: str, person: Model, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """Write down that ``by`` did ``did`` (add, change or delete) to a user or a group."""
    kind = "group" if isinstance(person, Group) else "user"
    name = (after or before or {}).get("name", "")
    audit(by, f"{did}_{kind}", f"{kind} {name}", 1, "", {"before": before, "after": after})


def audit_password(by: By, person: Any) -> None:
    """Write down that ``by`` gave a user, maybe themselves, another password, or none that lets them in."""
    did = "set_password" if person.has_usable_password() else "disable_password"
    audit(by, did, f"user {person.get_username()}", 1)


def _labels(permissions: Any) -> list[str]:
    rows = permissions.order_by("content_type__app_label", "codename")
    return [f"{app}.{code}" for app, code in rows.values_list("content_type__app_label", "codename")[:MAX_LISTED]]
