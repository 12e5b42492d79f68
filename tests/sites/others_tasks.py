"""Other people's tasks as durable jobs, their code unchanged: Wagtail's, django-maintenance-tasks', periodic tasks.

    python3.13 -m venv VENV
    VENV/bin/pip install -r requirements.txt wagtail==8.0.1 django-maintenance-tasks==0.2.1
    VENV/bin/pip install django-periodic-tasks==0.2.1
    VENV/bin/python -m tests.sites.others_tasks

By hand, since it needs all of these, on Django 6. Wagtail's tasks are those of the package ``django-tasks``, the others
are Django's own, so both are there at once. It makes a site, has each app enqueue what it does, and runs a real worker.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests import servers
from tests.sites.project import Project

SETTINGS = """
INSTALLED_APPS += [
    "wagtail.users", "wagtail.images", "wagtail.documents", "wagtail.search", "wagtail.admin", "wagtail", "taggit",
    "modelcluster", "maintenance_tasks", "django_periodic_tasks",
]
TASKS = {"default": {"BACKEND": "handlers.tasks.DurableBackend", "QUEUES": []}}
WAGTAIL_SITE_NAME, WAGTAILADMIN_BASE_URL = "others", "http://testserver"
MEDIA_ROOT = BASE / "media"
"""
MAINTENANCE = """
from django.contrib.auth.models import User
from maintenance_tasks.task import MaintenanceTask

class Greet(MaintenanceTask):
    def collection(self):
        return User.objects.all()

    def process(self, user):
        User.objects.filter(pk=user.pk).update(first_name="greeted")
"""
TASKS = """
from django.tasks import task
from django_periodic_tasks.decorators import exactly_once

@task
def plain(name, loud=False):
    return name.upper() if loud else name

@task
@exactly_once
def once(name):
    return name
"""
ENQUEUE = """
import os
from io import BytesIO

from django.contrib.auth.models import User
from django.core.files.images import ImageFile
from django.db import transaction
from django_periodic_tasks.enqueue import enqueue_scheduled_task
from django_periodic_tasks.models import ScheduledTask
from handlers.models import JobRecord
from maintenance_tasks import runner
from PIL import Image as Picture
from wagtail.images.models import Image
from wagtail.models import Page

User.objects.create(username="ann")
file = BytesIO()
Picture.new("RGB", (20, 20)).save(file, "PNG")
file.seek(0)
image = Image.objects.create(title="a dot", file=ImageFile(file, name="dot.png"))
path = image.file.path
image.delete()
Page.get_first_root_node().add_child(title="News", slug="news")
runner.start("host.maintenance_tasks.Greet")
for number, (name, kwargs) in enumerate({"host.tasks.plain": {"loud": True}, "host.tasks.once": {}}.items()):
    rule = ScheduledTask.objects.create(
        name=name, task_path=name, cron_expression="0 0 1 1 *", args=["ann"], kwargs=kwargs, queue_name="periodic"
    )
    enqueue_scheduled_task(rule)
types = sorted(set(JobRecord.objects.values_list("job_type", flat=True)))
tell({"types": types, "path": path, "there": os.path.exists(path)})
"""
LOOK = """
import os
import django_tasks
from django.contrib.auth.models import User
from django.tasks import task_backends
from handlers.models import JobRecord
from maintenance_tasks.models import Run
from wagtail.tasks import delete_file_from_storage_task

jobs = {job.job_type: job for job in JobRecord.objects.order_by("pk")}
deleted = delete_file_from_storage_task.get_result(str(jobs["wagtail.tasks.delete_file_from_storage_task"].pk))
plain = task_backends["default"].get_result(str(jobs["host.tasks.plain"].pk))
tell({
    "states": sorted(JobRecord.objects.values_list("job_type", "state", "error").distinct()),
    "there": os.path.exists(os.environ["GONE"]),
    "greeted": User.objects.get(username="ann").first_name,
    "run": Run.objects.get().status,
    "plain": plain.return_value,
    "families": [isinstance(deleted, django_tasks.TaskResult), isinstance(plain, django_tasks.TaskResult)],
})
"""


def main() -> int:
    """Try it; the exit status."""
    with tempfile.TemporaryDirectory(prefix="jobsite-others-") as made, servers.valkey(Path(made) / "redis") as redis:
        site = Path(made) / "site"
        settings = f"from pathlib import Path\nBASE = Path({str(site)!r})\n{SETTINGS}"
        files = {
            "host/tasks.py": TASKS,
            "host/maintenance_tasks.py": MAINTENANCE,
        }
        project = Project(
            site, f"sqlite:///{made}/db.sqlite3", redis=redis, settings=settings, files=files, patience=600
        )
        project.manage("migrate", "-v0")
        told: dict[str, Any] = project.told(ENQUEUE)
        print("job types:", *told["types"], sep="\n    ")
        project.manage("worker", "--burst", "--processes", "1")
        found: dict[str, Any] = project.told(LOOK, GONE=told["path"])
        for name, state, error in found.pop("states"):
            print(f"{state:12}{name} {error}")
            if not error.startswith("DoesNotExist: Image"):  # it is deleted by the time that Wagtail's search asks
                assert state == "succeeded", name
        print(found)
        assert told["there"]
        assert not found["there"], "Wagtail's task has deleted the file"
        assert (found["greeted"], found["run"], found["plain"]) == ("greeted", "succeeded", "ANN")
        assert found["families"] == [True, False], "each package's results are its own"
    return 0


if __name__ == "__main__":
    sys.exit(main())
