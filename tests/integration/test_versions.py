"""The version of the site's code: kept with each attempt, and marked on time."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.utils import timezone

from handlers import deploys, folding, job_scheduler, lifecycle
from handlers.conf import parse
from handlers.exceptions import InvalidJob
from handlers.models import AttemptError, AuditEntry, Deploy, JobCount, JobCountDelta, JobHistory, JobRecord
from handlers.recovery import age_out
from handlers.states import State
from jobsite import environment
from tests.app.jobs import Fail, Note
from tests.running import claim, expire, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


def of_claims(job_id: int) -> list[Any]:
    claims = JobHistory.objects.filter(job_id=job_id, to_state=State.PROCESSING).order_by("pk")
    return [claim.data.get("version") for claim in claims if isinstance(claim.data, dict)]


def test_version_is_kept_with_each_attempt_however_it_ends(settings: Any) -> None:
    settings.JOBS = {"VERSION": "1.0"}
    ids = [job_scheduler.enqueue(Note("x")), job_scheduler.enqueue(Fail(9, "y"))]
    run(*ids)
    settings.JOBS = {"VERSION": "1.1"}
    job_scheduler.retry(ids[1])
    run(ids[1])
    assert [of_claims(job_id) for job_id in ids] == [["1.0"], ["1.0", "1.1"]]
    assert list(AttemptError.objects.order_by("pk").values_list("version", flat=True)) == ["1.0", "1.1"]
    assert set(JobCountDelta.objects.exclude(fingerprint="").values_list("version", flat=True)) == {"1.0", "1.1"}


def test_versions_of_failures_count_together() -> None:
    for version in ("1.0", "1.1"):
        JobCountDelta.objects.create(
            minute=timezone.now().replace(second=0, microsecond=0), queue="mail", job_type="app.Note",
            outcome="failed", fingerprint="abc", version=version, count=2,
        )  # fmt: skip
    folding.fold()
    assert set(JobCount.objects.filter(period="hour").values_list("count", flat=True)) == {4}


def test_nothing_is_kept_where_no_version_is_set() -> None:
    job_id = job_scheduler.enqueue(Fail(9, "y"))
    run(job_id)
    assert of_claims(job_id) == [None]
    assert AttemptError.objects.get().version == ""


def test_lost_attempt_has_the_version_that_ran_it_and_not_the_scheduler_s(settings: Any) -> None:
    settings.JOBS = {"VERSION": "1.0"}
    job_id = job_scheduler.enqueue(Note("x"))
    JobRecord.objects.filter(pk=job_id).update(crashes=2)
    claim(job_id)
    settings.JOBS = {"VERSION": "2.0"}
    expire(job_id)
    lifecycle.expire_leases(max_crashes=3)
    error = AttemptError.objects.get()
    assert (error.exception, error.version) == ("handlers.WorkerLost", "1.0")


@pytest.mark.parametrize("version", ["x" * 65, "a\nb", " 1.0", "next", 7, None])
def test_version_that_does_not_fit_is_refused_in_words(version: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="JOBS: VERSION must be"):
        parse({"VERSION": version})


def test_the_environment_s_version_is_read_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSITE_VERSION", " 2026.11.3\n")
    assert environment.version() == "2026.11.3"
    monkeypatch.setenv("JOBSITE_VERSION", "x" * 65)
    with pytest.raises(ImproperlyConfigured, match="JOBSITE_VERSION must be"):
        environment.version()


def mark(*words: str) -> str:
    out = StringIO()
    call_command("mark_deploy", *words, stdout=out)
    return out.getvalue()


def test_mark_deploy_notes_the_version_once_for_a_whole_fleet(settings: Any) -> None:
    assert mark("1.0").startswith("1.0 is marked as in use since ")
    assert mark("1.0") == mark("1.0")
    mark("1.1", "--at", "2026-01-31T08:15Z")
    settings.JOBS = {"VERSION": "1.2"}
    mark()
    mark("1.0")  # back again
    assert list(Deploy.objects.order_by("pk").values_list("version", flat=True)) == ["1.0", "1.1", "1.2", "1.0"]
    assert AuditEntry.objects.filter(verb="mark_deploy").count() == 4
    assert deploys.first_marks(["1.0", "1.2", "9"]).keys() == {"1.0", "1.2"}
    first = deploys.first_marks(["1.0", "1.1"])
    assert first["1.1"] < first["1.0"] < timezone.now()


def test_mark_deploy_refuses_what_is_no_version_or_time() -> None:
    for words, why in (
        ((), "Name the version"), (("next",), "next"), (("x" * 65,), "at most 64"), (("1", "--at", "soon"), "no time"),
        (("1", "--at", "2999-01-01"), "to come"), (("1", "--by", "nobody-at-all"), "no login"),
    ):  # fmt: skip
        with pytest.raises(CommandError, match=why):
            mark(*words)
    with pytest.raises(InvalidJob, match="aware"):
        deploys.mark("1", timezone.now().replace(tzinfo=None))
    assert not Deploy.objects.exists()


def test_marks_past_their_time_or_too_many_are_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    for number in range(5):
        Deploy.objects.create(version=str(number), at=now - timedelta(days=number))
    Deploy.objects.create(version="old", at=now - timedelta(days=401))
    monkeypatch.setattr(deploys, "MOST", 3)
    age_out()
    assert set(Deploy.objects.values_list("version", flat=True)) == {"0", "1", "2"}
    assert [deploy.version for deploy in deploys.between(now - timedelta(days=1, hours=1), now)] == ["1", "0"]
