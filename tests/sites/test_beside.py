"""The console in a site that has admins, templates, tags and languages of its own."""

from __future__ import annotations

import pytest

from tests.sites.conftest import Make
from tests.sites.project import Project

pytestmark = pytest.mark.once

URLS = """
from django.contrib import admin
from django.urls import include, path

backoffice = admin.AdminSite(name="backoffice")
urlpatterns = [
    path("admin/", admin.site.urls),
    path("ops/jobs/", include("dashboard.urls")),
    path("backoffice/", backoffice.urls),
]
"""
SETTINGS = """
TEMPLATES[0]["DIRS"] = ["shop_templates"]
INSTALLED_APPS.append("shop")
MIDDLEWARE.insert(1, "django.middleware.locale.LocaleMiddleware")
MIDDLEWARE.append("django.contrib.auth.middleware.LoginRequiredMiddleware")
USE_THOUSAND_SEPARATOR = True
"""
FILES = {
    "host/urls.py": URLS,
    "shop/__init__.py": "",
    "shop/templatetags/__init__.py": "",
    "shop/templatetags/console.py": """
from django import template

register = template.Library()


@register.simple_tag
def shop_name():
    return "Shop of the host"
""",
    "shop_templates/admin/base_site.html": """
{% extends "admin/base.html" %}{% load console %}
{% block branding %}<h1>{% shop_name %}</h1>{% endblock %}
{% block nav-breadcrumbs %}{% endblock %}
""",
    "shop_templates/admin/login.html": "Sign in, says {% load console %}{% shop_name %}",
    "shop_templates/dashboard/kit/page.html": "The host's own dashboard",
}
FILL = """
from django.contrib.auth import get_user_model
from django.core.management.color import no_style
from django.db import connection
from django.utils import timezone
from handlers import job_scheduler
from handlers.folding import fold_all
from handlers.models import AuditEntry, BulkOperation, JobRecord, QueueSwitch, StoredPolicy, WorkerProcess
from handlers.selection import Selection
from handlers.states import State
from host.jobs import Broken
from tests.console.factories import make_job, one_of_each
from tests.running import run

User = get_user_model()
User.objects.create_superuser("boss", "", "x", pk=4321)
User.objects.create_user("vera", "", "x", is_staff=True, pk=5432)
JobRecord.objects.create(pk=4999, state="deleted", token="t", job_type="x", queue="default", created_at=timezone.now())
StoredPolicy.objects.create(pk=1233, name="old", updated_at=timezone.now())
BulkOperation.objects.create(pk=2344, verb="retry", selection={}, upper_id=1, count=1234, state="done",
                             created_at=timezone.now(), progressed_at=timezone.now(), moved=1234)
for sql in connection.ops.sequence_reset_sql(no_style(), [User, JobRecord, StoredPolicy, BulkOperation]):
    with connection.cursor() as cursor:
        cursor.execute(sql)
boss = User.objects.get(username="boss")
jobs = one_of_each()
parent = jobs[0]
failed = [make_job(job_type="host.Note", fingerprint="f" * 16, parent_id=parent.pk, correlation="c" * 8, payload={})
          for _ in range(3)]
succeeded = make_job(State.SUCCEEDED, job_type="host.Note", payload={})
job_scheduler.delete(make_job(State.FAILED, job_type="host.Note").pk, by=boss, reason="1234")
StoredPolicy.objects.create(name="slow", updated_at=timezone.now(), delay_seconds=1234.5, jitter=0.25)
job_scheduler.start_bulk("retry", Selection(ids=(failed[2].pk,)), by=boss, rate_per_second=1234.5, canary=1)
WorkerProcess.objects.create(name="host-1.1234.0", host="host-1", pid=12345, kind="worker", queues=["default"],
    started_at=timezone.now(), heartbeat_at=timezone.now(), job_id=jobs[3].pk, job_since=timezone.now(), done=12345)
broken = [job_scheduler.enqueue(Broken(), by=boss) for _ in range(2)]
run(*broken)
fold_all()
tell({
    "failed": failed[0].pk, "parent": parent.pk, "succeeded": succeeded.pk, "retrying": broken[0],
    "policy": StoredPolicy.objects.get(name="slow").pk,
    **{language: make_job(State.FAILED, job_type="host.Note", payload={}).pk for language in ("de", "fr", "ar")},
})
"""


@pytest.fixture(scope="module")
def site(make: Make) -> Project:
    """A site with two admins of its own, and ids of four figures."""
    return make(settings=SETTINGS, files=FILES, migrated=True)


@pytest.fixture(scope="module")
def facts(site: Project) -> dict[str, int]:
    """Which rows the site was filled with."""
    filled: dict[str, int] = site.told(FILL)
    return filled


LOOK = """
import json, os
from django.contrib.auth import get_user_model
from handlers.models import JobRecord
from tests.sites.crawl import Page, crawl, localised, strays

PREFIX = "/ops/jobs/"
facts = json.loads(os.environ["FACTS"])
START = [PREFIX, *(f"{PREFIX}jobs/jobrecord/{facts[name]}/change/" for name in ("parent", "succeeded", "retrying"))]
client = Client()
client.force_login(get_user_model().objects.get(username="boss"))
"""
BESIDE = """
def text(path, of=client):
    return of.get(path).content.decode()

def is_console(html):
    return "jobs-console" in html and "Shop" not in html

pages = crawl(client, PREFIX, START)
policy = f"/ops/jobs/retry-policies/{facts['policy']}/"
form = {"name": "slow", "max_attempts": 5, "backoff": "fixed", "delay_seconds": 5, "factor": 2, "jitter": 0,
        "on_exhausted": "fail", "version": 1, "do": "save"}
moves = {
    "aged out": client.get("/ops/jobs/jobs/jobrecord/999999/change/"),
    "history": client.get(f"/ops/jobs/jobs/jobrecord/{facts['failed']}/history/"),
    "saved": client.post(policy, form),
    "assigned": client.post(f"{policy}types/", {"shown": ["host.Note"], "types": ["host.Note"]}),
    "stale": client.post(f"{policy}delete/", {"version": "1"}),
}
anonymous = Client()
tell({
    "wrong": [(page.address, page.status) for page in pages if page.status not in (200, 302)],
    "strays": sorted({stray for page in pages for stray in strays(page, PREFIX)}),
    "redirects": [page.location for page in pages if page.location and not page.location.startswith(PREFIX)],
    "unlike": [page.address for page in pages if page.html and not is_console(page.html)],
    "pages": len(pages),
    "moves": {name: (answer.status_code, answer.headers.get("Location")) for name, answer in moves.items()},
    "admins": [
        "Shop of the host" in (html := text(path)) and "console" not in html for path in ("/admin/", "/backoffice/")
    ],
    "host login": "Sign in, says Shop" in text("/admin/login/", anonymous),
    "login": is_console(text("/ops/jobs/login/", anonymous)),
    "logout": anonymous.get("/ops/jobs/").headers["Location"],
})
"""


def test_console_and_the_sites_own_admins_leave_each_other_alone(site: Project, facts: dict[str, int]) -> None:
    assert "no issues" in site.manage("check")
    told = site.told(LOOK + BESIDE, FACTS=str(facts).replace("'", '"'))
    assert told["pages"] > 40
    assert (told["wrong"], told["strays"], told["redirects"], told["unlike"]) == ([], [], [], [])
    policy = f"/ops/jobs/retry-policies/{facts['policy']}/"
    assert told["moves"] == {
        "aged out": [302, "/ops/jobs/jobs/jobrecord/"],
        "history": [302, f"/ops/jobs/jobs/jobrecord/{facts['failed']}/change/"],
        "saved": [302, policy],
        "assigned": [302, policy],
        "stale": [302, policy],
    }
    assert told["admins"] == [True, True]
    assert told["host login"]
    assert told["login"]
    assert told["logout"] == "/ops/jobs/login/?next=/ops/jobs/"


LANGUAGES = """
found, answers = {}, {}
for language in ("de", "fr", "ar"):
    client = Client(headers={"accept-language": language})
    client.force_login(get_user_model().objects.get(username="boss"))
    pages = crawl(client, PREFIX, START)
    shown = [page.html for page in pages if f'lang="{language}"' in page.html]
    found[language] = {
        "pages": len(shown),
        "wrong": [(page.address, page.status) for page in pages if page.status not in (200, 302)],
        "localised": sorted({f"{page.address}: {number}" for page in pages for number in localised(page)}),
    }
    address = f"{PREFIX}jobs/jobrecord/{facts[language]}/"
    page = Page(address, 200, "", client.get(f"{address}change/").content.decode())
    expect = [attributes["value"] for _, attributes, _ in page.elements if attributes.get("name") == "expect"]
    client.post(f"{address}retry/", {"expect": expect[0]})
    answers[language] = JobRecord.objects.get(pk=facts[language]).state
tell({"found": found, "answers": answers})
"""


def test_no_number_for_machines_is_written_as_people_of_one_country_do(site: Project, facts: dict[str, int]) -> None:
    told = site.told(LOOK + LANGUAGES, FACTS=str(facts).replace("'", '"'))
    for found in told["found"].values():
        assert found["pages"] > 40
        assert (found["wrong"], found["localised"]) == ([], [])
    assert set(told["answers"].values()) == {"enqueued"}
