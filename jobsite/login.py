"""The first login: user ``admin``, whose password is given, or made and kept."""

from __future__ import annotations

import os
from pathlib import Path

from django.contrib.auth import get_user_model

from handlers.one_machine.kept import new_password

ADMIN = "admin"


def ensure_admin(data: Path) -> str:
    """Make sure that user ``admin`` can log in; returns what to tell about the password.

    JOBSITE_ADMIN_PASSWORD, when set, is in force after this. Otherwise one is made with the user and kept in
    ``data``/admin-password; a password that somebody has changed since is left alone.
    """
    users = get_user_model().objects
    wanted = os.environ.get("JOBSITE_ADMIN_PASSWORD")
    user = users.filter(username=ADMIN).first()
    if user is None:
        password = wanted or new_password(data)
        users.create_superuser(username=ADMIN, email="", password=password)
        return "from JOBSITE_ADMIN_PASSWORD" if wanted else password
    if wanted:
        # Only when it differs: setting it again would end every session.
        if not (user.check_password(wanted) and user.is_active and user.is_superuser and user.is_staff):
            user.set_password(wanted)
            user.is_active = user.is_superuser = user.is_staff = True
            user.save()
        return "from JOBSITE_ADMIN_PASSWORD"
    kept = data / "admin-password"
    if kept.exists() and user.check_password(password := kept.read_text().strip()):
        return password
    return "as it was set before (set JOBSITE_ADMIN_PASSWORD to set it anew)"
