"""``manage.py run``: a site on a developer's machine, with its jobs, in one terminal."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.db import models
from django.urls import NoReverseMatch, reverse

from handlers.conf import data_folder, is_embedded, jobs_settings
from handlers.one_machine.changes import SourceWatch
from handlers.one_machine.command import HOST, RunCommand
from handlers.one_machine.kept import new_password
from handlers.one_machine.supervisor import Supervisor

LOOK_SECONDS = 1.0  # between two looks at the code


class Command(RunCommand):
    """Django's development server with a worker, a scheduler and, if JOBS says so, the queue server."""

    help = (
        "Migrate, then run the development server, a worker and the scheduler, which start again when code changes,"
        ' and a Valkey server where JOBS["REDIS_URL"] is "embedded".'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The port."""
        parser.add_argument("port", nargs="?", default=os.environ.get("PORT") or "8000", help="on loopback (8000)")

    def set_up(self, options: dict[str, Any]) -> None:
        """What the settings say. Raises CommandError for a port that is none, SystemCheckError for wrong settings."""
        port = options["port"]
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise CommandError(f"the port must be a number from 1 to 65535, not {port!r}.")
        self.check(display_num_errors=False)
        self.port, self.data, self.cwd = int(port), data_folder(), Path.cwd()
        self.redis_url, self.starts_redis = jobs_settings().redis_url, is_embedded()
        self.env = dict(os.environ)

    def address(self) -> str:
        """The console's; the site's own where the engine is installed without it."""
        try:
            page = reverse("console:index")
        except NoReverseMatch:
            page = "/"
        return f"http://{HOST}:{self.port}{page}"

    def prepare(self) -> Iterator[str]:
        """A first login, if nobody has one."""
        ignored = self.data / ".gitignore"  # what a run keeps is no part of the project
        if not ignored.exists():
            ignored.write_text("*\n")
        if not settings.DEBUG:
            yield "DEBUG is off: pages have no style and no script unless the site itself serves static files."
        if apps.is_installed("django.contrib.auth"):
            yield self._first_login()

    def _first_login(self) -> str:
        users: Any = get_user_model()
        name = users._meta.get_field(users.USERNAME_FIELD)
        needs = set(users.REQUIRED_FIELDS) - {"email"}
        if users._default_manager.exists() or needs or not settings.DEBUG:
            return "Log in as one of the site's users; manage.py createsuperuser makes one."
        login = "admin@example.com" if isinstance(name, models.EmailField) else "admin"
        password = new_password(self.data)
        email = {"email": ""} if "email" in users.REQUIRED_FIELDS else {}
        users._default_manager.create_superuser(**{users.USERNAME_FIELD: login, "password": password, **email})
        return f"Log in as {login}, password {password}"

    def web(self) -> list[str]:
        """Django's own, which starts again by itself when code changes."""
        return self.manage("runserver", f"{HOST}:{self.port}")

    def answers(self) -> bool:
        """Whether the web server does, whatever it has to say."""
        try:
            urllib.request.urlopen(self.address(), timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except (urllib.error.URLError, OSError):
            return False
        return True

    def look_after(self, supervisor: Supervisor) -> None:
        """Also start the worker and the scheduler again when code changes, where the web server does so, too."""
        if not settings.DEBUG:
            super().look_after(supervisor)
            return
        watch, next_look = SourceWatch(), 0.0

        def look() -> None:
            nonlocal next_look
            if time.monotonic() < next_look:
                return
            next_look = time.monotonic() + LOOK_SECONDS
            if changed := watch.changed():
                self.say(f"{changed[0]} changed; starting the worker and the scheduler again.")
                supervisor.restart("the worker", "the scheduler")

        supervisor.keep_alive(look)
