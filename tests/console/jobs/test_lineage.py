"""Where a job comes from and what it has brought about, as a tree with times; and what travels with it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dashboard.jobs import lineage
from dashboard.roles import limit_role
from handlers.models import JobPayload, JobRecord
from handlers.states import State
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db


def page(client: Client, job: JobRecord) -> str:
    response = client.get(reverse("admin:jobsite_jobs_jobrecord_change", args=[job.pk]))
    assert response.status_code == 200
    return response.content.decode()


def tree(client: Client, job: JobRecord) -> str:
    html = page(client, job)
    return html.split('<section class="module lineage"')[1].split("</section>")[0] if "module lineage" in html else ""


def nested(html: str) -> list[tuple[int, int]]:
    """The jobs of a tree in their order: how deep each is, and its id."""
    depth, found = -1, []
    for part in re.findall(r"<ul|</ul>|#\d+</(?:a|strong)>", html):
        if part == "<ul":
            depth += 1
        elif part == "</ul>":
            depth -= 1
        elif depth >= 0:
            found.append((depth, int(re.sub(r"\D", "", part))))
    return found


def chain(length: int, **options: Any) -> list[JobRecord]:
    jobs: list[JobRecord] = []
    for _ in range(length):
        jobs.append(make_job(State.SUCCEEDED, parent_id=jobs[-1].pk if jobs else None, **options))
    return jobs


def test_ancestors_and_descendants_are_nested_with_states_and_times(viewer: Client) -> None:
    first, second, job = chain(3)
    child, other = make_job(State.PROCESSING, parent_id=job.pk), make_job(State.ENQUEUED, parent_id=job.pk)
    grandchild = make_job(parent_id=child.pk)
    now = timezone.now()
    JobRecord.objects.filter(pk=first.pk).update(started_at=now - timedelta(minutes=9), finished_at=now)
    JobRecord.objects.filter(pk=child.pk).update(started_at=now - timedelta(seconds=70), finished_at=None)
    html = tree(viewer, job)
    assert nested(html) == [
        (0, first.pk), (1, second.pk), (2, job.pk), (3, child.pk), (4, grandchild.pk), (3, other.pk),
    ]  # fmt: skip
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "started 9 min ago , took 9 min" in text
    assert "running for 1 min" in text
    assert "not started" in text
    assert html.count('aria-current="true"') == 1
    assert "(this job)" in html


def test_a_job_without_kin_has_no_tree(viewer: Client) -> None:
    assert not tree(viewer, make_job())


def test_what_is_further_up_is_named_and_what_is_gone_too(viewer: Client) -> None:
    jobs = chain(6)
    html = tree(viewer, jobs[-1])
    assert [job_id for _, job_id in nested(html)] == [job.pk for job in jobs[2:]]
    assert f"Further up: #{jobs[1].pk}" in html
    html = tree(viewer, jobs[3])
    assert "Further up" not in html
    JobRecord.objects.filter(pk=jobs[0].pk).delete()
    assert f"Of job {jobs[0].pk}, which has aged out." in tree(viewer, jobs[3])
    assert f"Of job {jobs[0].pk}, which has aged out." in tree(viewer, jobs[1])
    assert "aged out" not in tree(viewer, jobs[5])


def test_levels_are_bounded_and_the_list_has_the_rest(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST", 3)
    monkeypatch.setattr(lineage, "EACH", 2)
    lineage._sql.cache_clear()
    job = make_job(State.SUCCEEDED)
    children = [make_job(State.SUCCEEDED, parent_id=job.pk) for _ in range(4)]
    below = [make_job(State.SUCCEEDED, parent_id=children[-1].pk) for _ in range(9)]
    below += [make_job(State.SUCCEEDED, parent_id=children[-2].pk) for _ in range(2)]
    html = tree(viewer, job)
    lineage._sql.cache_clear()
    shown = nested(html)
    assert [job_id for depth, job_id in shown if depth == 1] == [child.pk for child in children[1:]]
    assert [job_id for depth, job_id in shown if depth == 2] == [below[-1].pk, below[7].pk, below[8].pk]
    assert f"?q=parent:{job.pk}" in html
    assert f"?q=parent:{children[-2].pk}" in html
    assert f"?q=parent:{children[-1].pk}" in html
    assert html.count("and more") == 3


def test_it_is_one_statement_however_many_there_are(viewer: Client) -> None:
    jobs = chain(4)
    page(viewer, jobs[2])  # which asks what is kept for a while
    with CaptureQueriesContext(connection) as few:
        page(viewer, jobs[2])
    for _ in range(20):
        make_job(State.SUCCEEDED, parent_id=make_job(State.SUCCEEDED, parent_id=jobs[2].pk).pk)
    with CaptureQueriesContext(connection) as many:
        page(viewer, jobs[2])
    assert len(many) == len(few)
    assert sum("WITH RECURSIVE" in query["sql"] for query in many) == 1


def test_what_is_beyond_a_person_s_reach_is_not_in_the_tree(client: Client) -> None:
    role = Group.objects.create(name="Mail")
    role.permissions.add(Permission.objects.get(codename="view_jobrecord"))
    limit_role(role, queues=["mail"])
    user = User.objects.create_user("mia", is_staff=True)
    user.groups.add(role)
    client.force_login(user)
    top = make_job(State.SUCCEEDED, queue="mail")
    hidden = make_job(State.SUCCEEDED, parent_id=top.pk)
    job = make_job(State.SUCCEEDED, queue="mail", parent_id=hidden.pk)
    child = make_job(State.SUCCEEDED, queue="mail", parent_id=job.pk)
    secret = make_job(State.SUCCEEDED, parent_id=job.pk)
    make_job(State.SUCCEEDED, queue="mail", parent_id=secret.pk)
    html = tree(client, job)
    assert nested(html) == [(0, job.pk), (1, child.pk)]
    assert f"#{hidden.pk}" not in html
    JobRecord.objects.filter(pk=hidden.pk).delete()
    assert "aged out" not in tree(client, job)


def test_the_context_is_shown_and_what_is_sensitive_to_whom_may_see_it(
    viewer: Client, admin_client: Client, settings: Any
) -> None:
    settings.JOBS = settings.JOBS | {"SENSITIVE_CONTEXT": ["badge"]}
    job = make_job()
    assert 'id="job-context"' not in page(viewer, job)
    JobPayload.objects.filter(pk=job.pk).update(context={"user": "ann\u202e", "badge": "b4dg3", "request": {"id": [7]}})
    shown = page(viewer, job).split('id="job-context"')[1].split("</section>")[0]
    assert "<dt>user</dt><dd>ann\\u202e</dd>" in shown
    assert "<dt>request</dt><dd>{&quot;id&quot;: [7]}</dd>" in shown
    assert "<dt>badge</dt><dd>••••••</dd>" in shown
    assert "b4dg3" in page(admin_client, job)
