"""A site whose router reads from a replica: one that stays as it was when the site was made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sites.conftest import Make
from tests.sites.project import Project
from tests.sites.test_beside import FILL, LOOK

SETTINGS = """
DATABASES["replica"] = dj_database_url.parse(os.environ.get("REPLICA_URL", os.environ["DATABASE_URL"]))
DATABASE_ROUTERS = ["host.routers.Replica"] if "REPLICA_URL" in os.environ else []
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
LANGUAGE_CODE = "en"
"""
FILES = {
    "host/urls.py": """
from django.urls import include, path

urlpatterns = [path("ops/jobs/", include("dashboard.urls"))]
""",
    "host/routers.py": """
class Replica:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, one, other, **hints):
        return True
""",
}
PEOPLE = """
from django.contrib.auth import get_user_model

get_user_model().objects.create_superuser("boss", "", "x", pk=4321)
get_user_model().objects.create_user("vera", "", "x", is_staff=True, pk=5432)
tell(None)
"""


@pytest.fixture(scope="module")
def site(make: Make) -> Project:
    """The site, its replica without a job."""
    replica = make(settings=SETTINGS, files=FILES, migrated=True)
    replica.told(PEOPLE)
    site = make(settings=SETTINGS, files=FILES, migrated=True)
    site.env["REPLICA_URL"] = replica.env["DATABASE_URL"]
    return site


@pytest.fixture(scope="module")
def facts(site: Project) -> dict[str, Any]:
    """Which rows the site was filled with, by a process that asks the router: its jobs ran."""
    filled: dict[str, Any] = site.told(FILL)
    return filled


CRAWL = """
from dashboard.kit.queries import queue_rows, state_counts

pages = crawl(client, PREFIX, START)
text = {page.address: page.html for page in pages}
tell({
    "wrong": [(page.address, page.status) for page in pages if page.status not in (200, 302)],
    "pages": len(pages),
    "audited": "1234" in text[f"{PREFIX}jobs/auditentry/"],
    "counted": [state_counts()["failed"].value > 3, any(row.waiting.value for row in queue_rows())],
    "state": [word in text[START[-1]] for word in ("Retrying", "ValueError")],
})
"""


def test_every_page_shows_what_was_written(site: Project, facts: dict[str, Any]) -> None:
    told = site.told(LOOK + CRAWL, FACTS=str(facts).replace("'", '"'))
    assert told["wrong"] == []
    assert told["pages"] > 40
    assert told["audited"]
    assert told["state"] == told["counted"] == [True, True]


VERBS = """
import re
from handlers.models import AuditEntry, BulkOperation, JobRecord, StoredPolicy
from handlers.states import State
from tests.console.factories import make_job

LIST = f"{PREFIX}jobs/jobrecord/"
said = {}

def hidden(page):
    return dict(re.findall(r'name="(form_key|expect|version)" value="([^"]*)"', client.get(page).content.decode()))

def do(name, address, form, expected, page=None):
    form = {**(hidden(page) if page else {}), **form}
    answer = client.post(address, form, follow=True)
    text = answer.content.decode()
    if answer.status_code != 200 or expected not in text:
        said[name] = [answer.status_code, answer.redirect_chain, re.findall("<h1>(.*?)</h1>", text)]
    return answer

failed = make_job(State.FAILED, job_type="host.Note", payload={})
change = f"{LIST}{failed.pk}/change/"
token = lambda: f"{failed.pk}:{JobRecord.objects.get(pk=failed.pk).token}"
do("retry", f"{LIST}{failed.pk}/retry/", {"expect": token()}, f"Retried job {failed.pk}.")
do("delete", f"{LIST}{failed.pk}/delete/", {"expect": token()}, f"Deleted job {failed.pk}.")
do("restore", f"{LIST}{failed.pk}/restore/", {"expect": token()}, f"Restored job {failed.pk}.")
ticked = make_job(State.FAILED, job_type="host.Note", payload={})
do("ticked", LIST, {"action": "retry", "index": "0", "_selected_action": [ticked.pk],
                    "expect": [f"{ticked.pk}:{ticked.token}"]}, "Retried 1 job.")
edited = make_job(State.FAILED, job_type="host.Note", payload={})
edit = f"{LIST}{edited.pk}/edit/"
do("edit", edit, {}, str(edited.pk), page=edit)
enqueue = f"{PREFIX}job-types/host.Note/enqueue/"
do("enqueue", enqueue, {"when": "now", "queue": "default"}, "host.Note", page=enqueue)
sent = {**hidden(enqueue), "when": "now", "queue": "default"}
do("once", enqueue, sent, "host.Note")
do("twice", enqueue, sent, "then")
requeue = make_job(State.SUCCEEDED, job_type="host.Note", payload={})
new = f"{PREFIX}bulk/new/?verb=requeue&q=id:{requeue.pk}"
do("bulk", new, {"confirm_count": "1"}, "Requeue", page=new)
run = BulkOperation.objects.latest("pk").pk
for switch, words in (("pause", "aused"), ("resume", "unning"), ("stop", "topped")):
    do(switch, f"{PREFIX}bulk/{run}/{switch}/", {"reason": "because"}, words)
do("pause queue", f"{PREFIX}queues/default/pause/", {"reason": "noon in Bonn"}, "noon in Bonn")
do("resume queue", f"{PREFIX}queues/default/resume/", {}, "Queues")
do("pause type", f"{PREFIX}job-types/host.Note/pause/", {"reason": "noon in Bonn"}, "noon in Bonn")
do("resume type", f"{PREFIX}job-types/host.Note/resume/", {}, "host.Note")
policy = {"name": "fresh", "max_attempts": 5, "backoff": "fixed", "delay_seconds": 5, "factor": 2, "jitter": 0,
          "on_exhausted": "fail", "do": "save"}
do("policy", f"{PREFIX}retry-policies/new/", policy, "Saved fresh")
page = f"{PREFIX}retry-policies/{StoredPolicy.objects.get(name='fresh').pk}/"
do("policy again", page, {**policy, "max_attempts": 6}, "Saved fresh", page=page)
do("types", f"{page}types/", {"shown": ["host.Note"], "types": ["host.Note"]}, "1 job type changed")
do("no policy", f"{page}delete/", {"version": "2"}, "follows the code again")
do("stop worker", f"{PREFIX}workers/stop/", {"name": "host-1.1234.0"}, "Workers")

USERS, GROUPS = f"{PREFIX}auth/user/", f"{PREFIX}auth/group/"
password = {"usable_password": "true", "password1": "a1b2c3d4e5f6", "password2": "a1b2c3d4e5f6"}
do("group", f"{GROUPS}add/", {"name": "Night shift"}, "Night shift")
do("user", f"{USERS}add/", {"username": "walter", **password}, "walter")
walter = get_user_model().objects.using("default").get(username="walter")
groups = {group.name: group.pk for group in walter.groups.model.objects.using("default").all()}
form = {"username": "walter", "is_active": "on", "is_staff": "on"}
do("roles", f"{USERS}{walter.pk}/change/", {**form, "groups": [groups["Viewer"], groups["Night shift"]]}, "walter")
shown = client.get(f"{USERS}{walter.pk}/change/").content.decode()
do("make", USERS, {"action": "make_operator", "_selected_action": [walter.pk]}, "1 user now in Operator")
do("password", f"{USERS}{walter.pk}/password/", password, "walter")
roles = AuditEntry.objects.filter(verb="change_user", target="user walter").order_by("pk")
tell({
    "said": said,
    "selected": sorted(re.findall(r'<option value="\\d+" selected>(Viewer|Night shift)', shown)),
    "roles": [[entry.data["before"]["groups"], entry.data["after"]["groups"]] for entry in roles],
    "listed": re.findall(r'field-roles">(Night shift, Operator, Viewer)<', client.get(USERS).content.decode()),
    "export": client.get(f"{PREFIX}jobs/export/?q=id:{edited.pk}").getvalue().decode().count("host.Note"),
    "deleted": client.post(f"{USERS}{walter.pk}/delete/", {"post": "yes"}).status_code,
})
"""


def test_every_verb_is_followed_by_what_it_did(site: Project, facts: dict[str, Any]) -> None:
    told = site.told(LOOK + VERBS, FACTS=str(facts).replace("'", '"'))
    assert told["said"] == {}
    assert told["selected"] == ["Night shift", "Viewer"]
    assert told["roles"] == [
        [[], ["Night shift", "Viewer"]],
        [["Night shift", "Viewer"], ["Night shift", "Operator", "Viewer"]],
    ]
    assert told["listed"] == ["Night shift, Operator, Viewer"]
    assert (told["export"], told["deleted"]) == (1, 302)
