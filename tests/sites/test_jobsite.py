"""The project itself as sites run it: below a path, on a unix socket, behind a proxy, beside another on one host."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.processes import ROOT, wait_for
from tests.servers import free_port

pytestmark = pytest.mark.once
PREPARE = """
import django

django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command

call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
get_user_model().objects.create_superuser("admin", "", "secret of the test")
"""


class UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


@dataclass
class Site:
    """A gunicorn that serves the project below /ops, and one browser's cookies."""

    process: subprocess.Popen[bytes]
    port: int
    unix: Path
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, form: dict[str, str] | None = None, *, unix: bool = False, **headers: str) -> Answer:
        """What it answers to a GET of ``path``, or a POST of ``form``."""
        connection = UnixConnection(self.unix) if unix else HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Host": "localhost", "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = None if form is None else urlencode(form)
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("GET" if body is None else "POST", path, body, sent)
        response = connection.getresponse()
        answer = Answer(response, response.read().decode("utf-8", "replace"))
        connection.close()
        for header in response.headers.get_all("Set-Cookie") or []:
            self.cookies.update({name: morsel.value for name, morsel in SimpleCookie(header).items()})
        return answer

    def do(self, page: str, action: str, form: dict[str, str], *, unix: bool = False, **headers: str) -> Answer:
        """Send ``form`` to ``action`` as ``page`` would."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.ask(page, unix=unix).text)
        assert token
        return self.ask(action, {**form, "csrfmiddlewaretoken": token[1]}, unix=unix, **headers)


@dataclass
class Answer:
    """A response that has been read."""

    response: HTTPResponse
    text: str

    @property
    def status(self) -> int:
        return self.response.status

    def header(self, name: str) -> str:
        return self.response.headers.get(name) or ""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The project, below /ops, where proxies on this machine and on the unix socket are trusted."""
    folder = tmp_path_factory.mktemp("ops")
    port = free_port()
    ours = ("DJANGO_", "JOBSITE_", "DATABASE_URL", "REDIS_URL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "JOBSITE_DATA": str(folder / "data"),
        "DJANGO_SETTINGS_MODULE": "jobsite.settings",
        "TRUSTED_PROXIES": "127.0.0.0/8,unix",
        "SCRIPT_NAME": "/ops",
    }
    subprocess.run([sys.executable, "-c", PREPARE], cwd=ROOT, env=env, check=True, timeout=120)
    unix = folder / "http.sock"
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--bind", f"unix:{unix}"]
    command += ["--threads", "2", "--no-control-socket", "--log-level", "warning", "jobsite.wsgi"]
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    site = Site(process, port, unix)
    try:
        wait_for("gunicorn answers", lambda: process.poll() is not None or answers(site))
        assert process.poll() is None
        yield site
    finally:
        process.terminate()
        process.wait(30)


def answers(site: Site) -> bool:
    try:
        return site.ask("/ops/healthz").status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def signed_in(site: Site) -> Site:
    """The same, signed in."""
    login = "/ops/admin/login/"
    answer = site.do(login, login, {"username": "admin", "password": "secret of the test"})
    assert (answer.status, answer.header("Location")) == (302, "/ops/admin/")
    return site


@pytest.mark.parametrize("host", ["10.20.30.40", "jobs.internal:8080", "", "no host"])
def test_probe_is_answered_whatever_its_host(site: Site, host: str) -> None:
    answer = site.ask("/ops/healthz", Host=host)
    assert (answer.status, answer.text) == (200, "ok\n")
    assert site.ask("/ops/admin/login/", Host="10.20.30.40").status == 400  # nothing else is


def test_pages_and_assets_lie_below_the_path_of_the_site(signed_in: Site) -> None:
    page = signed_in.ask("/ops/admin/")
    addresses = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
    assert [address for address in addresses if not address.startswith("/ops/")] == []
    assets = [address for address in addresses if address.startswith("/ops/static/")]
    assert any(address.endswith(".css") for address in assets)
    assert {signed_in.ask(address).status for address in assets} == {200}


def test_cookies_are_the_sites_own(signed_in: Site) -> None:
    assert len(signed_in.cookies) == 3
    assert all(re.fullmatch(r"jobsite_(session|csrf|browser)_[0-9a-f]{8}", name) for name in signed_in.cookies)


@pytest.mark.parametrize(
    ("unix", "claimed", "noted"),
    [
        (False, "203.0.113.7", "203.0.113.7"),
        (True, "203.0.113.8", "203.0.113.8"),
        (True, "6.6.6.6, 203.0.113.9, 127.0.0.2", "203.0.113.9"),
    ],
)
def test_audit_names_the_person_s_address_behind_a_trusted_proxy(
    signed_in: Site, unix: bool, claimed: str, noted: str
) -> None:
    page = "/ops/admin/queues/"
    answer = signed_in.do(page, f"{page}default/pause/", {"reason": claimed}, unix=unix, X_Forwarded_For=claimed)
    assert (answer.status, answer.header("Location")) == (302, page)
    assert f">{noted}<" in signed_in.ask("/ops/admin/jobs/auditentry/").text
