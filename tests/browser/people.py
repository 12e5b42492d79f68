"""People with the ready-made roles, for the journeys."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission, User

from dashboard.roles import create_roles

PASSWORD = "secret"


def someone(name: str, role: str = "") -> User:
    """A person who can sign in, with the role."""
    create_roles(Group, Permission)  # which a transactional test before this one took away
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user
