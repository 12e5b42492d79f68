"""Users and groups: changes are on the audit, and nobody climbs above what they hold."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from dashboard.roles import create_roles
from handlers.models import AuditEntry

pytestmark = [pytest.mark.django_db, pytest.mark.once]
USERS = "/admin/auth/user/"
GROUPS = "/admin/auth/group/"


@pytest.fixture(autouse=True)
def _roles() -> None:
    create_roles(Group, Permission)


@pytest.fixture
def administrator() -> Client:
    """Manages users, but is no superuser."""
    return client_of(in_role("boss", "Administrator"))


def data_of(entry: AuditEntry) -> dict[str, Any]:
    """What the entry says beside who and what."""
    assert entry.data is not None
    return dict(entry.data)


def in_role(name: str, *roles: str, **fields: Any) -> User:
    """A person of the staff in these groups."""
    user = User.objects.create_user(name, password="secret", **({"is_staff": True} | fields))
    user.groups.add(*Group.objects.filter(name__in=roles))
    return user


def client_of(user: User) -> Client:
    """Signed in."""
    client = Client()
    client.force_login(user)
    return client


def change(client: Client, user: User, **changes: Any) -> Any:
    """Post the user's form with what the user has now, but for ``changes``."""
    user.refresh_from_db()
    form = {
        "username": user.username,
        "email": user.email,
        "is_active": "on",
        "is_staff": "on",
        "groups": list(user.groups.values_list("pk", flat=True)),
        "user_permissions": list(user.user_permissions.values_list("pk", flat=True)),
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    return client.post(f"{USERS}{user.pk}/change/", form | changes)


def group(name: str) -> Group:
    """The group of this name."""
    return Group.objects.get(name=name)


def test_operator_is_made_by_a_group_and_it_is_on_the_audit(administrator: Client) -> None:
    vera = in_role("vera", "Viewer")
    assert change(administrator, vera, groups=[group("Viewer").pk, group("Operator").pk]).status_code == 302
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.verb, entry.target) == ("boss", "change_user", "user vera")
    assert data_of(entry)["before"]["groups"] == ["Viewer"]
    assert data_of(entry)["after"]["groups"] == ["Operator", "Viewer"]
    html = client_of(vera).get("/admin/jobs/auditentry/").content.decode()
    assert "Groups: Viewer → <strong>Operator, Viewer</strong>" in html


def test_operators_are_made_from_the_list(administrator: Client) -> None:
    vera, olga = in_role("vera", "Viewer"), in_role("olga", "Operator")
    admin = in_role("admin", is_superuser=True)
    form = {"action": "make_operator", "_selected_action": [vera.pk, olga.pk, admin.pk]}
    html = administrator.post(USERS, form, follow=True).content.decode()
    assert "1 user now in Operator. 2 had the role already, or hold more than you do." in html
    assert vera.groups.filter(name="Operator").exists()
    assert not admin.groups.exists()
    assert AuditEntry.objects.get().target == "user vera"


def test_list_shows_the_roles_and_the_form_explains_them(administrator: Client) -> None:
    olga = in_role("olga", "Operator", "Viewer")
    assert "Operator, Viewer" in administrator.get(USERS).content.decode()
    assert "Operator: also retries" in administrator.get(f"{USERS}{olga.pk}/change/").content.decode()


def test_addition_password_and_deletion_are_on_the_audit_without_the_password(administrator: Client) -> None:
    form = {"username": "new", "password1": "Tr0ub4dor-3", "password2": "Tr0ub4dor-3", "usable_password": "true"}
    assert administrator.post(f"{USERS}add/", form).status_code == 302
    user = User.objects.get(username="new")
    form = {"password1": "correct-horse-9", "password2": "correct-horse-9", "usable_password": "true"}
    assert administrator.post(f"{USERS}{user.pk}/password/", form).status_code == 302
    password = User.objects.get(pk=user.pk).password
    assert administrator.post(f"{USERS}{user.pk}/delete/", {"post": "yes"}).status_code == 302
    entries = list(AuditEntry.objects.order_by("pk"))
    assert [entry.verb for entry in entries] == ["add_user", "set_password", "delete_user"]
    assert entries[1].target == "user new"
    for entry in entries:
        for secret in (password, "Tr0ub4dor", "correct-horse", "md5$"):
            assert secret not in str(entry.data)


def test_deletion_from_the_list_is_on_the_audit(administrator: Client) -> None:
    in_role("a", "Viewer"), in_role("b", "Viewer")
    ticked = list(User.objects.filter(username__in="ab").values_list("pk", flat=True))
    administrator.post(USERS, {"action": "delete_selected", "_selected_action": ticked, "post": "yes"})
    assert sorted(AuditEntry.objects.values_list("verb", "target")) == [
        ("delete_user", "user a"),
        ("delete_user", "user b"),
    ]


def test_group_changes_are_on_the_audit(superuser: Client) -> None:
    view = Permission.objects.get(codename="view_jobrecord")
    superuser.post(f"{GROUPS}add/", {"name": "Night", "permissions": [view.pk]})
    night = group("Night")
    superuser.post(f"{GROUPS}{night.pk}/change/", {"name": "Night", "permissions": []})
    superuser.post(f"{GROUPS}{night.pk}/delete/", {"post": "yes"})
    entries = list(AuditEntry.objects.order_by("pk"))
    assert [entry.verb for entry in entries] == ["add_group", "change_group", "delete_group"]
    assert data_of(entries[1])["before"]["permissions"] == ["jobsite_jobs.view_jobrecord"]
    assert data_of(entries[1])["after"]["permissions"] == []


def test_nobody_makes_a_superuser_but_a_superuser(administrator: Client, superuser: Client) -> None:
    vera = in_role("vera", "Viewer")
    change(administrator, vera, is_superuser="on")
    vera.refresh_from_db()
    assert not vera.is_superuser
    change(superuser, vera, is_superuser="on")
    vera.refresh_from_db()
    assert vera.is_superuser


@pytest.mark.parametrize("active", [True, False])
def test_account_that_holds_more_is_out_of_reach(administrator: Client, active: bool) -> None:
    admin = in_role("admin", is_superuser=True, is_active=active)
    special = in_role("special", "Viewer", is_active=active)
    special.user_permissions.add(Permission.objects.get(codename="add_session"))
    for user in (admin, special):
        before = User.objects.values().get(pk=user.pk)
        form = {"password1": "correct-horse-9", "password2": "correct-horse-9", "usable_password": "true"}
        assert administrator.post(f"{USERS}{user.pk}/password/", form).status_code == 403
        assert change(administrator, user, email="x@example.org").status_code == 403
        assert administrator.post(f"{USERS}{user.pk}/delete/", {"post": "yes"}).status_code == 403
        ticked = {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"}
        administrator.post(USERS, ticked)
        assert User.objects.values().get(pk=user.pk) == before
    assert not AuditEntry.objects.exists()


def test_permission_not_held_cannot_be_given_in_any_way(administrator: Client) -> None:
    vera, boss = in_role("vera", "Viewer"), User.objects.get(username="boss")
    secret = Permission.objects.get(codename="add_session")
    above = Group.objects.create(name="Above")
    above.permissions.add(secret)
    for user in (vera, boss):
        tries: list[dict[str, Any]] = [{"user_permissions": [secret.pk]}, {"groups": [above.pk]}]
        for changes in tries:
            response = change(administrator, user, **changes)
            assert response.status_code == 200
            assert "You can give only what you hold yourself" in response.content.decode()
        assert not user.user_permissions.exists()
        assert not user.groups.filter(pk=above.pk).exists()
    viewers = group("Viewer")
    form: dict[str, Any] = {
        "name": "Viewer",
        "permissions": [*viewers.permissions.values_list("pk", flat=True), secret.pk],
    }
    assert administrator.post(f"{GROUPS}{viewers.pk}/change/", form).status_code == 200
    assert administrator.post(f"{GROUPS}add/", {"name": "Mine", "permissions": [secret.pk]}).status_code == 200
    assert not viewers.permissions.filter(pk=secret.pk).exists()
    assert not Group.objects.filter(name="Mine").exists()


def test_role_above_ones_own_cannot_be_given_from_the_list() -> None:
    helper = in_role("helper", "Viewer")
    helper.user_permissions.add(*Permission.objects.filter(codename__in=["view_user", "change_user"]))
    form = {"action": "make_operator", "_selected_action": [helper.pk]}
    html = client_of(helper).post(USERS, form, follow=True).content.decode()
    assert "You can give only what you hold yourself" in html
    assert not helper.groups.filter(name="Operator").exists()


def test_password_that_lets_nobody_in_is_told_as_such(administrator: Client) -> None:
    vera = in_role("vera", "Viewer")
    form = {"password1": "", "password2": "", "usable_password": "false", "unset-password": "1"}
    assert administrator.post(f"{USERS}{vera.pk}/password/", form).status_code == 302
    assert not User.objects.get(pk=vera.pk).has_usable_password()
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.verb, entry.target) == ("boss", "disable_password", "user vera")


def test_own_password_is_on_the_audit_once_it_is_changed() -> None:
    client = client_of(in_role("vera", "Viewer"))
    form = {"old_password": "secret", "new_password1": "correct-horse-9", "new_password2": "another-horse-9"}
    assert client.post("/admin/password_change/", form).status_code == 200
    assert not AuditEntry.objects.exists()
    form["new_password2"] = "correct-horse-9"
    assert client.post("/admin/password_change/", form).status_code == 302
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.verb, entry.target, entry.data) == ("vera", "set_password", "user vera", None)


def test_what_goes_with_a_role_or_a_user_is_told_without_the_rows_that_tie_them(superuser: Client) -> None:
    vera = in_role("vera", "Viewer")
    vera.user_permissions.add(Permission.objects.get(codename="view_jobrecord"))
    for path in (f"{GROUPS}{group('Viewer').pk}/delete/", f"{USERS}{vera.pk}/delete/"):
        page = superuser.get(path).content.decode()
        assert " object (" not in page
        assert "permission relationships" not in page
    assert "User-group relationships: 1" in superuser.get(f"{GROUPS}{group('Viewer').pk}/delete/").content.decode()
    superuser.post(f"{GROUPS}{group('Viewer').pk}/delete/", {"post": "yes"})
    assert not Group.objects.filter(name="Viewer").exists()
