"""Every address of the console for people whose role is limited: they see and change their side, and nothing beyond.

The addresses come from the site itself. One that is added without obeying the limit, and without a line in
``dashboard.access.limited``, is refused to these people, which is what this test wants of it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from dashboard.access.limited import OBEYS, WHOLE_ONLY
from dashboard.roles import limit_role
from handlers.models import BulkOperation, JobRecord
from handlers.selection import Selection
from handlers.states import State
from tests.console.conftest import logged_in
from tests.console.reach.sides import FAR, NEAR, SHARED, Side, declared, furnish
from tests.console.test_matrix import FORMS, PAGES, _asked, patterns

pytestmark = pytest.mark.django_db

LIMITS: dict[str, list[dict[str, Any]]] = {
    "queue": [{"queues": [NEAR]}],
    "type": [{"types": [f"app.{NEAR}"]}],
    "saga": [{"types": [f"app.{NEAR}", f"app.{NEAR}Saga"]}],
    "several": [{"queues": [NEAR, "mail"], "types": [f"app.{NEAR}", "app.Note"]}, {"queues": ["flaky"]}],
}
APPS = ("jobsite_jobs", "jobsite_dashboard", "auth")
# On both databases: several of both kinds, which asks a database all that one of a kind does.
EACH = [
    pytest.param(limit, id=name, marks=[] if name == "several" else pytest.mark.once) for name, limit in LIMITS.items()
]
# What a list is asked for on top of its plain address: words that are on both sides, and none that is of one.
QUERIES = (
    "q=refused", "q=args.n:7", "q=args:7", "q=tag:both", "q=correlation:both", "q=state:failed", "state=failed",
    "state=enqueued", "since=1d", "q=7", "q=kind:app n:7 typ:app", "span=24h", "after=1", "q=error:refused",
    "q=type:app", "q=ar_sum:7",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Both sides' types; and Django logs each refusal."""
    logging.disable(logging.CRITICAL)
    with declared():
        yield
    logging.disable(logging.NOTSET)


def person(name: str, *roles: Group) -> User:
    """Of the staff, in these roles."""
    user = User.objects.create_user(name, is_staff=True)
    user.groups.set(roles)
    return user


def limited(*limits: dict[str, Any], name: str = "lena") -> User:
    """Somebody who may do everything to what is within these limits, each of which is that of a role."""
    return person(name, *(all_permitted(f"role {place} of {name}", **limit) for place, limit in enumerate(limits)))


def all_permitted(name: str, **limit: Any) -> Group:
    """A role with every permission of the console but that to see sensitive arguments."""
    group = Group.objects.create(name=name)
    permissions = Permission.objects.filter(content_type__app_label__in=APPS).exclude(codename="view_sensitive")
    group.permissions.set(permissions)
    limit_role(group, **limit)
    return group


def _text(response: Any) -> str:
    content: bytes = b"".join(response.streaming_content) if response.streaming else response.content
    headers = " ".join(f"{name} {value}" for name, value in response.headers.items())
    return f"{headers}\n{content.decode()}".lower()


def _read(client: Client, url: str) -> tuple[int, str]:
    """What comes of looking, wherever it leads; without the address, and the name in it that a page says is none."""
    response = client.get(url, follow=True)
    text = _text(response).replace(url.partition("?")[0].lower(), "")
    return response.status_code, re.sub(r"(there is no (job type|queue)|has a limit) [^ ]+", "", text)


def _names(text: str, side: Side) -> str:
    """What a page says of a side; empty: nothing. Its word is in all of it."""
    word = str(side.facts["queue"])
    place = text.find(word)
    return "" if place < 0 else text[max(place - 150, 0) : place + 80]


@pytest.mark.parametrize("limit", EACH)
def test_no_page_tells_of_what_is_beyond(limit: list[dict[str, Any]]) -> None:
    user = limited(*limit)
    near, far = furnish(NEAR, user), furnish(FAR, user)
    client, wrong = logged_in(user), []
    for name, pattern in patterns():
        if name not in PAGES:
            continue
        plain = near.url(name, pattern)
        found = [_read(client, plain)]
        if name in OBEYS and name not in SILENT:
            # Of the other side there may be no page: where its own word is in the address, no answer repeats it.
            found.append(_read(client, far.url(name, pattern)))
        if name in LISTS:
            sign = "&" if "?" in plain else "?"
            found += [_read(client, f"{plain}{sign}{query}") for query in QUERIES]
        if name not in OBEYS and found[0][0] != 403:
            wrong.append(f"{plain} ({name}): {found[0][0]}: it is not said to obey the limit, and not refused")
        for status, text in found:
            if status >= 500:
                wrong.append(f"{plain} ({name}): {status}")
            elif what := _names(text, far):
                wrong.append(f"{plain} ({name}): tells of the other side: …{' '.join(what.split())}…")
                break
    assert not wrong, "\n\n".join(wrong)


def test_pages_that_obey_show_what_is_within() -> None:
    user = limited({"queues": [NEAR]}, {"types": [f"app.{NEAR}Saga"]})
    near = furnish(NEAR, user)
    furnish(FAR, user)
    client, silent = logged_in(user), []
    for name, pattern in patterns():
        look = PAGES.get(name, (99, 99))[0]
        if name in OBEYS and look < 6 and name not in SILENT:
            status, text = _read(client, near.url(name, pattern))
            if status != 200 or not _names(text, near):
                silent.append(f"{name}: {status}")
    assert not silent


LISTS = {"jobsite_jobs_jobrecord_changelist", "jobs_export"}
# They obey, and say nothing of jobs; or what they say is no more than a number.
SILENT = {
    "password_change", "password_change_done", "jsi18n", "app_list", "jobs_new", "jobs_after", "jobs_columns",
    "job_view_new", "job_view_edit",
}  # fmt: skip


@pytest.mark.parametrize("limit", EACH)
def test_no_verb_changes_what_is_beyond(request: pytest.FixtureRequest, limit: list[dict[str, Any]]) -> None:
    user = limited(*limit)
    near, far = furnish(NEAR, user), furnish(FAR, user)
    client = logged_in(user)
    client.raise_request_exception = False
    _check_verbs(client, near, far, limited_sight=True, whole=request.node.callspec.id)


def _check_verbs(client: Client, near: Side, far: Side, *, limited_sight: bool, whole: str) -> None:
    """``whole``: of what the person reaches all of one name, a queue or a type."""
    wrong = []
    for name, pattern in patterns():
        if name not in FORMS or name in OWN or (name == "job_view_delete" and not limited_sight):
            continue
        url = far.url(name, pattern)
        response, written = _asked(client, "post", url, far.form(name))
        if name == "bulk_new":  # names no side: what it begins is looked at by itself, below
            written = []
        if written or response.status_code >= 500:
            wrong.append(f"{url} ({name}): {response.status_code}: changed the other side: {written[:1]}")
        if limited_sight and response.status_code < 400 and (what := _names(_text(response), far)):
            wrong.append(f"{url} ({name}): tells of the other side: {what}")
        if name in OBEYS and name not in NOT_NEAR and ALL_OF.get(name, whole) == whole:
            url = near.url(name, pattern)
            response, written = _asked(client, "post", url, near.form(name))
            if not written and near.form(name):
                wrong.append(f"{url} ({name}): {response.status_code}: does nothing within reach")
    assert not wrong, "\n\n".join(wrong)


OWN = {
    "account",
    "jobs_columns",
    "job_view_new",
    "jobs_export",
}  # they change nothing but what a person keeps, or tells who read
# They are about all jobs of one queue or type, so all of these must be within.
ALL_OF = {f"{verb}_{kind}": kind for verb in ("pause", "resume") for kind in ("queue", "type")}
ALL_OF |= dict.fromkeys(("limit", "limit_reset"), "type")
ALL_OF |= {f"alert_{verb}": "queue" for verb in ("rule", "delete", "mute", "unmute", "test")}
ALL_OF |= dict.fromkeys(("complete_saga", "retry_in_saga"), "saga")
NOT_NEAR: set[str] = {"job_view_delete"}


def test_a_bulk_run_comes_to_what_is_within_alone() -> None:
    user = limited({"types": [f"app.{NEAR}"]})
    near, far = furnish(NEAR, user), furnish(FAR, user)
    client = logged_in(user)
    page = client.get("/admin/bulk/new/?verb=retry&state=failed")
    assert page.context["count"] == JobRecord.objects.filter(state=State.FAILED, pk__in=near.ids).count()
    client.post("/admin/bulk/new/?verb=retry&state=failed", {"reason": "mended", "canary": "0"})
    run = BulkOperation.objects.order_by("-pk")[0]
    selection = Selection.from_json(run.selection)
    assert {row.pk for row in selection.rows()} <= set(near.ids)
    limit_role(Group.objects.get(name="role 0 of lena"))  # whoever began it reaches further now, and the run does not
    assert not {row.pk for row in Selection.from_json(run.selection).rows()} & set(far.ids)


def test_ticked_jobs_beyond_reach_are_passed_over() -> None:
    user = limited({"queues": [NEAR]})
    near, far = furnish(NEAR, user), furnish(FAR, user)
    ids = [near.facts["failed"], far.facts["failed"]]
    tokens = dict(JobRecord.objects.values_list("pk", "token"))
    form = {"action": "retry", "_selected_action": ids, "expect": [f"{pk}:{tokens[pk]}" for pk in ids]}
    answer = logged_in(user).post("/admin/jobs/jobrecord/", form, follow=True)
    states = dict(JobRecord.objects.filter(pk__in=ids).values_list("pk", "state"))
    assert states == {ids[0]: State.ENQUEUED, ids[1]: State.FAILED}
    assert "Retried 1 job." in answer.content.decode()


def test_a_job_cannot_be_moved_out_of_reach() -> None:
    user = limited({"queues": [NEAR]})
    near = furnish(NEAR, user)
    client, failed = logged_in(user), near.facts["failed"]
    form = {"expect": f"{failed}:{near.facts['token']}", "confirmed": "yes", "queue": "mail"}
    answer = client.post(f"/admin/jobs/jobrecord/{failed}/move/", form)
    assert answer.status_code == 400
    assert 'value="mail"' not in answer.content.decode()
    assert JobRecord.objects.get(pk=failed).queue == NEAR


def test_counts_and_files_hold_what_is_within_alone() -> None:
    user = limited({"types": [f"app.{NEAR}"]})
    near, far = furnish(NEAR, user), furnish(FAR, user)
    client = logged_in(user)
    assert json.loads(client.get("/admin/jobs/new/?after=0").content)["count"] == len(near.ids)
    lines = _text(client.get("/admin/jobs/export/?format=json")).split("\n")
    found = [json.loads(line)["id"] for line in lines if line.startswith("{")]
    assert sorted(found) == sorted(near.ids)
    assert len(near.ids) == len(far.ids)
    page = client.get("/admin/jobs/jobrecord/?q=refused")
    tabs = {tab["value"]: str(tab["count"]) for tab in page.context["cl"].tabs()}
    assert tabs.get("failed") in (None, "", "2")


def test_a_job_beyond_reach_is_as_one_that_never_was() -> None:
    user = limited({"queues": [NEAR]})
    far = furnish(FAR, user)
    client = logged_in(user)
    hidden, missing = far.facts["failed"], 10**9
    for page in ("change/", "retry/", "edit/", "stack/"):
        method = client.post if page in ("retry/", "stack/") else client.get
        answers = [method(f"/admin/jobs/jobrecord/{pk}/{page}", follow=True) for pk in (hidden, missing)]
        assert [answer.status_code for answer in answers] == [404, 404]
        for answer, pk in zip(answers, (hidden, missing), strict=True):
            assert f"There is no job {pk}. Jobs that ended well age out." in answer.content.decode()


def test_whoever_sees_all_and_operates_one_side_changes_that_side_alone() -> None:
    viewer = Group.objects.create(name="sees")
    viewer.permissions.set(
        Permission.objects.filter(content_type__app_label="jobsite_jobs", codename__startswith="view_").exclude(
            codename="view_sensitive"
        )
    )
    user = person("lena", viewer, all_permitted("operates", queues=[NEAR]))
    near, far = furnish(NEAR, user), furnish(FAR, user)
    client = logged_in(user)
    client.raise_request_exception = False
    status, text = _read(client, "/admin/jobs/jobrecord/")
    assert status == 200
    assert _names(text, far)
    status, text = _read(client, f"/admin/jobs/jobrecord/{far.facts['failed']}/change/")
    assert status == 200
    assert "formaction" not in text
    _check_verbs(client, near, far, limited_sight=False, whole="queue")
    addresses = dict(patterns())
    looks = {name: client.get(near.url(name, addresses[name])).status_code for name in WHOLE_ONLY}
    assert looks == dict.fromkeys(WHOLE_ONLY, 200)
    assert SHARED in text
