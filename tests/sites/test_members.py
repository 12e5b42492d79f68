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


def members(make: Make, model: str) -> Project:
    """A migrated project whose users are of ``model``."""
    files = {"members/__init__.py": "", "members/models.py": model}
    site = make(settings='INSTALLED_APPS += ["members"]\nAUTH_USER_MODEL = "members.Member"', files=files)
    site.manage("makemigrations", "members", "--verbosity", "0")
    site.manage("migrate", "--verbosity", "0")
    return site


@pytest.fixture(scope="module")
def by_email(make: Make) -> Project:
    """A site where people log in by e-mail."""
    return members(make, BY_EMAIL)


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
entries = list(AuditEntry.objects.order_by("pk"))
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
