"""A site that has used django-rq for years: the engine beside it, in the same Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.sites.conftest import Make
from tests.sites.project import Project

SETTINGS = 'from rq_site.settings import *\nINSTALLED_APPS.append("rq_site")\n'
SITE = ROOT / "tests" / "sites" / "rq_site"


def notes(site: Project) -> list[str]:
    """What its tasks wrote, sorted."""
    return sorted(Path(site.env["NOTES"]).read_text().splitlines())


@pytest.fixture
def site(make: Make, redis_server: str) -> Project:
    """The site, with its queues in the test's Redis, and an empty database."""
    files = {f"rq_site/{path.name}": path.read_text() for path in SITE.glob("*.py")}
    made = make(settings=SETTINGS, files=files, redis=redis_server)
    made.env["NOTES"] = str(made.folder / "notes")
    Path(made.env["NOTES"]).touch()
    made.manage("migrate", "--verbosity", "0")
    return made


BESIDE = """
from datetime import timedelta
from django.utils import timezone
from handlers import job_scheduler
from host.jobs import Note
from rq_site import tasks

job_scheduler.enqueue_many([Note()] * 3)
tasks.start()
job_scheduler.schedule(Note(), timezone.now() - timedelta(seconds=1))
job_scheduler.enqueue(Note(), delay=timedelta(hours=1))
tell(True)
"""
PROMOTE = """
import django_rq
django_rq.get_scheduler("default").run(burst=True)
tell(True)
"""
PROMOTE_OURS = """
from handlers.rq_transport.delayed import DelayedScheduler
DelayedScheduler().run(burst=True)
tell(True)
"""
STATES = """
import django_rq
from collections import Counter
from handlers.models import JobRecord

tell({
    "ours": Counter(JobRecord.objects.values_list("state", flat=True)),
    "failed": {name: len(django_rq.get_queue(name).failed_job_registry) for name in ("default", "high", "low")},
    "delayed": sorted(job.id for job in django_rq.get_scheduler("default").get_jobs() if "nightly" in job.id),
    "count": django_rq.get_scheduler("default").count(),
})
"""


@pytest.mark.redis
@pytest.mark.once
def test_workers_of_pickles_and_ours_share_names_and_a_redis_and_leave_each_other_alone(site: Project) -> None:
    assert "no issues" in site.manage("check")
    site.told(BESIDE)
    site.told(PROMOTE)
    site.manage("rqworker", "high", "default", "low", "--burst")
    assert notes(site) == sorted([
        "welcome 1 de", "charge 7", "report monday", "report tuesday", "report often", "report now", "told report None",
    ])  # fmt: skip
    found = site.told(STATES)
    assert found == {
        "ours": {"enqueued": 3, "scheduled": 2},
        "failed": dict.fromkeys(("default", "high", "low"), 0),  # the one that failed waits for its retry
        "delayed": ["nightly"],
        "count": 2,
    }
    site.told(PROMOTE_OURS)
    site.manage("worker", "--burst")
    after = site.told(STATES)
    assert after == found | {"ours": {"succeeded": 4, "scheduled": 1}}
