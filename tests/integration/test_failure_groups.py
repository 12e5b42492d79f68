"""Which failures share a group: those of one cause, in whatever app, and those of before go on where they were."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from dashboard.jobs.tracebacks import app_frame
from handlers import execution, folding, job_scheduler, lifecycle, stranded
from handlers.failures import Failure, describe
from handlers.models import AttemptError, FailureGroup, JobCount, JobRecord
from handlers.registry import registry
from handlers.selection import Selection
from handlers.states import State
from tests.app.jobs import Fail, Note, Nothing
from tests.running import claim, expire, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

BILLING = {
    "__init__.py": "",
    "charging.py": "def charge(amount):\n    raise ValueError(amount)\n\ndef refund(amount):\n    int(amount + '?')\n",
    "jobs.py": """
from dataclasses import dataclass
from billing_app import charging
from handlers import Job, RetryPolicy, handles
from helper_library import through

@dataclass(frozen=True)
class Charge(Job):
    how: str

@handles(Charge, retry=RetryPolicy(max_attempts=1))
def charge(job):
    if job.how == "library":
        through(lambda: int(job.how))
    getattr(charging, job.how)("4")
""",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of jobs of an app that lies where pip puts one, beside a library."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "billing_app").mkdir(parents=True)
    for name, text in BILLING.items():
        (packages / "billing_app" / name).write_text(text)
    (packages / "helper_library.py").write_text("def through(what):\n    return what()\n")
    monkeypatch.syspath_prepend(packages)
    names = [config.name for config in apps.get_app_configs()]
    # Isolated first: installing the app is what declares its types.
    with registry.isolated(), override_settings(INSTALLED_APPS=[*names, "billing_app"]):
        yield import_module("billing_app.jobs")
    for name in [name for name in sys.modules if name.split(".")[0] in ("billing_app", "helper_library")]:
        monkeypatch.delitem(sys.modules, name)


def fingerprint(job_id: int) -> str:
    """The group of the job's failure, which all that is kept of it agrees on."""
    name = record(job_id).fingerprint
    assert name
    assert AttemptError.objects.get(job_id=job_id).fingerprint == name
    return name


def test_installed_app_that_declares_types_is_app_code(installed: Any) -> None:
    ids = [job_scheduler.enqueue(installed.Charge(how)) for how in ("charge", "refund", "library")]
    run(*ids)
    frames = [AttemptError.objects.get(job_id=job_id).frame for job_id in ids]
    # What went wrong in a library is told by the line of the app that went there.
    places = ["charging.py:2 in charge", "charging.py:5 in refund", "jobs.py:14 in <lambda>"]
    assert frames == [f"billing_app/{place}" for place in places]
    assert len({fingerprint(job_id) for job_id in ids}) == 3
    for job_id, frame in zip(ids, frames, strict=True):
        shown = app_frame(AttemptError.objects.get(job_id=job_id).traceback)  # as the console reads it
        assert shown
        assert f"{'/'.join(Path(shown.path).parts[-2:])}:{shown.line} in {shown.name}" == frame


def test_project_in_a_folder_named_like_packages_is_app_code(tmp_path: Path) -> None:
    path = tmp_path / "our-packages" / "shop.py"
    path.parent.mkdir()
    path.write_text("def handle():\n    1 / 0\nhandle()")
    with pytest.raises(ZeroDivisionError) as caught:
        run_path(str(path), run_name="shop")
    assert describe(caught.value).frame == "our-packages/shop.py:2 in handle"


def hard_timeout(job_id: int) -> None:
    (claimed,) = claim(job_id)
    move = execution.failed(claimed, execution.timed_out(claimed), worker="w", seconds=1)
    execution.settle([move], worker="w")


def lost_worker(job_id: int) -> None:
    JobRecord.objects.filter(pk=job_id).update(crashes=2)
    claim(job_id, worker=f"host-{job_id}")
    expire(job_id)
    lifecycle.expire_leases(max_crashes=3)


def missing_handler(job_id: int) -> None:
    with registry.isolated():
        registry._types.clear()
        registry._names.clear()
        run(job_id)
        stranded.look_after(hours=-1)


def unrecordable(job_id: int) -> None:
    (claimed,) = claim(job_id)
    failure = Failure("E", "m", job_type=claimed.job_type)
    step = lifecycle.Step(State.FAILED, "", {"worker": float("nan")})  # which no database takes
    change = lifecycle.Change(State.PROCESSING, (step,), failure=failure)
    execution.settle([lifecycle.Move(job_id, claimed.token, change)], worker="w")


@pytest.mark.parametrize("fail", [hard_timeout, lost_worker, missing_handler, unrecordable])
def test_failures_without_a_line_of_app_code_share_no_group_across_types(fail: Any) -> None:
    jobs = [Note("a"), Nothing(), Note("b")]
    ids = job_scheduler.enqueue_many(jobs)
    for job_id in ids:
        fail(job_id)
    first, other, again = (fingerprint(job_id) for job_id in ids)
    assert first == again != other
    folding.fold()
    groups = FailureGroup.objects.values_list("pk", "job_type", "frame", "count")
    assert set(groups) == {(first, "app.Note", "", 2), (other, "app.Nothing", "", 1)}


def former(job_type: str, *, exception: str, frame: str = "", types: tuple[str, ...]) -> FailureGroup:
    """A group as it was before the type was part of a fingerprint."""
    failure = Failure(exception, "m", frame=frame, job_type=job_type)
    name = failure.former_fingerprint or failure.fingerprint
    now = timezone.now()
    for number, each in enumerate(types):
        at = now - timedelta(days=number)
        JobCount.objects.create(period="day", at=at, job_type=each, outcome="failed", fingerprint=name, count=1)
    return FailureGroup.objects.create(pk=name, exception=exception, frame=frame, first_at=now, last_at=now, count=5)


def test_groups_of_before_go_on_but_those_that_mixed_types() -> None:
    timeouts = former("app.Note", exception="handlers.exceptions.JobTimeout", types=("app.Note", "app.Note"))
    mixed = former("app.Note", exception="handlers.WorkerLost", types=("app.Note", "app.Nothing"))
    old_job = record(job_scheduler.enqueue(Note("old")))
    JobRecord.objects.filter(pk=old_job.pk).update(fingerprint=mixed.pk)
    migration = import_module("handlers.migrations.0007_group_types")
    with connection.schema_editor() as editor:
        migration.name_types(apps, editor)
    ids = job_scheduler.enqueue_many([Note("a"), Nothing()])
    for job_id in ids:
        hard_timeout(job_id)
    assert fingerprint(ids[0]) == timeouts.pk, "its group has only ever held this type"
    assert fingerprint(ids[1]) != timeouts.pk
    lost = job_scheduler.enqueue(Note("b"))
    lost_worker(lost)
    assert fingerprint(lost) != mixed.pk
    folding.fold()
    counts = dict(FailureGroup.objects.values_list("pk", "count"))
    assert (counts[timeouts.pk], counts[mixed.pk], len(counts)) == (6, 5, 4)
    assert [row.pk for row in Selection.parse(f"group:{mixed.pk}").rows()] == [old_job.pk], "old links still open"


def test_failure_in_app_code_keeps_the_fingerprint_that_it_always_had() -> None:
    failure = Failure("shop.CardDeclined", "m", frame="shop/jobs.py:42 in charge", job_type="shop.Charge")
    assert failure.fingerprint == "b1ff9492bfcca883"
    job_id = job_scheduler.enqueue(Fail(9, "one"))
    run(job_id)
    assert AttemptError.objects.get(job_id=job_id).frame.startswith("app/jobs.py:")
