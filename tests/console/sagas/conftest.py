"""People who see sagas, and who operate them."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.console.conftest import OPERATES, MakeUser, logged_in


@pytest.fixture
def viewer_client(make_user: MakeUser) -> Client:
    """Sees jobs and sagas."""
    return logged_in(make_user("vera", "view_jobrecord", "view_sagarecord"))


@pytest.fixture
def operator_client(make_user: MakeUser) -> Client:
    """Operates both."""
    return logged_in(make_user("olga", *OPERATES, "view_sagarecord", "change_sagarecord"))
