"""Everything on this machine with one command: queue server, scheduler, worker and console."""

from __future__ import annotations

import errno
import os
import socket
import sys
import urllib.error
import urllib.request
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from handlers import pools, relabelling
from handlers.exceptions import TransportUnavailable
from handlers.rq_transport import embedded
from jobsite.environment import ensure_data_folder
from jobsite.login import ADMIN, ensure_admin
from jobsite.single import AlreadyRunning, only_run
from jobsite.supervisor import Service, StartFailed, Supervisor

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 15.0  # the worker's grace for running jobs is 10 s, and it must have time to settle them


class Command(BaseCommand):
    """``manage.py run``; ``make run`` ends here."""

    help = "Migrate, then run the console, a worker, the scheduler and, where REDIS_URL is unset, a Valkey server."
    requires_system_checks = ()  # after the one-line errors of this command; migrate checks

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM. Raises CommandError, one line that says what to do, if it cannot start."""
        data: Path = settings.DATA
        address = f"http://{HOST}:{settings.PORT}{settings.FORCE_SCRIPT_NAME or ''}/admin/"
        try:
            ensure_data_folder(data)
            with only_run(data / "run.lock", f"process {os.getpid()}, {address}"):
                self.run(data, address)
        except AlreadyRunning as other:
            raise CommandError(
                f"already running here ({other}): stop that first, or set JOBSITE_DATA and PORT for a second one."
            ) from None
        except (ImproperlyConfigured, StartFailed, TransportUnavailable) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"the database cannot be used ({reason}): check DATABASE_URL.") from None
        except OSError as error:
            raise CommandError(
                f"{error.filename or data}: {error.strerror}; make it writable or set JOBSITE_DATA."
            ) from None

    def run(self, data: Path, address: str) -> None:
        """Start the parts in order of need, tell where the console is, look after them, stop them."""
        check_port_is_free(settings.PORT)
        env = {name: value for name, value in os.environ.items() if name != "JOBSITE_ADMIN_PASSWORD"}
        env |= {"REDIS_URL": settings.REDIS_URL, "PYTHONUNBUFFERED": "1"}
        supervisor = Supervisor(settings.BASE_DIR, env, self.say)
        supervisor.install_signal_handlers()
        try:
            if password := self.start_everything(supervisor, data):
                self.say(f"The console is at {address}")
                if settings.DEMO:
                    self.say(f"The demo shop is at http://{HOST}:{settings.PORT}/shop/")
                self.say(f"Log in as {ADMIN}, password {password}")
                self.say("Ctrl-C stops everything.")
                supervisor.keep_alive()
        finally:
            if supervisor.is_stopping:
                self.say("Stopping; running jobs get a moment to finish ...")
            supervisor.stop()
        self.say("Stopped.")

    def start_everything(self, supervisor: Supervisor, data: Path) -> str:
        """What to tell about the password once the console answers; empty if asked to stop meanwhile."""
        if not os.environ.get("REDIS_URL"):
            self.say("Starting the queue server ...")
            embedded.stop_orphan(data / "redis")
            command = embedded.server_command(data / "redis")
            log = embedded.log_path(data / "redis")
            supervisor.start(Service("the queue server", command, STOP_SECONDS, log, is_needed=True))
            supervisor.wait_until(
                lambda: embedded.answers(settings.REDIS_URL), START_SECONDS, "no queue server answered"
            )
        self.say("Preparing the database ...")
        call_command(relabelling.COMMAND, stdout=StringIO())  # a folder of before is taken over
        call_command("migrate", interactive=False, verbosity=0)
        password = ensure_admin(data)
        call_command("collectstatic", interactive=False, verbosity=0)
        pools.do_without()  # this process needs none from here on, and would keep it open for days
        manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
        services = [
            Service("the worker", [*manage, "worker"], STOP_SECONDS),
            Service("the scheduler", [*manage, "scheduler"], STOP_SECONDS),
            Service("the web server", gunicorn_command(settings.PORT), STOP_SECONDS),
        ]
        for service in services:
            if not supervisor.is_stopping:
                supervisor.start(service)
        answered = supervisor.wait_until(
            lambda: console_answers(settings.PORT), START_SECONDS, "the console did not answer"
        )
        return password if answered else ""

    def say(self, line: str) -> None:
        """Print at once, also into a pipe."""
        self.stdout.write(line)
        self.stdout.flush()


def gunicorn_command(port: int) -> list[str]:
    """A production web server on loopback. Threads, because pages wait for the database more than they compute."""
    options = ["--bind", f"{HOST}:{port}", "--workers", "2", "--threads", "4", "--graceful-timeout", "10"]
    # Its control socket would be one file in the home folder, shared by all runs of this user.
    return [sys.executable, "-m", "gunicorn", *options, "--no-control-socket", "--log-level", "warning", "jobsite.wsgi"]


def check_port_is_free(port: int) -> None:
    """Raise CommandError if the port cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does: a closed connection may linger
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CommandError(
                    f"port {port} is taken: stop what uses it, or set PORT, as in PORT={port + 1} make run."
                ) from None
            raise CommandError(
                f"cannot listen on port {port} ({error.strerror}): set PORT to one above 1023."
            ) from None


def console_answers(port: int) -> bool:
    """True when the web server answers over HTTP."""
    try:
        with urllib.request.urlopen(
            f"http://{HOST}:{port}{settings.FORCE_SCRIPT_NAME or ''}/healthz", timeout=5
        ) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
