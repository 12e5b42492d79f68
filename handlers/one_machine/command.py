"""What every ``manage.py run`` does: start the parts in order of need, look after them, stop them."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from handlers import pools, relabelling
from handlers.exceptions import TransportUnavailable
from handlers.one_machine.kept import ensure_data_folder
from handlers.one_machine.single import AlreadyRunning, only_run
from handlers.one_machine.supervisor import Service, StartFailed, Supervisor
from handlers.rq_transport import embedded

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 15.0  # the worker's grace for running jobs is 10 s, and it must have time to settle them


class RunCommand(BaseCommand):
    """Everything on this machine with one command. A site says what it is made of by the methods below."""

    requires_system_checks = ()  # after the one-line errors of this command; what it starts checks

    port: int
    data: Path  # the folder that is this run's alone
    env: dict[str, str]  # of what it starts
    cwd: Path
    redis_url: str
    starts_redis: bool
    database_advice = "check DATABASES"
    port_advice = "give another, as in manage.py run {port}"

    def set_up(self, options: dict[str, Any]) -> None:
        """Give what the annotations above name their values. Raises ImproperlyConfigured or CommandError."""
        raise NotImplementedError

    def address(self) -> str:
        """Where the console is."""
        raise NotImplementedError

    def prepare(self) -> Iterable[str]:
        """Make ready what the web server needs beside its tables; the lines that tell of it once it answers."""
        return ()

    def web(self) -> list[str]:
        """The web server's command line."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the web server does."""
        raise NotImplementedError

    def look_after(self, supervisor: Supervisor) -> None:
        """Until a signal asks to stop."""
        supervisor.keep_alive()

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM. Raises CommandError, one line that says what to do, if it cannot start."""
        try:
            self.set_up(options)
            ensure_data_folder(self.data)
            with only_run(self.data / "run.lock", f"process {os.getpid()}, {self.address()}"):
                self.run()
        except AlreadyRunning as other:
            raise CommandError(
                f"already running here ({other}): stop that first, or set JOBSITE_DATA and PORT for a second one."
            ) from None
        except (ImproperlyConfigured, StartFailed, TransportUnavailable) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"the database cannot be used ({reason}): {self.database_advice}.") from None
        except OSError as error:
            raise CommandError(
                f"{error.filename or self.data}: {error.strerror}; make it writable or set JOBSITE_DATA."
            ) from None

    def run(self) -> None:
        """Start the parts in order of need, tell where the console is, look after them, stop them."""
        self.check_port_is_free()
        supervisor = Supervisor(self.cwd, {**self.env, "PYTHONUNBUFFERED": "1"}, self.say)
        supervisor.install_signal_handlers()
        try:
            told = self.start_everything(supervisor)
            if not supervisor.is_stopping:
                for line in (f"The console is at {self.address()}", *told, "Ctrl-C stops everything."):
                    self.say(line)
                self.look_after(supervisor)
        finally:
            if supervisor.is_stopping:
                self.say("Stopping; running jobs get a moment to finish ...")
            supervisor.stop()
        self.say("Stopped.")

    def start_everything(self, supervisor: Supervisor) -> list[str]:
        """Start the parts, the web server last, until it answers or the run is asked to stop; what ``prepare`` told."""
        if self.starts_redis:
            folder = self.data / "redis"
            self.say("Starting the queue server ...")
            embedded.stop_orphan(folder)
            command, log = embedded.server_command(folder), embedded.log_path(folder)
            supervisor.start(Service("the queue server", command, STOP_SECONDS, log, is_needed=True))
            supervisor.wait_until(lambda: embedded.answers(self.redis_url), START_SECONDS, "no queue server answered")
        self.say("Preparing the database ...")
        call_command(relabelling.COMMAND, stdout=StringIO())  # a database of before is taken over
        call_command("migrate", interactive=False, verbosity=0)
        told = list(self.prepare())
        pools.do_without()  # this process needs none from here on, and would keep it open for days
        services = [
            Service("the worker", self.manage("worker"), STOP_SECONDS),
            Service("the scheduler", self.manage("scheduler"), STOP_SECONDS),
            Service("the web server", self.web(), STOP_SECONDS),
        ]
        for service in services:
            if not supervisor.is_stopping:
                supervisor.start(service)
        supervisor.wait_until(self.answers, START_SECONDS, "the console did not answer")
        return told

    def manage(self, *arguments: str) -> list[str]:
        """The command line of another of the site's commands: by its ``manage.py``, which may set more than Django."""
        program = Path(sys.argv[0])
        if program.name == "manage.py" and program.is_file():
            return [sys.executable, str(program.absolute()), *arguments]
        return [sys.executable, "-m", "django", *arguments]

    def say(self, line: str) -> None:
        """Print at once, also into a pipe."""
        self.stdout.write(line)
        self.stdout.flush()

    def check_port_is_free(self) -> None:
        """Raise CommandError if the port cannot be listened on."""
        with socket.socket() as probe:
            # As web servers do: a closed connection may linger.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    advice = self.port_advice.format(port=self.port + 1)
                    raise CommandError(f"port {self.port} is taken: stop what uses it, or {advice}.") from None
                raise CommandError(
                    f"cannot listen on port {self.port} ({error.strerror}): set PORT to one above 1023."
                ) from None
