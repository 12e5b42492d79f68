"""The ready-made roles: a fresh database has them, and they can do what their names say."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client

from dashboard.roles import ROLES, create_roles
from handlers import job_scheduler
from handlers.models import JobRecord
from handlers.states import State
from tests.app.jobs import Nothing

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _roles() -> None:
    create_roles(Group, Permission)


def client_of(role: str) -> Client:
    """A signed-in member of the role."""
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("role", ROLES)
def test_role_has_exactly_its_permissions(role: str) -> None:
    found = Group.objects.get(name=role).permissions.values_list("content_type__app_label", "codename")
    assert {f"{app}.{codename}" for app, codename in found} == ROLES[role]


@pytest.mark.parametrize(("role", "status", "state"), [("Viewer", 403, "failed"), ("Operator", 302, "enqueued")])
def test_viewer_sees_and_operator_acts(role: str, status: int, state: str) -> None:
    job_id = job_scheduler.enqueue(Nothing())
    JobRecord.objects.filter(pk=job_id).update(state=State.FAILED)
    token = JobRecord.objects.get(pk=job_id).token
    client, page = client_of(role), f"/admin/jobs/jobrecord/{job_id}/"
    shown = client.get(f"{page}change/")
    assert shown.status_code == 200
    assert client.post(f"{page}retry/", {"expect": f"{job_id}:{token}"}).status_code == status
    assert JobRecord.objects.get(pk=job_id).state == state


@pytest.mark.parametrize(("role", "status"), [("Viewer", 403), ("Operator", 403), ("Administrator", 200)])
def test_only_an_administrator_manages_users(role: str, status: int) -> None:
    assert client_of(role).get("/admin/auth/user/").status_code == status


def test_role_that_people_changed_stays_as_it_is() -> None:
    Group.objects.get(name="Operator").permissions.clear()
    create_roles(Group, Permission)
    assert not Group.objects.get(name="Operator").permissions.exists()


def test_no_role_sees_sensitive_values() -> None:
    assert [role for role, labels in ROLES.items() if "jobsite_jobs.view_sensitive" in labels] == []


def test_migration_adds_what_is_new_to_roles_that_exist_and_takes_nothing() -> None:
    migration = import_module("dashboard.migrations.0002_console_roles")
    Group.objects.filter(name="Administrator").delete()
    viewer, operator = Group.objects.get(name="Viewer"), Group.objects.get(name="Operator")
    kept = Permission.objects.filter(codename__in=["view_jobrecord", "delete_jobrecord"])
    viewer.permissions.set(kept)  # as somebody made it
    operator.permissions.clear()  # shut out by somebody, or a group of the site's own
    for _ in range(2):
        migration.Migration.operations[0].code(apps, SimpleNamespace(connection=connection))
    assert {f"jobsite_jobs.{name}" for name in viewer.permissions.values_list("codename", flat=True)} == {
        "jobsite_jobs.view_jobrecord",
        "jobsite_jobs.delete_jobrecord",
        *migration.VIEWER,
    }
    assert not operator.permissions.exists()
    assert not Group.objects.filter(name="Administrator").exists()
