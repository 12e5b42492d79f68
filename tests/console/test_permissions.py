"""Who may open what, who may do what: each person, each address, each method."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from handlers.models import AuditEntry, JobRecord
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job

pytestmark = pytest.mark.once

READ = ("/admin/jobs/jobrecord/", "/admin/queues/", "/admin/job-types/", "/admin/retry-policies/")
VERBS = {
    "retry": (State.FAILED, "retry_jobrecord"),
    "requeue": (State.SUCCEEDED, "requeue_jobrecord"),
    "delete": (State.ENQUEUED, "delete_jobrecord"),
    "restore": (State.DELETED, "delete_jobrecord"),
    "move": (State.FAILED, "move_jobrecord"),
}
SWITCHES = ("/admin/queues/default/pause/", "/admin/queues/default/resume/")


def verb_url(job: JobRecord, verb: str) -> str:
    """Where ``verb`` is done to ``job``."""
    return f"/admin/jobs/jobrecord/{job.pk}/{verb}/"


def form(job: JobRecord) -> dict[str, str]:
    """What the job page's form sends, or that of the page that asks for a queue."""
    return {"expect": f"{job.pk}:{job.token}", "confirmed": "yes", "queue": "mail"}


def place(job: JobRecord) -> tuple[str, str]:
    """The job's state and queue now."""
    return JobRecord.objects.values_list("state", "queue").get(pk=job.pk)


@pytest.mark.parametrize("url", READ)
def test_reading_needs_the_permission(viewer: Client, operator: Client, nobody: Client, url: str) -> None:
    assert viewer.get(url).status_code == 200
    assert operator.get(url).status_code == 200
    assert nobody.get(url).status_code == 403


def test_job_page_needs_the_permission(viewer: Client, nobody: Client) -> None:
    url = f"/admin/jobs/jobrecord/{make_job().pk}/change/"
    assert viewer.get(url).status_code == 200
    assert nobody.get(url).status_code == 403


def test_audit_needs_its_own_permission(viewer: Client, operator: Client) -> None:
    assert viewer.get("/admin/jobs/auditentry/").status_code == 403
    assert operator.get("/admin/jobs/auditentry/").status_code == 200


@pytest.mark.parametrize("url", ["/admin/", "/admin/jobs/", *READ, "/admin/jobs/auditentry/", "/admin/auth/user/"])
def test_anonymous_is_led_to_the_login_everywhere(db: None, url: str) -> None:
    response = Client().get(url)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("verb", VERBS)
def test_anonymous_cannot_use_a_verb(db: None, verb: str) -> None:
    job = make_job(VERBS[verb][0])
    response = Client().post(verb_url(job, verb), form(job))
    assert (response.status_code, response.templates[0].name) == (403, "dashboard/access/login.html")
    assert place(job) == (VERBS[verb][0], "default")


def test_account_outside_the_staff_is_led_to_the_login(make_user: MakeUser) -> None:
    customer = logged_in(make_user("carl", "view_jobrecord", "retry_jobrecord", is_staff=False))
    job = make_job()
    assert customer.get("/admin/jobs/jobrecord/").status_code == 302
    assert customer.post(verb_url(job, "retry"), form(job)).status_code == 403
    assert place(job) == (State.FAILED, "default")


@pytest.mark.parametrize("verb", VERBS)
def test_viewer_is_refused_a_forged_post(viewer: Client, verb: str) -> None:
    job = make_job(VERBS[verb][0])
    assert viewer.post(verb_url(job, verb), form(job)).status_code == 403
    bulk = {"action": verb, "_selected_action": job.pk, "index": "0", "confirmed": "yes", **form(job)}
    assert viewer.post("/admin/jobs/jobrecord/", bulk).status_code == 403
    assert place(job) == (VERBS[verb][0], "default")
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_verb_needs_only_its_own_permission(make_user: MakeUser, verb: str) -> None:
    state, codename = VERBS[verb]
    job = make_job(state)
    others = {permission for _, permission in VERBS.values()} - {codename}
    wrong = logged_in(make_user("wrong", "view_jobrecord", *others))
    assert wrong.post(verb_url(job, verb), form(job)).status_code == 403
    right = logged_in(make_user("right", "view_jobrecord", codename))
    assert right.post(verb_url(job, verb), form(job)).status_code == 302
    assert place(job) != (state, "default")


@pytest.mark.parametrize("verb", VERBS)
def test_verb_needs_the_permission_to_see_jobs_too(make_user: MakeUser, verb: str) -> None:
    state, codename = VERBS[verb]
    job = make_job(state)
    blind = logged_in(make_user("blind", codename))
    assert blind.post(verb_url(job, verb), form(job)).status_code == 403
    assert place(job) == (state, "default")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "patch", "options"])
def test_verb_answers_to_post_only(superuser: Client, verb: str, method: str) -> None:
    job = make_job(VERBS[verb][0])
    assert getattr(superuser, method)(verb_url(job, verb)).status_code == 405
    assert place(job) == (VERBS[verb][0], "default")


@pytest.mark.parametrize("url", SWITCHES)
def test_queue_switch_needs_its_permission_and_post(viewer: Client, operator: Client, url: str) -> None:
    assert viewer.post(url).status_code == 403
    assert operator.get(url).status_code == 405
    assert operator.post(url).status_code == 302


@pytest.mark.parametrize("verb", VERBS)
def test_post_without_a_csrf_token_is_refused(make_user: MakeUser, verb: str) -> None:
    job = make_job(VERBS[verb][0])
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user("admin", is_superuser=True))
    assert strict.post(verb_url(job, verb), form(job)).status_code == 403
    assert place(job) == (VERBS[verb][0], "default")


def test_viewer_sees_no_button(viewer: Client) -> None:
    job = make_job()
    for url in ("/admin/jobs/jobrecord/", f"/admin/jobs/jobrecord/{job.pk}/change/", "/admin/queues/"):
        html = viewer.get(url).content.decode()
        assert "formaction" not in html
        assert 'name="action"' not in html
        assert "Pause" not in html
        assert job.token not in html


@pytest.mark.parametrize("path", ["add/", "{pk}/change/"])
def test_nobody_writes_job_rows_by_a_form(superuser: Client, path: str) -> None:
    job = make_job()
    before = JobRecord.objects.values().get(pk=job.pk)
    url = f"/admin/jobs/jobrecord/{path.format(pk=job.pk)}"
    superuser.post(url, {"state": "succeeded", "queue": "other", "job_type": "x"})
    assert JobRecord.objects.values().get(pk=job.pk) == before
    assert JobRecord.objects.count() == 1
    if path == "add/":
        assert superuser.get(url).status_code == 403


@pytest.mark.parametrize("path", ["add/", "{pk}/delete/"])
def test_audit_cannot_be_written_by_hand(superuser: Client, path: str) -> None:
    job = make_job()
    entry = AuditEntry.objects.create(at=job.created_at, username="x", verb="retry", target="job 1", count=1)
    url = f"/admin/jobs/auditentry/{path.format(pk=entry.pk)}"
    assert superuser.get(url).status_code == 403
    assert superuser.post(url, {"post": "yes"}).status_code == 403
    assert AuditEntry.objects.count() == 1


def test_start_page_and_bar_leak_nothing(nobody: Client, viewer: Client) -> None:
    job = make_job(message="secret-message")
    html = nobody.get("/admin/").content.decode()
    for word in ("secret-message", "jobrecord", "queues/", "job-types/", "retry-policies/", "auditentry", "auth/user"):
        assert word not in html
    assert nobody.get("/admin/jobs/").status_code == 404
    seen = viewer.get("/admin/").content.decode()
    assert "secret-message" in seen
    assert "auditentry" not in seen
    assert "auth/user" not in seen
    assert "auditentry" not in viewer.get("/admin/jobs/").content.decode()
    assert str(job.token) not in seen


def test_audit_permission_alone_shows_the_audit_alone(make_user: MakeUser) -> None:
    auditor = logged_in(make_user("ada", "view_auditentry"))
    html = auditor.get("/admin/").content.decode()
    assert "/admin/jobs/auditentry/" in html
    assert "/admin/jobs/jobrecord/" not in html
    assert "/admin/queues/" not in html


def test_user_admin_needs_djangos_own_permissions(operator: Client, superuser: Client) -> None:
    olga = User.objects.get(username="olga")
    url = f"/admin/auth/user/{olga.pk}/change/"
    assert operator.get(url).status_code == 403
    assert operator.post(url, {"is_superuser": "on"}).status_code == 403
    assert superuser.get(url).status_code == 200
