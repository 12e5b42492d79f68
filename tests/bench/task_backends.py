"""This backend of Django's Tasks beside others, on one PostgreSQL, in one run: django-tasks-db and django-ox.

    python3.13 -m venv VENV
    VENV/bin/pip install -r requirements.txt -r requirements-tests.txt django-tasks-db==0.13.0 django-ox==1.9.1
    VENV/bin/python -m tests.bench.task_backends

By hand, since it needs both. Calls one at a time, in turns; then tasks that do nothing, by two processes of each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests import servers
from tests.sites.project import Project

SETTINGS = """
INSTALLED_APPS += ["django_tasks_db", "django_ox"]
TASKS = {
    "default": {"BACKEND": "handlers.tasks.DurableBackend"},
    "db": {"BACKEND": "django_tasks_db.DatabaseBackend"},
    "ox": {"BACKEND": "django_ox.backend.OxBackend"},
}
"""
TASKS = """
from django.tasks import task

@task
def noop():
    pass
"""
CALLS = """
import time
from django.db import connection
from host.tasks import noop

tasks = {name: noop.using(backend=name) for name in ("default", "db", "ox")}
rates = {name: [] for name in tasks}
for turn in range(13):
    for name in list(tasks)[:: 1 if turn % 2 else -1]:
        began = time.perf_counter()
        for _ in range(50):
            tasks[name].enqueue()
        if turn:
            rates[name].append(50 / (time.perf_counter() - began))
for _ in range(10):
    tasks["default"].enqueue_many([()] * 1000)
tell({name: sorted(found)[len(found) // 2] for name, found in rates.items()})
"""
COUNT = """
import time
from django.apps import apps

label, done = {
    "default": ("jobsite_jobs.JobRecord", {"state": "succeeded"}),
    "db": ("django_tasks_database.DBTaskResult", {"status": "SUCCESSFUL"}),
    "ox": (next(x._meta.label for x in apps.get_app_config("django_ox").get_models()), {"status": "SUCCESSFUL"}),
}[NAME]
tasks = apps.get_model(label).objects
total, end = tasks.count(), time.perf_counter() + 100
while not (first := tasks.filter(**done).count()) and time.perf_counter() < end:
    time.sleep(0.02)
began = time.perf_counter()
while (now := tasks.filter(**done).count()) < total and time.perf_counter() < end:
    time.sleep(0.05)
tell((now - first) / (time.perf_counter() - began))
"""
WORKERS = {
    "default": [["worker", "--processes", "2"]],
    "db": [["db_worker", "--backend", "db", "--no-startup-delay"]] * 2,
    "ox": [["ox_worker", "--backend", "ox"]] * 2,
}


def main() -> None:
    """Measure, and print."""
    with ExitStack() as stack:
        made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobsite-backends-")))
        redis = stack.enter_context(servers.valkey(made / "redis"))
        database = stack.enter_context(servers.postgresql(durable=True))
        files = {"host/tasks.py": TASKS}
        project = Project(made / "site", database, redis=redis, settings=SETTINGS, files=files, patience=300)
        project.manage("migrate", "-v0")
        rates: dict[str, float] = project.told(CALLS)
        drains = {name: drained(project, name) for name in WORKERS}
    for what, found in (("enqueue, one at a time", rates), ("recorded drain, two processes", drains)):
        ours = found["default"]
        print(
            f"{what}: {ours:,.0f}/s;", *(f"{name} {rate:,.0f}/s, {ours / rate:.1f} x;" for name, rate in found.items())
        )


def drained(project: Project, name: str) -> float:
    """Tasks/s, recorded."""
    started = [
        subprocess.Popen([sys.executable, "manage.py", *args], cwd=project.folder, env=project.env,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for args in WORKERS[name]
    ]  # fmt: skip
    try:
        rate: float = project.told(f"NAME = {name!r}\n{COUNT}")
        return rate
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


if __name__ == "__main__":
    main()
