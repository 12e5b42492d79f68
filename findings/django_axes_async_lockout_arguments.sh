#!/usr/bin/env bash
# One callable, two meanings of its arguments: django-axes 8.3.1 on Django 5.2.19
#
# AXES_LOCKOUT_CALLABLE makes the page of a lock-out; with three parameters it is given the request, the response that
# would have been sent, and the credentials. Under WSGI it is. Under ASGI the middleware's async branch passes the
# credentials where the response belongs, and nothing for the credentials: a callable that reads either of them works
# in development and fails on the async server, at the moment when somebody is locked out.
#
# Seen:
#     Client:      response HttpResponse, credentials dict
#     AsyncClient: response dict, credentials NoneType
#
# Here the login page makes its own answer (jobsite/logins), and uses no such callable.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check django-axes==8.3.1 Django==5.2.19
cd "$work"
cat >site_.py <<'PY'
from django.contrib.auth import authenticate
from django.http import HttpResponse
from django.urls import path

seen = []


def locked(request, response, credentials):
    seen.append((type(response).__name__, type(credentials).__name__))
    return HttpResponse("locked", status=429)


def login(request):
    authenticate(request, username="olga", password=request.POST["password"])
    return HttpResponse("wrong")


urlpatterns = [path("login", login)]
PY
"$work/venv/bin/python" -W ignore <<'PY'
import asyncio

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x" * 50,
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "axes"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "axes.middleware.AxesMiddleware"],
    AUTHENTICATION_BACKENDS=["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"],
    ROOT_URLCONF="site_",
    AXES_FAILURE_LIMIT=1,
    AXES_LOCKOUT_CALLABLE="site_.locked",
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.management import call_command
from django.test import AsyncClient, Client

import site_

call_command("migrate", verbosity=0)


def asked(client):
    """Twice the wrong password: what the callable was given."""
    site_.seen.clear()
    call_command("axes_reset", verbosity=0)
    for _ in range(2):
        made = client.post("/login", {"password": "wrong"})
        response = asyncio.run(made) if asyncio.iscoroutine(made) else made
    assert response.status_code == 429, response.status_code
    return set(site_.seen)


found = {"Client": asked(Client()), "AsyncClient": asked(AsyncClient())}
for name, kinds in found.items():
    for response, credentials in kinds:
        print(f"{name}: response {response}, credentials {credentials}")
assert found == {"Client": {("HttpResponse", "dict")}, "AsyncClient": {("dict", "NoneType")}}, found
PY
