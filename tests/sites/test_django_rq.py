"""A site that has used django-rq for years: the engine beside it, in the same Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.sites.conftest import Make
from tests.sites.project import Project

SETTINGS = 'from rq_site.settings import *\nINSTALLED_APPS.append("rq_site")\n'
ADOPTED = (
    SETTINGS
    + """
RQ = {
    "QUEUE_CLASS": "handlers.adoption.DurableQueue",
    "SCHEDULER_CLASS": "handlers.adoption.DurableScheduler",
    "JOB_CLASS": "handlers.adoption.DurableJob",
}
"""
)
SITE = ROOT / "tests" / "sites" / "rq_site"


def notes(site: Project) -> list[str]:
    """What its tasks wrote, sorted."""
    return sorted(Path(site.env["NOTES"]).read_text().splitlines())


@pytest.fixture
def site(make: Make, redis_server: str, request: pytest.FixtureRequest) -> Project:
    """The site, with its queues in the test's Redis, and a database without jobs; the parameter is its settings."""
    files = {f"rq_site/{path.name}": path.read_text() for path in SITE.glob("*.py")}
    made = make(settings=getattr(request, "param", SETTINGS), files=files, redis=redis_server, migrated=True)
    made.env["NOTES"] = str(made.folder / "notes")
    Path(made.env["NOTES"]).touch()
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


START = """
from rq_site import tasks
from handlers.models import JobRecord, RecurringJob, JobPayload

tasks.start()
tell({
    "jobs": sorted([r.job_type, r.queue, r.state, r.arguments.data["args"]] for r in JobRecord.objects.all()),
    "recurring": [[r.name, r.cron, r.zone] for r in RecurringJob.objects.all()],
})
"""
PLAIN = """
import django_rq
from datetime import datetime
from decimal import Decimal
from rq_site import tasks

tell(django_rq.enqueue(tasks.price, Decimal("1.50"), datetime(2026, 11, 29)).id)
"""
ENDS = """
from handlers.models import JobRecord, JobHistory
tell(sorted([r.job_type, r.state, r.attempt, r.error, r.result] for r in JobRecord.objects.all()))
"""


@pytest.mark.redis
@pytest.mark.parametrize("site", [ADOPTED], indirect=True)
def test_by_settings_alone_the_jobs_of_a_site_are_durable_and_its_code_is_what_it_was(site: Project) -> None:
    assert "no issues" in site.manage("check")
    found = site.told(START)
    assert found["jobs"] == sorted([  # type: ignore[type-var]
        ["rq.rq_site.tasks.welcome", "default", "enqueued", [1]],
        ["rq.rq_site.tasks.charge", "high", "enqueued", [7]],
        ["rq.rq_site.tasks.report", "low", "enqueued", ["monday"]],
        ["rq.rq_site.tasks.report", "low", "awaiting", ["tuesday"]],
        ["rq.rq_site.tasks.report", "low", "scheduled", ["later"]],
        ["rq.rq_site.tasks.report", "default", "enqueued", ["often"]],
        ["rq.rq_site.tasks.report", "default", "awaiting", ["often"]],
        ["rq.rq_site.tasks.report", "default", "awaiting", ["often"]],
        ["rq.rq_site.tasks.report", "default", "scheduled", ["now"]],
        ["rq.rq_site.tasks.report", "default", "scheduled", ["tomorrow"]],
    ])  # fmt: skip
    assert found["recurring"] == [["nightly", "0 6 * * *", "UTC"]]
    site.told(PROMOTE_OURS)
    site.manage("worker", "--burst")
    assert notes(site) == sorted([
        "welcome 1 de", "charge 7", "report monday", "report tuesday", "report often", "told report None", "report now",
    ])  # fmt: skip
    site.told(PLAIN)
    site.manage("rqworker", "default", "--burst")
    assert "price 1.50 2026" in notes(site), "RQ's own worker runs what stayed RQ's own, with these classes too"
    ends = {(name.removeprefix("rq.rq_site.tasks."), state): rest for name, state, *rest in site.told(ENDS)}
    assert ends["welcome", "succeeded"] == [1, "", "welcomed 1"]
    assert ends["charge", "scheduled"] == [1, "ValueError: the card was refused", None]
