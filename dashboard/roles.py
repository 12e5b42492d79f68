"""The ready-made roles: what each may do in the console. Groups, so that an administrator can change them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.apps import apps as installed
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, migrations, router

from handlers.writing import writing

VIEWER = frozenset(
    f"jobsite_jobs.view_{model}"
    for model in (
        "jobrecord",
        "queueswitch",
        "auditentry",
        "workerprocess",
        "failuregroup",
        "bulkoperation",
        "storedpolicy",
        "recurringjob",
        "limitoverride",
        "workflow",
        "alertrule",
        "sagarecord",
    )
)
OPERATOR = VIEWER | {
    "jobsite_jobs.retry_jobrecord",
    "jobsite_jobs.requeue_jobrecord",
    "jobsite_jobs.delete_jobrecord",
    "jobsite_jobs.move_jobrecord",
    "jobsite_jobs.signal_jobrecord",
    "jobsite_jobs.enqueue_jobrecord",
    "jobsite_jobs.run_bulkoperation",
    "jobsite_jobs.pause_queueswitch",
    "jobsite_jobs.stop_workerprocess",
    "jobsite_jobs.trigger_recurringjob",
    "jobsite_jobs.pause_recurringjob",
    "jobsite_jobs.change_workflow",
    "jobsite_jobs.change_sagarecord",
    "jobsite_jobs.mute_alertrule",
    "jobsite_jobs.change_failuregroup",
    "jobsite_dashboard.share_savedview",
}
ADMINISTRATOR = OPERATOR | {"jobsite_jobs.change_limitoverride", "jobsite_dashboard.delete_savedview"}
ADMINISTRATOR |= {f"jobsite_jobs.{verb}_apiclient" for verb in ("view", "add", "revoke")}
ADMINISTRATOR |= {
    f"jobsite_jobs.{verb}_{model}"
    for verb in ("add", "change", "delete")
    for model in ("storedpolicy", "recurringjob", "alertrule")
}
# Of the site's own user model, whichever it is. Sensitive arguments are nobody's by being in a ready-made role.
USER = settings.AUTH_USER_MODEL.lower().partition(".")
ADMINISTRATOR |= {
    f"{app}.{verb}_{model}"
    for verb in ("view", "add", "change", "delete")
    for app, model in ((USER[0], USER[2]), ("auth", "group"))
}
ROLES = {"Viewer": VIEWER, "Operator": OPERATOR, "Administrator": ADMINISTRATOR}


MOST_NAMES = 100  # queues, and types, that one role is limited to


def other_name(role: str) -> str:
    """What the role's group is called in a site that had a group of the role's name before."""
    return f"{role} (jobs console)"


def group_of(role: str, group_model: Any, using: str = DEFAULT_DB_ALIAS) -> Any:
    """The group of a ready-made role; None when people renamed or deleted it."""
    found = {group.name: group for group in group_model.objects.using(using).filter(name__in=[role, other_name(role)])}
    return found.get(other_name(role)) or found.get(role)


def create_roles(
    group_model: Any, permission_model: Any, using: str = DEFAULT_DB_ALIAS, *, is_new: bool = False
) -> None:
    """Create each role that does not exist in the database ``using``. One that exists stays as people made it.

    ``is_new``: the site never had our roles, so a group with the name of one is its own, and ours gets another name.
    """
    for role, labels in ROLES.items():
        if not is_new and group_of(role, group_model, using):
            continue
        groups = group_model.objects.using(using)
        name = other_name(role) if groups.filter(name=role).exists() else role
        group, created = groups.get_or_create(name=name)
        if created:
            _permit(group, labels, permission_model, using)


def add_to_roles(
    new: Mapping[str, Iterable[str]], group_model: Any, permission_model: Any, using: str = DEFAULT_DB_ALIAS
) -> None:
    """Give the roles that exist permissions that are ``new``. What people took away before stays away.

    A group that may not see jobs is the site's own, whatever its name, or was shut out by people: it gets nothing.
    """
    for role, labels in new.items():
        group = group_of(role, group_model, using)
        if (
            group
            and group.permissions.filter(content_type__app_label="jobsite_jobs", codename="view_jobrecord").exists()
        ):
            _permit(group, labels, permission_model, using)


def bring(new: Mapping[str, Iterable[str]], label: str = "jobsite_jobs") -> migrations.RunPython:
    """The operation of a migration that gives the roles that exist permissions of the app ``label`` that are ``new``.

    Django would only make these after the last migration.
    """

    def add(apps: Any, schema_editor: Any) -> None:
        from django.contrib.auth.management import create_permissions  # needs models, and this is read before them

        using = schema_editor.connection.alias
        if not router.allow_migrate_model(using, apps.get_model("auth", "Group")):
            return  # users and groups live in another database
        create_permissions(installed.get_app_config(label), verbosity=0, using=using)
        add_to_roles(new, apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"), using)

    return migrations.RunPython(add, migrations.RunPython.noop)


def _permit(group: Any, labels: Iterable[str], permission_model: Any, using: str) -> None:
    """Add the permissions that there are: a user model may have fewer than Django's."""
    for label in sorted(labels):
        app, _, codename = label.partition(".")
        permissions = permission_model.objects.using(using)
        group.permissions.add(*permissions.filter(content_type__app_label=app, codename=codename))


def limit_role(group: Any, *, queues: Iterable[str] = (), types: Iterable[str] = (), by: Any = None) -> None:
    """Let a role, which is one of Django's groups, reach only the jobs on these queues and of these types.

    Of what is not named, all; with neither the role reaches every job again. ``by``: who did it, for the audit. Raises
    InvalidJob, naming ``queues`` or ``types``.
    """
    from dashboard.models import RoleLimit  # the module is read before there are models, by migrations too
    from handlers.audit import audit

    chosen = {"queues": sorted(set(queues)), "types": sorted(set(types))}
    rows = RoleLimit.objects
    with writing(router.db_for_write(RoleLimit)):
        was = limit_of(group)
        check_limit(chosen, was)
        if any(chosen.values()):
            rows.update_or_create(group=group.pk, defaults=chosen)
        else:
            rows.filter(group=group.pk).delete()
        if chosen != was:
            before, after = ({f"only_{name}": some[name] for name in some} for some in (was, chosen))
            facts = {"before": {"name": group.name, **before}, "after": {"name": group.name, **after}}
            audit(by, "change_group", f"group {group.name}", 1, "", facts)


def limit_of(group: Any) -> dict[str, list[str]]:
    """The names that a role is limited to, by ``queues`` and ``types``."""
    from dashboard.models import RoleLimit

    row = RoleLimit.objects.filter(group=group.pk).first() if group.pk else None
    return {"queues": list(row.queues), "types": list(row.types)} if row else {"queues": [], "types": []}


def limit_choices() -> dict[str, list[str]]:
    """The names that a role can be limited to."""
    from handlers.conf import ENGINE_TYPES
    from handlers.queues import targets
    from handlers.registry import registry

    names = [job_type.name for job_type in registry.all() if not job_type.name.startswith(ENGINE_TYPES)]
    return {"queues": targets(), "types": sorted(names)}


def check_limit(chosen: Mapping[str, Collection[str]], was: Mapping[str, Collection[str]]) -> None:
    """Raise InvalidJob for names that nobody knows, but for those of ``was``, and for too many."""
    from handlers.exceptions import InvalidJob

    known = limit_choices()
    for field, names in chosen.items():
        if len(names) > MOST_NAMES:
            raise InvalidJob(f"{field}: at most {MOST_NAMES} names; make another role for the others", field=field)
        if unknown := sorted(set(map(str, names)) - {*known[field], *was[field]}):
            raise InvalidJob(
                f"{field}: {unknown[0][:70]!r} is not known here: there are {', '.join(known[field][:20])}", field=field
            )
