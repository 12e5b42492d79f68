"""Starts a few long-lived child processes, starts them again when they die, and stops them in order.

Each child leads a session of its own: a Ctrl-C in the terminal reaches only the supervisor, which then stops the
children in the right order, and what a child left behind can be found by its session.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from handlers.processes import kill_session

POLL_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 60.0  # a child that lived this long starts again at once, as if it had never died
_PR_SET_PDEATHSIG = 1


class StartFailed(Exception):
    """A child ended before it was ready. The message is one line."""


@dataclass
class Service:
    """One child: what to run, and how long it may take to stop."""

    name: str
    command: Sequence[str]
    stop_seconds: float  # from SIGTERM to SIGKILL
    log: Path | None = None  # where it says what went wrong, if not on stderr
    is_needed: bool = False  # by the others: they have stopped before it is told to
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # monotonic
    deaths: int = 0  # in a row
    start_again_at: float = field(default=0.0)  # monotonic; while it is dead

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Keeps services alive until a signal asks it to stop. ``say`` gets one line for each thing worth knowing."""

    def __init__(self, cwd: Path, env: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.cwd = cwd
        self.env = dict(env)
        self.say = say
        self.services: list[Service] = []
        self.stop_requests = 0

    def install_signal_handlers(self) -> None:
        """SIGINT, SIGTERM and SIGHUP (the terminal was closed) stop; a second one does not wait any longer."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._request_stop)

    def _request_stop(self, number: int, frame: object) -> None:
        # Only counts: a handler may interrupt anything, so whatever takes a lock or prints is done by the loop.
        self.stop_requests += 1

    @property
    def is_stopping(self) -> bool:
        return self.stop_requests > 0

    def start(self, service: Service) -> None:
        """Start ``service``."""
        if service not in self.services:
            self.services.append(service)
        service.process = subprocess.Popen(
            service.command,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509  # there are no threads in this process
        )
        service.started_at = time.monotonic()

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float, what: str) -> bool:
        """Wait for ``ready()``; False if asked to stop meanwhile.

        Raises StartFailed when a child dies or time is up: at the start, a child that dies will die again.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.is_stopping:
            for service in self.services:
                if not service.is_alive:
                    raise StartFailed(f"{service.name} {_how_it_ended(service)} at the start; {_where(service)}.")
            if ready():
                return True
            if time.monotonic() > deadline:
                raise StartFailed(f"{what} within {timeout_seconds:.0f} seconds; see the messages above.")
            time.sleep(POLL_SECONDS)
        return False

    def keep_alive(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Start again what dies, later each time, until a signal asks to stop; ``meanwhile`` is called all the time."""
        while not self.is_stopping:
            for service in self.services:
                self._look_after(service)
            meanwhile()
            time.sleep(POLL_SECONDS)

    def restart(self, *names: str) -> None:
        """Stop these services as at the end of the run, and start each anew, whether or not it had died before."""
        told = [service for service in self.services if service.name in names]
        self._stop(told)
        for service in told:
            service.deaths = 0
            if not self.is_stopping:
                self.start(service)

    def _look_after(self, service: Service) -> None:
        now = time.monotonic()
        if service.is_alive:
            return
        if service.process is not None:
            service.deaths = 1 if now - service.started_at > STEADY_SECONDS else service.deaths + 1
            delay = min(2.0 ** (service.deaths - 1), MAX_BACKOFF_SECONDS)
            service.start_again_at = now + delay
            self.say(f"{service.name} {_how_it_ended(service)}; starting it again in {delay:.0f} s.")
            kill_session(service.process.pid)  # a new one must not meet what the old one left behind
            service.process = None
        elif now >= service.start_again_at:
            self.start(service)

    def stop(self) -> None:
        """Stop everything, what others need after those; nothing is left behind.

        Those that need each other not are stopped at once: none has to wait until the grace of another is over.
        """
        for needed in (False, True):
            self._stop([service for service in self.services if service.is_needed == needed])

    def _stop(self, services: Sequence[Service]) -> None:
        told = [service for service in services if service.process]
        for service in reversed(told):
            if service.process and service.is_alive:
                service.process.terminate()
        began = time.monotonic()
        for service in reversed(told):
            self._await_end(service, began + service.stop_seconds)

    def _await_end(self, service: Service, deadline: float) -> None:
        assert service.process is not None
        while service.is_alive and self.stop_requests < 2:
            if time.monotonic() > deadline:
                self.say(f"{service.name} did not stop within {service.stop_seconds:.0f} s; killing it.")
                break
            time.sleep(POLL_SECONDS / 5)
        kill_session(service.process.pid)
        service.process.wait()


def _how_it_ended(service: Service) -> str:
    code = service.process.returncode if service.process else 0
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"


def _where(service: Service) -> str:
    return f"see {service.log}" if service.log else "its message is above"


def _die_with(parent: int) -> Callable[[], None] | None:
    """On Linux, a hook for the new child: the kernel sends it SIGTERM if the supervisor itself is killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def hook() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)

    return hook
