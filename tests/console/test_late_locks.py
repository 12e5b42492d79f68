"""What people of the console keep or change waits for other writers, also on SQLite as Django's own settings have it.

There whoever has read in a transaction and then wants to write, while somebody else has written, is refused at once:
"database is locked".
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.models import JobColumns, Preferences, RoleLimit, SavedView, Visit
from handlers.models import FailureGroup, GroupEvent
from tests.console.conftest import logged_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

ANN = {"username": "ann", "usable_password": "false", "is_active": "on"}
ANN |= {f"{name}_{place}": value for name, value in (("last_login", ""), ("date_joined", "")) for place in "01"}


def add_view() -> Any:
    person = str(User.objects.get(username="root").pk)
    return SavedView.objects.create(person=person, name="mine", query="state=failed", saved_at=timezone.now()).pk


def add_failure_group() -> str:
    now = timezone.now()
    return FailureGroup.objects.create(pk="f1", first_at=now, last_at=now, state="open", job_type="app.Note").pk


SENT: dict[str, tuple[str, dict[str, Any], Callable[[], Any], Callable[[], object]]] = {
    "columns": ("jobs/columns/", {"column": "queue"}, int, JobColumns.objects.exists),
    "single keys": ("account/", {"single_keys": "off"}, int, Preferences.objects.exists),
    "caught up": ("seen/", {}, int, Visit.objects.exists),
    "a new view": ("jobs/views/new/", {"name": "mine", "query": "state=failed"}, int, SavedView.objects.exists),
    "a view's name": (
        "jobs/views/{}/edit/", {"name": "ours"}, add_view, lambda: SavedView.objects.filter(name="ours").exists()
    ),
    "a view less": ("jobs/views/{}/delete/", {}, add_view, lambda: not SavedView.objects.exists()),
    "a role": ("auth/group/add/", {"name": "mail", "queues": "mail"}, int, RoleLimit.objects.exists),
    "a role's limit": (
        "auth/group/{}/change/", {"name": "mail", "queues": "mail"}, lambda: Group.objects.create(name="m").pk,
        RoleLimit.objects.exists,
    ),
    "a role less": (
        "auth/group/{}/delete/", {"post": "yes"}, lambda: Group.objects.create(name="gone").pk,
        lambda: not Group.objects.filter(name="gone").exists(),
    ),
    "a user": ("auth/user/add/", ANN, int, lambda: User.objects.filter(username="ann").exists()),
    "a note": (
        "failures/{}/note/", {"text": "looked at"}, add_failure_group,
        GroupEvent.objects.exists,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SENT)
def test_who_reads_before_writing_takes_the_lock_first(what: str, late_locks: None) -> None:
    path, form, make, is_done = SENT[what]
    client: Client = logged_in(User.objects.create_superuser("root"))
    url = f"/admin/{path.format(make())}"
    with CaptureQueriesContext(connection) as asked:
        answer = client.post(url, form)
    assert answer.status_code in (204, 302), answer.content.decode()[:2_000]
    assert is_done()
    said = [query["sql"] for query in asked if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    late = [after for before, after in pairwise(said) if before == "BEGIN" and after.startswith("SELECT")]
    assert not late
