"""The package as people get it: built, installed where nothing else is, in a fresh site."""

from __future__ import annotations

import json
import re
import secrets
import tarfile
import zipfile
from pathlib import Path
from urllib.error import HTTPError

import dj_database_url
import psycopg
import pytest

from tests import pythons
from tests.matrix import NEWEST, OLDEST
from tests.package.conftest import Install
from tests.package.site import Site, Visitor, steps
from tests.processes import ROOT, wait_for
from tests.servers import free_port

pytestmark = pytest.mark.once

MEMBERS = """
from django.contrib.auth.models import AbstractUser


class Member(AbstractUser):
    pass
"""
OWN_USERS = 'INSTALLED_APPS += ["members"]\nAUTH_USER_MODEL = "members.Member"\n'


# As the pages of docs/ about each have a site do it.
API = 'urlpatterns += [path("api/v1/", include("handlers.api.urls"))]\n'
METRICS = 'urlpatterns += [path("", include("handlers.metrics.urls"))]\n'
# The least that can be a provider: what it is asked for is a line in a file, whichever process asks.
TRACED = """
from pathlib import Path

from django.apps import AppConfig
from opentelemetry import trace


class Tracer(trace.NoOpTracer):
    def start_span(self, name, *args, **options):
        with Path("spans").open("a") as file:
            file.write(f"{name}\\n")
        return super().start_span(name, *args, **options)


class Provider(trace.TracerProvider):
    def get_tracer(self, *args, **options):
        return Tracer()


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        trace.set_tracer_provider(Provider())
"""


def test_wheel_and_sdist_carry_all_that_the_checkout_has(built: Path, wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for package in ("dashboard", "handlers", "jobsite"):
        wanted = {
            str(path.relative_to(ROOT))
            for path in (ROOT / package).rglob("*")
            if path.is_file() and path.suffix != ".pyc" and path.name != "bootstrap.py"
        }
        assert wanted - inside == set()
        assert f"{package}/py.typed" in inside
    pages = {str(path.relative_to(ROOT / "templates")) for path in (ROOT / "templates").rglob("*.html")}
    packed = {name.split("/", 2)[2] if "pages" in name else name.split("/", 3)[3] for name in inside if ".html" in name}
    assert packed == pages
    assert {name.split("/")[0] for name in inside if ".dist-info" not in name} == {"dashboard", "handlers", "jobsite"}
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "manage.py", "templates/dashboard/site/admin/base_site.html", "LICENSE"} <= names


def test_guide_has_people_write_to_three_files() -> None:
    assert list(steps()) == ["shop/settings.py", "shop/urls.py", "shop/jobs.py"]


@pytest.mark.parametrize(
    ("django", "database", "own_users"),
    [("5.2", "sqlite", False), ("5.2", "postgresql", True), ("6.1", "sqlite", True), ("6.1", "postgresql", False)],
)
def test_fresh_site_runs_a_job_that_its_console_shows(
    install: Install, tmp_path: Path, request: pytest.FixtureRequest, django: str, database: str, own_users: bool
) -> None:
    version, age = ("3.11", OLDEST) if django == "5.2" else (list(pythons.found())[-1], NEWEST)
    if age == NEWEST and version == "3.11":
        pytest.skip(f"no Python that Django {django} runs on")
    site = Site(tmp_path, install(version, django, age))
    if own_users:
        site.write("members/__init__.py", "")
        site.write("members/migrations/__init__.py", "")
        site.write("members/models.py", MEMBERS)
        site.write("shop/settings.py", OWN_USERS)
        site.manage("makemigrations", "members")
    if database == "postgresql":
        parsed = dj_database_url.parse(request.getfixturevalue("postgresql"))
        # No more than people write by hand: what it adds might be taken for granted.
        config = {name: parsed[name] for name in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")}
        config["NAME"] = f"site_{secrets.token_hex(4)}"
        with psycopg.connect(request.getfixturevalue("postgresql"), autocommit=True) as server:
            server.execute(f"CREATE DATABASE {config['NAME']}")
        site.write("shop/settings.py", f"DATABASES = {{'default': {config}}}\n")
    with_extras = age == NEWEST
    if with_extras:
        site.write("shop/urls.py", API)
        site.write("shop/apps.py", TRACED)
    elif not own_users:
        say_what_to_install(site)
    site.write("shop/urls.py", METRICS)
    site.write("shop/settings.py", 'JOBS["METRICS_LOOPBACK"] = True\n')
    assert "no issues" in site.manage("check")
    assert "No changes" in site.manage("makemigrations", "--check", "--dry-run")

    with site.run(free_port()) as lines:
        told = "\n".join(lines)
        address = re.findall(r"^The console is at (\S+)$", told, re.MULTILINE)[0]
        name, password = re.findall(r"^Log in as (\S+), password (\S+)$", told, re.MULTILINE)[0]
        person = Visitor(address)
        assert "Overview" in person.fill_in("login/?next=/jobs/", username=name, password=password)
        assert "Django administration" in person.get("/admin/")
        stylesheets = re.findall(r'href="(/static/dashboard/[^"]+\.css)"', person.get(""))
        assert stylesheets
        assert all(person.get(each) for each in stylesheets)

        answer = person.fill_in("job-types/shop.Greet/enqueue/", **{"arg-name": "Ada"})
        job = re.findall(r'href="([^"]+/change/)"[^>]*>job \d+<', answer)[0]
        wait_for("the job's page shows what it returned", lambda: "Hello, Ada!" in person.get(job))
        assert site.manage("worker", "--burst")
        if with_extras:
            use_extras(site, person)
        else:
            with pytest.raises(HTTPError) as refused:
                person.get("/metrics")
            assert refused.value.read().decode().strip().endswith('pip install "jobsite[metrics]"')
        if version == "3.11" and not own_users:
            see_changed_code(site, person, lines)


def use_extras(site: Site, person: Visitor) -> None:
    """The API, the metrics and the traces of a site that has run a job."""
    served, kept = (
        json.loads(text) for text in (person.get("/api/v1/openapi.json"), (ROOT / "docs/openapi.json").read_text())
    )
    assert served["paths"].keys() == kept["paths"].keys()
    wait_for(
        "the attempt is counted",
        lambda: (
            'jobs_outcomes_total{outcome="succeeded",queue="default",type="shop.Greet"} 1.0' in person.get("/metrics")
        ),
    )
    spans = set((site.folder / "spans").read_text().splitlines())
    assert {"create default", "send default", "receive default", "process default"} <= spans


def say_what_to_install(site: Site) -> None:
    """One that has none of the extras says so in one line, wherever it is asked for what they are for."""
    urls = site.folder / "shop" / "urls.py"
    before = urls.read_text()
    site.write("shop/urls.py", API)
    for wanted, command in {"api": ["check"], "mcp": ["jobs_mcp", "--url=http://localhost/api/v1"]}.items():
        with pytest.raises(AssertionError) as told:
            site.manage(*command)
        assert f'pip install "jobsite[{wanted}]"' in str(told.value).strip().splitlines()[-1]
    urls.write_text(before)


def see_changed_code(site: Site, person: Visitor, lines: list[str]) -> None:
    """What has read the site's code starts again when that changes."""
    code = site.folder / "shop" / "jobs.py"
    code.write_text(code.read_text().replace("Hello", "Good day"))
    wait_for("the change is seen", lambda: any("jobs.py changed; starting" in line for line in lines))
    wait_for("the web server has seen it, too", lambda: sum("Quit the server" in line for line in lines) > 1)
    wait_for("it answers again", person.is_answered)
    answer = person.fill_in("job-types/shop.Greet/enqueue/", **{"arg-name": "Bob"})
    job = re.findall(r'href="([^"]+/change/)"[^>]*>job \d+<', answer)[0]
    wait_for("the new code has run", lambda: "Good day, Bob!" in person.get(job))
