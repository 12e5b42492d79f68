"""Small Django projects that put the engine and the console in, each made in a folder of a test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.processes import ROOT

SETTINGS = """
import os

import dj_database_url

SECRET_KEY = "of a project that lives as long as a test, and is never reached"
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django.contrib.staticfiles", "django_rq", "handlers", "dashboard", "host",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "host.urls"
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"
JOBS = {"REDIS_URL": os.environ["REDIS_URL"]}
"""
URLS = """
from django.contrib import admin
from django.urls import path

from dashboard.site import site

urlpatterns = [path("admin/", admin.site.urls), path("jobs/", site.urls)]
"""
JOBS = """
from dataclasses import dataclass
from handlers import Job, handles

@dataclass(frozen=True)
class Note(Job):
    pass

@handles(Note)
def note(job, token):
    pass

@dataclass(frozen=True)
class Broken(Job):
    pass

@handles(Broken)
def broken(job, token):
    raise ValueError("as always")
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "host.settings")
execute_from_command_line(sys.argv)
"""
# How a script tells what it found out; what the project logs goes elsewhere.
PRELUDE = """
import json
import django

def tell(value):
    print("\\nTOLD " + json.dumps(value), flush=True)

"""
SETUP = """
from django.test import Client
from django.test.utils import setup_test_environment

django.setup()
setup_test_environment()
"""
# ``check`` for each of several settings: each in a process of its own, forked once Django is imported.
CHECKS = """
import contextlib, gc, io, os
import django.contrib.admin, django.db.backends.sqlite3.base, pydantic, redis.sentinel, rq, rq_scheduler
from django.core.management import call_command

def look(module):
    os.environ["DJANGO_SETTINGS_MODULE"] = f"host.{module}"
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            django.setup()
            call_command("check", stdout=said, stderr=said)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return said.getvalue()

gc.disable()  # what each imports stays
found = {}
for name, module in json.loads(os.environ["VARIANTS"]).items():
    reader, writer = os.pipe()
    if not os.fork():
        with os.fdopen(writer, "w") as out:
            out.write(look(module))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        found[name] = said.read()
    os.wait()
tell(found)
"""


class Project:
    """A project in ``folder``: ``settings`` come after the usual ones, ``files`` beside or in place of the usual."""

    def __init__(
        self,
        folder: Path,
        database: str,
        *,
        redis: str = "redis://127.0.0.1:1/0",
        settings: str = "",
        files: Mapping[str, str] | None = None,
        patience: float = 120,
    ) -> None:
        self.folder, self.patience = folder, patience  # seconds that one of its commands may take
        usual = {
            "manage.py": MANAGE,
            "host/__init__.py": "",
            "host/settings.py": f"{SETTINGS}\n{settings}\n",
            "host/urls.py": URLS,
            "host/jobs.py": JOBS,
        }
        for name, text in {**usual, **(files or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.env = kept | {
            "DATABASE_URL": database,
            "REDIS_URL": redis,
            "DJANGO_SETTINGS_MODULE": "host.settings",
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        }

    def manage(self, *arguments: str, **env: str) -> str:
        """What ``manage.py`` says to ``arguments``. AssertionError, with all it said, when it fails."""
        return self._run(["manage.py", *arguments], env)

    def told(self, script: str, *, setup: bool = True, **env: str) -> Any:
        """What ``script``, run in the project, tells: the argument of its last ``tell``."""
        prelude = f"{PRELUDE}{SETUP}" if setup else PRELUDE
        (self.folder / "script.py").write_text(f"{prelude}\n{script}")
        lines = self._run(["script.py"], env).splitlines()
        return json.loads([line for line in lines if line.startswith("TOLD ")][-1].removeprefix("TOLD "))

    def checks(self, variants: Mapping[str, str]) -> dict[str, str]:
        """What ``check`` says of the project with each of ``variants`` (lines of settings), or what stops it."""
        modules = {name: f"variant_{number}" for number, name in enumerate(variants)}
        for name, module in modules.items():
            lines = textwrap.dedent(variants[name])
            (self.folder / "host" / f"{module}.py").write_text(f"from host.settings import *\n{lines}\n")
        found: dict[str, str] = self.told(CHECKS, setup=False, VARIANTS=json.dumps(modules))
        return found

    def _run(self, arguments: list[str], env: Mapping[str, str]) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env={**self.env, **env}, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=self.patience,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout
