"""A site that throttles signing in its own way: with django-axes as it comes, of which the console knows nothing."""

from __future__ import annotations

import pytest

from tests.sites.conftest import Make

pytestmark = pytest.mark.once

SETTINGS = """
INSTALLED_APPS.append("axes")
MIDDLEWARE.append("axes.middleware.AxesMiddleware")
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 3
AXES_COOLOFF_TIME = 1
"""
ATTEMPTS = """
from axes.utils import reset
from django.contrib.auth import get_user_model
from django.core.management import call_command
from handlers.models import AuditEntry

call_command("migrate", verbosity=0)
get_user_model().objects.create_superuser("boss", "", "x")
client = Client()

def sign_in(password):
    return client.post("/jobs/login/", {"username": "boss", "password": password}).status_code

wrong = [sign_in("wrong") for _ in range(3)]
refused = sign_in("x")
reset(username="boss")
right = sign_in("x")
users = client.get("/jobs/auth/user/")
changed = client.post("/jobs/password_change/", {"old_password": "wrong"})
tell({
    "statuses": [*wrong, refused, right, users.status_code, changed.status_code],
    "offers": [words in users.content.decode() for words in ("locked out", "sign in again")],
    "audit": list(AuditEntry.objects.values_list("username", "verb")),
})
"""


def test_what_a_site_has_against_guessing_holds_for_the_console(make: Make) -> None:
    site = make(settings=SETTINGS, migrated=True)
    assert "no issues" in site.manage("check")
    told = site.told(ATTEMPTS)
    assert told["statuses"] == [200, 200, 429, 429, 302, 200, 200]
    assert told["offers"] == [False, False]
    assert told["audit"] == [["boss", "sign_in"]]
