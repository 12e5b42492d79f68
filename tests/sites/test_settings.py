"""What a site's settings may get wrong, and what ``manage.py check`` says of it."""

from __future__ import annotations

import pytest

from tests.processes import ROOT
from tests.sites.conftest import Make

# A variant's name -> its settings, and what is said of them.
WRONG = {
    "wall clocks": ("USE_TZ = False", "(jobs.E006) USE_TZ is False"),
    "one queue for a list": ('JOBS["QUEUES"] = "default"', "JOBS: QUEUES must be a list of names"),
    "a URL without a scheme": (
        'JOBS["REDIS_URL"] = "127.0.0.1:6379/0"',
        "JOBS: REDIS_URL: it must begin with redis://",
    ),
    "a URL that is none": ('JOBS["REDIS_URL"] = "redis://:s3cret#1@host:6379/0"', "JOBS: REDIS_URL: it holds a #"),
    "an option of no URL": ('JOBS["REDIS_URL"] = "redis://host:6379/0?s3=1"', "(jobs.E009) JOBS REDIS_URL names"),
    "days as words": ('JOBS["RETENTION_DAYS"] = {"succeeded": "7"}', "RETENTION_DAYS: 'succeeded' must be a number"),
    "no settings": ("del JOBS", "(jobs.E009) No Redis is configured"),
    "no settings that say where": ('JOBS = {"REDIS_URL": None}', "(jobs.E009) No Redis is configured"),
    "an older driver": (
        """
        import sys
        sys.modules["psycopg"] = None
        DATABASES["default"] = {"ENGINE": "django.db.backends.postgresql", "NAME": "never_opened"}
        """,
        "(jobs.E007) The database 'default' is reached by psycopg2",
    ),
    "another server by its host": (
        """
        JOBS = {"REDIS_URL": "redis://127.0.0.1:6379/0"}
        RQ_QUEUES = {"default": {"HOST": "queues.example.com", "PORT": 6379, "SERIALIZER": "json"}}
        """,
        "(jobs.E004) RQ_QUEUES['default'] is on another server",
    ),
    "another database by its number": (
        """
        JOBS = {"REDIS_URL": "redis://127.0.0.1:6379/0"}
        RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": 6379, "DB": 2, "SERIALIZER": "json"}}
        """,
        "(jobs.E004) RQ_QUEUES['default'] is on another server",
    ),
    "queues on two servers": (
        """
        JOBS = {"QUEUES": ["default", "mail"]}
        RQ_QUEUES = {
            "default": {"HOST": "127.0.0.1", "PORT": 6379, "SERIALIZER": "json"},
            "mail": {"HOST": "127.0.0.1", "PORT": 6380, "SERIALIZER": "json"},
        }
        """,
        "(jobs.E004) RQ_QUEUES['mail'] is on another server",
    ),
    "a wall clock in SQLite": (
        """
        DATABASES["default"] = {
            "ENGINE": "django.db.backends.sqlite3", "NAME": "never_opened", "TIME_ZONE": "America/New_York",
        }
        """,
        "(jobs.E008) DATABASES['default']['TIME_ZONE']",
    ),
    "a console without its engine": ('INSTALLED_APPS.remove("handlers")', "'dashboard', needs 'handlers' beside it"),
    "a console without the admin": ('INSTALLED_APPS.remove("django.contrib.admin")', "needs 'django.contrib.admin'"),
    "a console that is not mounted": ('ROOT_URLCONF = "host.bare"', "(dashboard.E001) The console is installed"),
    "no sessions": (
        'MIDDLEWARE.remove("django.contrib.sessions.middleware.SessionMiddleware")',
        "(admin.E410) 'django.contrib.sessions.middleware.SessionMiddleware' must be in MIDDLEWARE",
    ),
    "nobody is signed in": (
        'MIDDLEWARE.remove("django.contrib.auth.middleware.AuthenticationMiddleware")',
        "(admin.E408) 'django.contrib.auth.middleware.AuthenticationMiddleware' must be in MIDDLEWARE",
    ),
    "no messages": (
        'MIDDLEWARE.remove("django.contrib.messages.middleware.MessageMiddleware")',
        "(admin.E409) 'django.contrib.messages.middleware.MessageMiddleware' must be in MIDDLEWARE",
    ),
    "templates that know nobody": (
        """TEMPLATES[0]["OPTIONS"]["context_processors"] = ["django.template.context_processors.request"]""",
        "(admin.E402) 'django.contrib.auth.context_processors.auth' must be enabled in DjangoTemplates",
    ),
    "a console in a namespace": ('ROOT_URLCONF = "host.inside"', "(dashboard.E001) The console is installed"),
}
URLS = {
    "host/bare.py": "urlpatterns = []",
    "host/inside.py": """
from django.urls import include, path
urlpatterns = [path("jobs/", include(("dashboard.urls", "ours")))]
""",
}
RIGHT = {
    "the engine alone": 'INSTALLED_APPS.remove("dashboard")\nROOT_URLCONF = "host.bare"',
    "as it is": "pass",
    "without RQ's commands": 'INSTALLED_APPS.remove("django_rq")',
    "the queue server of manage.py run": 'JOBS = {"REDIS_URL": "embedded"}',
    "one server in other words": """
        JOBS = {"REDIS_URL": "redis://localhost:6379/2"}
        RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": 6379, "DB": 2, "SERIALIZER": "json"}}
        """,
    "RQ's queues alone": """
        del JOBS
        RQ_QUEUES = {"default": {"URL": "redis://127.0.0.1:6379/0", "SERIALIZER": "json"}}
        """,
    "UTC, said twice": """
        DATABASES["default"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": "never_opened", "TIME_ZONE": "UTC"}
        """,
}


@pytest.mark.once
def test_check_names_each_setting_that_would_fail_later(make: Make) -> None:
    said = make(files=URLS).checks({name: settings for name, (settings, _) in WRONG.items()} | RIGHT)
    missed = {name: said[name] for name, (_, expected) in WRONG.items() if expected not in said[name]}
    assert missed == {}
    assert {name: said[name] for name in RIGHT if "jobs." in said[name] or "no issues" not in said[name]} == {}
    assert "s3cret" not in str(said)


@pytest.mark.once
def test_check_says_that_the_console_came_without_its_templates(make: Make) -> None:
    site = make()
    (site.folder / "dashboard").symlink_to(ROOT / "dashboard")
    said = site.checks({"copied": "pass"})["copied"]
    assert f"(dashboard.E004) The console's templates are not in {site.folder / 'templates'}" in said


@pytest.mark.once
def test_check_names_a_package_of_the_site_that_hides_the_console(make: Make) -> None:
    site = make(files=URLS | {"dashboard/__init__.py": ""})
    own = 'ROOT_URLCONF = "host.bare"\nSILENCED_SYSTEM_CHECKS = ["jobs.E015"]'
    said = site.checks({"hidden": "pass", "not wanted": own})
    assert said["hidden"].startswith("ImproperlyConfigured: INSTALLED_APPS: 'dashboard' is the site's own package in")
    assert str(site.folder / "dashboard") in said["hidden"]
    assert "rename it" in said["hidden"]
    assert "\n" not in said["hidden"].strip()
    assert "no issues" in said["not wanted"]


@pytest.mark.once
def test_check_names_a_module_of_the_site_that_hides_the_engine(make: Make) -> None:
    site = make(files={"handlers.py": ""})
    said = site.checks({"hidden": "pass"})["hidden"]
    assert said.startswith("ImproperlyConfigured: INSTALLED_APPS: 'handlers' is the site's own module in")
    assert str(site.folder) in said
    assert "rename it" in said


TIMES = """
from datetime import timedelta
from django.utils import timezone
from handlers import job_scheduler, lifecycle
from handlers.models import JobHistory, JobRecord
from handlers.transport import Message
from host.jobs import Note

at = timezone.now() + timedelta(hours=1)
scheduled = JobRecord.objects.get(pk=job_scheduler.schedule(Note(), at))
delayed = JobRecord.objects.get(pk=job_scheduler.enqueue(Note(), delay=timedelta(hours=2)))
row = JobRecord.objects.get(pk=job_scheduler.enqueue(Note()))
lifecycle.claim([Message(row.pk, row.token, row.queue)], worker="host-1.1.0", lease=timedelta(seconds=15))
claimed = JobRecord.objects.get(pk=row.pk)
tell({
    "late": (scheduled.run_at - at).total_seconds(),
    "delay": (delayed.run_at - delayed.created_at).total_seconds(),
    "due_in": lifecycle.agenda().due_in,
    "waited": JobHistory.objects.get(job_id=row.pk).data["latency_seconds"],
    "lease": (claimed.lease_expires_at - claimed.started_at).total_seconds(),
    "expired": len(lifecycle.expire_leases(max_crashes=3).moved),
})
"""


@pytest.mark.postgresql
def test_times_are_right_in_a_database_with_a_time_zone(make: Make) -> None:
    site = make(settings='DATABASES["default"]["TIME_ZONE"] = "America/New_York"', migrated=True)
    found = site.told(TIMES)
    assert found["late"] == 0
    assert found["delay"] == 7200
    assert 3590 < found["due_in"] <= 3600
    assert 0 <= found["waited"] < 60
    assert found["lease"] == 15
    assert found["expired"] == 0
