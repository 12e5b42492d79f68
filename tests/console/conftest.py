"""People with different permissions, each with a client that is logged in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

OPERATES = (
    "enqueue_jobrecord",
    "view_jobrecord",
    "retry_jobrecord",
    "requeue_jobrecord",
    "move_jobrecord",
    "signal_jobrecord",
    "signal_jobrecord",
    "delete_jobrecord",
    "view_auditentry",
    "pause_queueswitch",
)

MakeUser = Callable[..., User]


@pytest.fixture
def make_user(db: None) -> MakeUser:
    """Makes a person of the staff with these permissions of the jobs app."""

    def make(name: str, *codenames: str, **fields: Any) -> User:
        user = User.objects.create_user(name, password="secret", **({"is_staff": True} | fields))
        for codename in codenames:
            user.user_permissions.add(Permission.objects.get(codename=codename, content_type__app_label="jobsite_jobs"))
        return user

    return make


def logged_in(user: User) -> Client:
    """A client of ``user`` that checks CSRF tokens no more than Django's test client does."""
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(make_user: MakeUser) -> Client:
    """May see jobs, and nothing else."""
    return logged_in(make_user("vera", "view_jobrecord"))


@pytest.fixture
def operator(make_user: MakeUser) -> Client:
    """May do everything to jobs, but manages no users."""
    return logged_in(make_user("olga", *OPERATES))


@pytest.fixture
def nobody(make_user: MakeUser) -> Client:
    """Of the staff, without any permission."""
    return logged_in(make_user("norma"))


@pytest.fixture
def superuser(make_user: MakeUser) -> Client:
    """May do everything."""
    return logged_in(make_user("admin", is_superuser=True))
