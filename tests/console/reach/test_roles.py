"""A role that is limited to queues and job types: how it is limited, by whom, and what that comes to for a person."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.kit.reach import NOWHERE, reach_of
from dashboard.models import RoleLimit
from dashboard.roles import create_roles, limit_of, limit_role
from handlers.exceptions import InvalidJob
from handlers.models import AuditEntry
from handlers.selection import WHOLE, Part, Reach
from tests.console.conftest import MakeUser, logged_in

pytestmark = pytest.mark.django_db

VIEW, RETRY = "jobsite_jobs.view_jobrecord", "jobsite_jobs.retry_jobrecord"


def role(name: str, *codenames: str, queues: Any = (), types: Any = ()) -> Group:
    """A group with these permissions, limited to these names."""
    group = Group.objects.create(name=name)
    group.permissions.set(Permission.objects.filter(codename__in=codenames, content_type__app_label="jobsite_jobs"))
    limit_role(group, queues=queues, types=types)
    return group


def person(*groups: Group, **fields: Any) -> User:
    """Of the staff, in these groups; read anew, as for a request."""
    user = User.objects.create_user(f"p{User.objects.count()}", password="secret", is_staff=True, **fields)
    user.groups.set(groups)
    return User.objects.get(pk=user.pk)


def test_what_roles_permit_adds_up() -> None:
    views = role("views", "view_jobrecord")
    mail = role("mail", "view_jobrecord", "retry_jobrecord", queues=["mail"])
    notes = role("notes", "retry_jobrecord", types=["app.Note"], queues=["default"])
    both = person(mail, notes)
    assert reach_of(both, VIEW) == Reach.of([Part((), ("mail",))])
    assert reach_of(both, RETRY) == Reach.of([Part((), ("mail",)), Part(("app.Note",), ("default",))])
    assert reach_of(person(views, mail), VIEW) == WHOLE
    assert reach_of(person(views, mail), RETRY) == Reach.of([Part((), ("mail",))])
    assert reach_of(person(views), RETRY) == NOWHERE
    assert reach_of(person(mail, is_superuser=True), RETRY) == WHOLE
    assert reach_of(person(mail, is_active=False), RETRY) == NOWHERE
    own = person(mail)
    own.user_permissions.add(Permission.objects.get(codename="retry_jobrecord"))
    own = User.objects.get(pk=own.pk)
    assert (reach_of(own, RETRY), reach_of(own, VIEW)) == (WHOLE, Reach.of([Part((), ("mail",))]))


def test_a_limit_goes_with_its_group() -> None:
    group = role("mail", "view_jobrecord", queues=["mail"])
    group.delete()
    assert not RoleLimit.objects.exists()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"queues": ["maill"]}, "queues"),
        ({"types": ["app.Gone"]}, "types"),
        ({"types": ["jobs.RunBulk"]}, "types"),
        ({"queues": ["system"]}, "queues"),
        ({"queues": [f"q{number}" for number in range(101)]}, "queues"),
        ({"queues": ["x" * 10_000]}, "queues"),
    ],
)
def test_names_that_nobody_knows_are_refused(given: dict[str, list[str]], field: str) -> None:
    group = Group.objects.create(name="mail")
    with pytest.raises(InvalidJob) as refused:
        limit_role(group, **given)
    assert refused.value.field == field
    assert len(str(refused.value)) < 1_000
    assert not RoleLimit.objects.exists()


def test_a_name_that_the_code_knows_no_more_may_stay() -> None:
    group = Group.objects.create(name="mail")
    RoleLimit.objects.create(group=group.pk, queues=["gone"])
    limit_role(group, queues=["gone", "mail"])
    assert limit_of(group) == {"queues": ["gone", "mail"], "types": []}


def test_limiting_by_code_is_on_the_audit(make_user: MakeUser) -> None:
    group, boss = Group.objects.create(name="mail"), make_user("boss")
    limit_role(group, queues=["mail"], by=boss)
    limit_role(group, queues=["mail"], by=boss)
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target, entry.username) == ("change_group", "group mail", "boss")
    assert entry.data is not None
    assert entry.data["after"]["only_queues"] == ["mail"]
    limit_role(group, by=boss)
    assert not RoleLimit.objects.exists()


def test_the_groups_page_limits_it(superuser: Client) -> None:
    group = Group.objects.create(name="mail")
    url = f"/admin/auth/group/{group.pk}/change/"
    html = superuser.get(url).content.decode()
    assert "Only queues" in html
    assert "Only job types" in html
    form = {"name": "mail", "permissions": [], "queues": ["mail"], "types": ["app.Note"]}
    assert superuser.post(url, form).status_code == 302
    assert limit_of(group) == {"queues": ["mail"], "types": ["app.Note"]}
    entry = AuditEntry.objects.get(verb="change_group")
    assert entry.data is not None
    assert entry.data["after"] == {
        "name": "mail",
        "permissions": [],
        "only_queues": ["mail"],
        "only_types": ["app.Note"],
    }
    assert "Only queues" in superuser.get("/admin/jobs/auditentry/").content.decode()
    answer = superuser.post(url, {**form, "queues": ["nowhere"]})
    assert answer.status_code == 200
    assert "nowhere" in answer.content.decode()
    assert limit_of(group)["queues"] == ["mail"]
    assert superuser.post(url, {"name": "mail"}).status_code == 302
    assert not RoleLimit.objects.exists()


def test_nobody_lets_a_role_reach_further_than_they_may_give() -> None:
    create_roles(Group, Permission)
    group = role("mail", "view_jobrecord", "view_sensitive", queues=["mail"])
    boss = person(Group.objects.get(name="Administrator"))
    url = f"/admin/auth/group/{group.pk}/change/"
    permissions = list(group.permissions.values_list("pk", flat=True))
    answer = logged_in(boss).post(url, {"name": "mail", "permissions": permissions})
    assert "You can give only what you hold yourself" in answer.content.decode()
    assert limit_of(group)["queues"] == ["mail"]


def test_whoever_is_limited_manages_no_people_and_no_tokens() -> None:
    create_roles(Group, Permission)
    group = Group.objects.get(name="Administrator")
    limit_role(group, queues=["mail"])
    boss = person(group)
    client = logged_in(boss)
    for url in (f"/admin/auth/user/{boss.pk}/change/", f"/admin/auth/group/{group.pk}/change/", "/admin/clients/new/"):
        for answer in (client.get(url), client.post(url, {"name": "more", "verbs": "read"})):
            assert answer.status_code == 403
            assert "Your role is limited to queue mail." in answer.content.decode()
    assert limit_of(group)["queues"] == ["mail"]


@pytest.mark.parametrize("is_one", [False, True])
def test_people_without_a_limit_pay_one_small_statement_at_most(make_user: MakeUser, is_one: bool) -> None:
    url = "/admin/jobs/jobrecord/"
    direct = logged_in(make_user("vera", "view_jobrecord"))
    grouped = logged_in(person(role("views", "view_jobrecord")))
    if is_one:
        role("mail", "retry_jobrecord", queues=["mail"])
    found = []
    for client in (direct, grouped):
        client.get(url)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            client.get(url)
        found.append([query["sql"] for query in asked if "jobs_rolelimit" in query["sql"] or "auth_" in query["sql"]])
    plain, limited = found
    assert not any("jobs_rolelimit" in sql for sql in plain)
    assert sum("jobs_rolelimit" in sql for sql in limited) == 1
    assert len(limited) - len(plain) == 1 + is_one
