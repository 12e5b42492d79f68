"""Sites with a user model of their own."""

from __future__ import annotations

import pytest

from tests.sites.conftest import Make
from tests.sites.project import Project

# No ``username``; a login that is longer than any column of ours; a key that is no number.
BY_EMAIL = """
import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class Members(BaseUserManager):
    def create_superuser(self, email, password, **fields):
        member = self.model(email=email, is_staff=True, is_superuser=True, **fields)
        member.set_password(password)
        member.save()
        return member


class Member(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.CharField(max_length=200, unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    objects = Members()
    USERNAME_FIELD = "email"
"""
SUBCLASS = """
from django.contrib.auth.models import AbstractUser


class Member(AbstractUser):
    pass
"""


MIGRATE = """
from django.core.management import call_command

call_command("makemigrations", "members", verbosity=0)
call_command("migrate", verbosity=0)
tell(None)
"""


def members(make: Make, model: str) -> Project:
    """A project whose users are of ``model``."""
    files = {"members/__init__.py": "", "members/models.py": model}
    return make(settings='INSTALLED_APPS += ["members"]\nAUTH_USER_MODEL = "members.Member"', files=files)


@pytest.fixture(scope="module")
def by_email(make: Make) -> Project:
    """A site where people log in by e-mail."""
    site = members(make, BY_EMAIL)
    site.told(MIGRATE)
    return site


PEOPLE = """
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from handlers.models import AuditEntry

Member = get_user_model()
boss = Member.objects.create_superuser("boss@example.com", "x")
client = Client()
client.force_login(boss)
pages = {}

def get(path):
    pages[path.replace(str(boss.pk), "PK")] = client.get(path).status_code

for path in ("", "auth/group/", "jobs/auditentry/", "jobs/auditentry/?user=boss@example.com", "jobs/jobrecord/"):
    get(f"/jobs/{path}")
for path in ("", "?q=boss", "add/", f"{boss.pk}/change/", f"{boss.pk}/password/", f"{boss.pk}/history/"):
    get(f"/jobs/members/member/{path}")
added = client.post("/jobs/members/member/add/", {
    "email": "vera@example.com", "usable_password": "true", "password1": "a1b2c3d4e5f6", "password2": "a1b2c3d4e5f6",
})
vera = Member.objects.get(email="vera@example.com")
client.post("/jobs/members/member/", {"action": "make_viewer", "_selected_action": [str(vera.pk)]})
tell({
    "pages": {path: status for path, status in pages.items() if status != 200},
    "added": added.status_code,
    "knows": vera.check_password("a1b2c3d4e5f6"),
    "groups": list(vera.groups.values_list("name", flat=True)),
    "audit": list(AuditEntry.objects.filter(user=boss).order_by("pk").values_list("username", "verb", "target")),
    "may": sorted(Group.objects.get(name="Administrator").permissions.filter(content_type__app_label="members")
                  .values_list("codename", flat=True)),
})
"""


def test_people_who_log_in_by_email_are_managed_in_the_console(by_email: Project) -> None:
    assert "no issues" in by_email.manage("check")
    told = by_email.told(PEOPLE)
    assert told["pages"] == {}
    assert (told["added"], told["knows"], told["groups"]) == (302, True, ["Viewer"])
    did = [["boss@example.com", verb, "user vera@example.com"] for verb in ("add_user", "change_user")]
    assert told["audit"] == did
    assert told["may"] == [f"{verb}_member" for verb in ("add", "change", "delete", "view")]


GROUPS = """
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

call_command("makemigrations", "members", verbosity=0)
call_command("migrate", "sessions", verbosity=0)
call_command("migrate", "members", verbosity=0)

operator = Group.objects.create(name="Operator")
operator.permissions.add(*Permission.objects.filter(codename="view_session"))
Group.objects.create(name="Administrator")
call_command("migrate", verbosity=0)
tell(None)
"""
ROLES = """
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission

Member = get_user_model()
boss = Member.objects.create_superuser("boss", "", "x")
vera = Member.objects.create_user("vera", "", "x")
client = Client()
client.force_login(boss)
ticked = {"action": "make_operator", "_selected_action": [str(vera.pk)]}
answer = client.post("/jobs/members/member/", ticked, follow=True)
form = client.get(f"/jobs/members/member/{vera.pk}/change/").content.decode()
tell({
    "permissions": {
        group.name: sorted(group.permissions.values_list("codename", flat=True)) for group in Group.objects.all()
    },
    "groups": list(vera.groups.values_list("name", flat=True)),
    "said": [str(message) for message in answer.context["messages"]],
    "help": "Operator (jobs console): also retries" in form,
    "sensitive": Permission.objects.filter(codename="view_sensitive").count(),
})
"""


def test_groups_that_a_site_had_gain_nothing_and_ours_stand_beside_them(make: Make) -> None:
    site = members(make, SUBCLASS)
    site.told(GROUPS)
    told = site.told(ROLES)
    held = told["permissions"]
    assert (held["Operator"], held["Administrator"]) == (["view_session"], [])
    assert "retry_jobrecord" in held["Operator (jobs console)"]
    assert {"change_member", "add_storedpolicy", "stop_workerprocess"} <= set(held["Administrator (jobs console)"])
    assert "view_failuregroup" in held["Viewer"]
    assert told["sensitive"] == 1
    assert not any("view_sensitive" in codenames for codenames in held.values())
    assert told["groups"] == ["Operator (jobs console)"]
    assert told["said"] == ["1 user now in Operator (jobs console)."]
    assert told["help"]


VERBS = """
from django.contrib.auth import get_user_model
from handlers import job_scheduler
from handlers.models import AuditEntry, BulkOperation, JobHistory, JobRecord, QueueSwitch
from handlers.selection import Selection
from host.jobs import Note

login = "m" * 180 + "@example.com.invalid"
member = get_user_model().objects.create_superuser(login, "x")
job_id = job_scheduler.enqueue(Note(), by=member)
job_scheduler.delete(job_id, by=member)
job_scheduler.restore(job_id, by=member)
job_scheduler.pause_queue("default", by=member)
bulk = job_scheduler.start_bulk("delete", Selection(states=("enqueued",)), by=member, confirm_count=1)
job_scheduler.pause_bulk(bulk.pk, by=member)
entries = list(AuditEntry.objects.filter(user=member).order_by("pk"))
tell({
    "id": str(member.pk),
    "verbs": [entry.verb for entry in entries],
    "users": sorted({str(entry.user_id) for entry in entries}),
    "names": sorted({entry.username for entry in entries} | {BulkOperation.objects.get().username}),
    "actors": sorted({*JobHistory.objects.filter(actor__startswith="user:").values_list("actor", flat=True),
                      JobRecord.objects.get(pk=job_id).created_by, QueueSwitch.objects.get().by}),
    "note": BulkOperation.objects.get().note,
})
"""


def test_verbs_of_someone_with_a_long_login_are_on_record(by_email: Project) -> None:
    told = by_email.told(VERBS)
    assert told["verbs"] == ["enqueue", "delete", "restore", "pause_queue", "start_bulk", "pause_bulk"]
    assert told["users"] == [told["id"]]
    (name,), (actor,) = told["names"], told["actors"]
    end = f"m\N{HORIZONTAL ELLIPSIS} (id {told['id']})"
    assert len(name) == len(actor) == 150
    assert name.endswith(end)
    assert actor.startswith("user:m")
    assert actor.endswith(end)
