"""The retry policies' pages: preview before saving, assignment, history, and who may do what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from handlers import Job, RetryPolicy
from handlers.job_types import JobType
from handlers.models import AuditEntry, PolicyAssignment, StoredPolicy
from handlers.policy_edits import assign, save_policy
from handlers.registry import registry
from tests.console.conftest import MakeUser, logged_in

LIST = "/admin/retry-policies/"
NEW = "/admin/retry-policies/new/"
VALUES = {
    "name": "mail-slow",
    "max_attempts": "4",
    "backoff": "fixed",
    "delay_seconds": "60",
    "factor": "2",
    "max_delay_seconds": "",
    "jitter": "0",
    "on_exhausted": "fail",
}


@pytest.fixture
def policy(db: None) -> StoredPolicy:
    """A policy that app.Fail follows."""
    made = save_policy(
        None, {"name": "mail-slow", "max_attempts": 3, "backoff": "fixed", "delay_seconds": 60, "jitter": 0}, by="ann"
    )
    assign("app.Fail", made, by="ann", reason="the server is slow")
    return made


def page_of(policy: StoredPolicy, more: str = "") -> str:
    """The policy's address."""
    return f"{LIST}{policy.pk}/{more}"


def send(client: Client, url: str, do: str, **changes: Any) -> tuple[int, str]:
    """Post the form; status and page."""
    response = client.post(url, VALUES | {"do": do} | changes)
    return response.status_code, response.content.decode()


def test_preview_shows_every_wait_and_saves_nothing(superuser: Client) -> None:
    status, html = send(superuser, NEW, "preview")
    assert status == 200
    assert "Preview, not saved" in html
    assert "<td>4</td><td>1 min</td><td>3 min</td>" in html
    assert "3 min at most" in html
    assert "<svg" in html
    assert not StoredPolicy.objects.exists()
    assert not AuditEntry.objects.exists()


def test_save_creates_the_policy_and_its_history(superuser: Client) -> None:
    response = superuser.post(NEW, VALUES | {"do": "save", "reason": "because"}, follow=True)
    html = response.content.decode()
    assert "Saved mail-slow" in html
    assert "because" in html
    assert StoredPolicy.objects.get().max_attempts == 4
    assert AuditEntry.objects.get().username == "admin"


def test_preview_of_a_change_names_what_changes_and_for_whom(superuser: Client, policy: StoredPolicy) -> None:
    status, html = send(superuser, page_of(policy), "preview", version="1")
    assert status == 200
    assert "Affects 1 job type: app.Fail" in html
    assert '<th scope="row">Attempts</th><td>3</td><td><strong>4</strong></td>' in html
    assert StoredPolicy.objects.get().max_attempts == 3


def test_stale_form_is_told_and_changes_nothing(superuser: Client, policy: StoredPolicy) -> None:
    save_policy(policy.pk, {"max_attempts": 9}, by="bob")
    for version in ("1", "", "x", "9" * 40):
        status, html = send(superuser, page_of(policy), "save", version=version)
        assert status == 400
        assert "Nothing was saved" in html
    assert StoredPolicy.objects.get().max_attempts == 9


@pytest.mark.once
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "<script>", "Must be 1 to 60 letters"),
        ("max_attempts", "0", "1 (no retry) to 10,000"),
        ("max_attempts", "9" * 400, "1 (no retry) to 10,000"),
        ("delay_seconds", "1e300", "0 to 31,536,000"),
        ("delay_seconds", "nan", "Enter a number"),
        ("factor", "0", "1 to 1,000"),
        ("jitter", "2", "0 to 1"),
        ("max_delay_seconds", "-1", "0 to 31,536,000"),
        ("backoff", "x" * 1000, "Select a valid choice"),
        ("on_exhausted", "", "required"),
    ],
)
@pytest.mark.parametrize("do", ["preview", "save"])
def test_value_out_of_bounds_is_named_on_the_page(
    superuser: Client, do: str, field: str, value: str, words: str
) -> None:
    status, html = send(superuser, NEW, do, **{field: value})
    assert status == 400
    assert words in html
    assert "<script>" not in html
    assert not StoredPolicy.objects.exists()


def test_name_in_use_is_refused_beside_the_field(superuser: Client, policy: StoredPolicy) -> None:
    status, html = send(superuser, NEW, "save")
    assert status == 400
    assert "There is a policy &#x27;mail-slow&#x27; already" in html


def test_types_are_assigned_by_ticking(superuser: Client, policy: StoredPolicy) -> None:
    form = {"shown": ["app.Fail", "app.Note"], "types": ["app.Note"], "reason": "swap"}
    html = superuser.post(page_of(policy, "types/"), form, follow=True).content.decode()
    assert "2 job types changed" in html
    assert list(PolicyAssignment.objects.values_list("job_type", flat=True)) == ["app.Note"]
    superuser.post(page_of(policy, "types/"), {"shown": ["app.Fail"]})  # a page that did not show app.Note
    assert PolicyAssignment.objects.filter(job_type="app.Note").exists()


def test_unknown_type_is_refused_in_words(superuser: Client, policy: StoredPolicy) -> None:
    form = {"shown": ["app.Nonsense"], "types": ["app.Nonsense"]}
    html = superuser.post(page_of(policy, "types/"), form, follow=True).content.decode()
    assert "is registered here" in html
    assert PolicyAssignment.objects.count() == 1


def test_delete_asks_first_and_then_lets_the_types_follow_the_code(superuser: Client, policy: StoredPolicy) -> None:
    url = page_of(policy, "delete/")
    html = superuser.get(url).content.decode()
    assert "app.Fail" in html
    assert StoredPolicy.objects.exists()
    superuser.post(url, {"version": "7"})
    assert StoredPolicy.objects.exists()
    html = superuser.post(url, {"version": "1", "reason": "done"}, follow=True).content.decode()
    assert "app.Fail follows the code again" in html
    assert not PolicyAssignment.objects.exists()


def test_list_shows_stored_policies_and_what_they_override(viewer: Client, policy: StoredPolicy) -> None:
    html = viewer.get(LIST).content.decode()
    assert "mail-slow" in html
    assert "(follows mail-slow instead)" in html
    assert page_of(policy) not in html  # may not open it


def test_history_names_who_what_and_why(superuser: Client, policy: StoredPolicy) -> None:
    save_policy(policy.pk, {"max_attempts": 9}, by="bob", reason="more patience")
    html = superuser.get(page_of(policy)).content.decode()
    for words in ("bob", "more patience", "the server is slow", "type app.Fail: the code → mail-slow"):
        assert words in html


def test_policy_that_is_gone_leads_back_with_words(superuser: Client) -> None:
    for more in ("", "delete/"):
        assert "someone deleted it" in superuser.get(f"{LIST}99/{more}", follow=True).content.decode()
    assert superuser.post(f"{LIST}99/types/").status_code == 302
    assert superuser.get(f"{LIST}{'9' * 30}/").status_code in (302, 404)


def test_each_change_needs_its_own_permission(make_user: MakeUser, policy: StoredPolicy) -> None:
    reader = logged_in(make_user("reader", "view_jobrecord", "view_storedpolicy"))
    assert reader.get(page_of(policy)).status_code == 200
    assert 'name="do"' not in reader.get(page_of(policy)).content.decode()
    assert reader.get(NEW).status_code == 403
    assert send(reader, NEW, "save")[0] == 403
    assert send(reader, page_of(policy), "save", version="1")[0] == 403
    assert reader.post(page_of(policy, "types/"), {"shown": ["app.Fail"]}).status_code == 403
    assert reader.post(page_of(policy, "delete/"), {"version": "1"}).status_code == 403
    changer = logged_in(make_user("changer", "view_jobrecord", "change_storedpolicy"))
    assert send(changer, page_of(policy), "save", version="1")[0] == 302
    assert changer.post(page_of(policy, "delete/"), {"version": "2"}).status_code == 403
    assert send(changer, NEW, "save", name="other")[0] == 403
    assert StoredPolicy.objects.get().version == 2


def test_assignment_answers_to_post_only(superuser: Client, policy: StoredPolicy) -> None:
    assert superuser.get(page_of(policy, "types/")).status_code == 405


def test_post_without_a_csrf_token_is_refused(make_user: MakeUser, policy: StoredPolicy) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user("admin", is_superuser=True))
    for more in ("", "types/", "delete/"):
        assert strict.post(page_of(policy, more), VALUES | {"do": "save", "version": "1"}).status_code == 403
    assert StoredPolicy.objects.get().version == 1


def test_pages_keep_within_the_query_budget(
    superuser: Client, policy: StoredPolicy, django_assert_max_num_queries: Any
) -> None:
    for n in range(15):
        save_policy(None, {"name": f"p{n}"}, by="ann")
    for url in (LIST, NEW, page_of(policy), page_of(policy, "delete/")):
        with django_assert_max_num_queries(20):
            assert superuser.get(url).status_code == 200


@pytest.fixture
def many_types() -> Iterator[None]:
    """Thirty types more of one policy."""
    with registry.isolated():
        for number in range(30):
            job_class: Any = dataclass(frozen=True)(type(f"Many{number:02d}", (Job,), {"__module__": __name__}))
            registry.register(
                JobType(f"many.Type{number:02d}", job_class, do_nothing, retry=RetryPolicy(max_attempts=77))
            )
        yield


def do_nothing(job: Job) -> None:
    """Do nothing."""


def test_a_policy_of_many_types_names_the_first_and_leads_to_all(superuser: Client, many_types: None) -> None:
    html = superuser.get(LIST).content.decode()
    named = [number for number in range(30) if f"many.Type{number:02d}</a>" in html]
    assert named == list(range(12))
    assert '<a href="?of=many.Type00">all 30</a>' in html
    whole = superuser.get(f"{LIST}?of=many.Type00").content.decode()
    assert all(f"many.Type{number:02d}</a>" in whole for number in range(30))
    assert "RetryPolicy()" not in whole  # of that policy alone


def test_types_to_assign_come_by_pages_and_those_not_shown_keep_theirs(
    superuser: Client, policy: StoredPolicy, many_types: None
) -> None:
    assign("many.Type29", policy, by="ann")
    html = superuser.get(page_of(policy, "?q=many.Type0")).content.decode()
    shown = re.findall(r'name="shown" value="([^"]+)"', html)
    assert shown == [f"many.Type{number:02d}" for number in range(10)]
    superuser.post(page_of(policy, "types/"), {"shown": shown, "types": ["many.Type03"]})
    followers = set(PolicyAssignment.objects.filter(policy=policy).values_list("job_type", flat=True))
    assert followers == {"app.Fail", "many.Type03", "many.Type29"}
