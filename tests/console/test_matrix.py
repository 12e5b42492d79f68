"""Every address of the console, by every method, for every role: who gets what, and who is refused.

The addresses come from the site itself: one that is added without a line here fails the test. "Nothing changed" is
what the database was told: a refused request writes to no table but that of the sessions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.http import QueryDict
from django.template.response import SimpleTemplateResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from dashboard.models import SavedView
from handlers import job_scheduler
from handlers.alerts import add_rule, mute_rule
from handlers.alerts.edits import Terms
from handlers.api.clients import create_client
from handlers.models import (
    AuditEntry,
    BulkOperation,
    FailureGroup,
    JobRecord,
    LimitOverride,
    RecurringJob,
    StoredPolicy,
    WorkerProcess,
    Workflow,
    WorkflowNode,
)
from handlers.states import State
from tests.app.jobs import Note
from tests.console.conftest import logged_in
from tests.console.factories import fail_delivery, make_job, make_saga

pytestmark = pytest.mark.django_db

ANONYMOUS, STAFF, VIEWER, OPERATOR, ADMINISTRATOR, SUPERUSER, NOBODY = range(7)
ROLES = ("anonymous", "staff", "Viewer", "Operator", "Administrator", "superuser")  # each may do what those before may
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
RARE = ("put", "patch", "delete", "options")  # which some of the stock views refuse to everybody
REFUSED = (403, 404, 405)  # 404: the stock admin's word for an app of which a person may see nothing

# url name -> the least role that may look, and the least that may send a form (NOBODY: that is not for people).
PAGES: dict[str, tuple[int, int]] = {
    "index": (STAFF, STAFF),
    "app_list": (VIEWER, VIEWER),
    "password_change": (STAFF, STAFF),
    "password_change_done": (STAFF, NOBODY),
    "account": (STAFF, STAFF),  # one's own
    "jsi18n": (STAFF, NOBODY),
    "autocomplete": (NOBODY, NOBODY),  # no form asks it
    "view_on_site": (NOBODY, NOBODY),  # nothing has an address outside the console
    # jobs
    "jobsite_jobs_jobrecord_changelist": (VIEWER, OPERATOR),  # the form carries an action
    "jobsite_jobs_jobrecord_add": (NOBODY, NOBODY),
    "jobsite_jobs_jobrecord_change": (VIEWER, VIEWER),  # a form is taken for a look
    "jobsite_jobs_jobrecord_delete": (NOBODY, OPERATOR),  # the verb; it takes the place of the stock page
    "jobsite_jobs_jobrecord_history": (STAFF, STAFF),  # leads on to the job page, and says nothing
    "jobsite_jobs_jobrecord_retry": (NOBODY, OPERATOR),
    "jobsite_jobs_jobrecord_edit": (OPERATOR, OPERATOR),
    "jobsite_jobs_jobrecord_requeue": (NOBODY, OPERATOR),
    "jobsite_jobs_jobrecord_restore": (NOBODY, OPERATOR),
    "jobsite_jobs_jobrecord_move": (NOBODY, OPERATOR),
    "jobsite_jobs_jobrecord_stack": (NOBODY, OPERATOR),
    "jobsite_jobs_jobrecord_signal": (NOBODY, OPERATOR),
    "jobs_export": (VIEWER, VIEWER),
    "jobs_new": (VIEWER, VIEWER),
    "jobs_names": (VIEWER, VIEWER),
    "jobs_after": (VIEWER, VIEWER),
    "undo": (NOBODY, VIEWER),  # of one's own acts, with the permission for it
    # saved views
    "job_views": (VIEWER, VIEWER),
    "job_view": (VIEWER, VIEWER),
    "job_view_new": (VIEWER, VIEWER),
    "job_view_edit": (VIEWER, VIEWER),  # of one's own; that of another leads back
    "job_view_delete": (NOBODY, ADMINISTRATOR),  # of another, who shares it
    "jobs_columns": (NOBODY, VIEWER),
    # audit
    "jobsite_jobs_auditentry_changelist": (VIEWER, VIEWER),
    "jobsite_jobs_auditentry_add": (NOBODY, NOBODY),
    "jobsite_jobs_auditentry_change": (VIEWER, NOBODY),
    "jobsite_jobs_auditentry_delete": (NOBODY, NOBODY),
    "jobsite_jobs_auditentry_history": (VIEWER, VIEWER),
    # what has no table of its own
    "caught_up": (NOBODY, VIEWER),
    "jobs_ended": (VIEWER, VIEWER),
    "failures": (VIEWER, VIEWER),
    "failure_group": (VIEWER, VIEWER),
    "resolve_group": (NOBODY, OPERATOR),
    "ignore_group": (NOBODY, OPERATOR),
    "reopen_group": (NOBODY, OPERATOR),
    "assign_group": (NOBODY, OPERATOR),
    "note_group": (NOBODY, OPERATOR),
    "foreign": (VIEWER, VIEWER),
    "queues": (VIEWER, VIEWER),
    "pause_queue": (NOBODY, OPERATOR),
    "resume_queue": (NOBODY, OPERATOR),
    "workers": (VIEWER, VIEWER),
    "stop_worker": (NOBODY, OPERATOR),
    "job_types": (VIEWER, VIEWER),
    "job_type": (VIEWER, VIEWER),
    "enqueue_one": (OPERATOR, OPERATOR),
    "pause_type": (NOBODY, OPERATOR),
    "resume_type": (NOBODY, OPERATOR),
    "bulk": (VIEWER, VIEWER),
    "bulk_new": (OPERATOR, OPERATOR),
    "bulk_run": (VIEWER, VIEWER),
    "bulk_pause": (NOBODY, OPERATOR),
    "bulk_try": (NOBODY, OPERATOR),
    "bulk_resume": (NOBODY, OPERATOR),
    "bulk_stop": (NOBODY, OPERATOR),
    "retry_policies": (VIEWER, VIEWER),
    "retry_policy_new": (ADMINISTRATOR, ADMINISTRATOR),
    "retry_policy": (VIEWER, ADMINISTRATOR),
    "retry_policy_types": (NOBODY, ADMINISTRATOR),
    "retry_policy_delete": (ADMINISTRATOR, ADMINISTRATOR),
    "clients": (ADMINISTRATOR, ADMINISTRATOR),
    "client_new": (ADMINISTRATOR, ADMINISTRATOR),
    "client": (ADMINISTRATOR, ADMINISTRATOR),
    "client_revoke": (NOBODY, ADMINISTRATOR),
    "alerts": (VIEWER, VIEWER),
    "alert_new": (ADMINISTRATOR, ADMINISTRATOR),
    "alert_rule": (VIEWER, ADMINISTRATOR),
    "alert_delete": (ADMINISTRATOR, ADMINISTRATOR),
    "alert_mute": (NOBODY, OPERATOR),
    "alert_unmute": (NOBODY, OPERATOR),
    "alert_test": (NOBODY, ADMINISTRATOR),
    "limits": (VIEWER, VIEWER),
    "limit": (VIEWER, ADMINISTRATOR),
    "limit_reset": (NOBODY, ADMINISTRATOR),
    # recurring jobs
    "recurring": (VIEWER, VIEWER),
    "recurring_job": (VIEWER, VIEWER),
    "recurring_day": (VIEWER, VIEWER),
    "recurring_new": (ADMINISTRATOR, ADMINISTRATOR),
    "recurring_edit": (ADMINISTRATOR, ADMINISTRATOR),
    "recurring_delete": (ADMINISTRATOR, ADMINISTRATOR),
    "recurring_backfill": (OPERATOR, OPERATOR),
    "trigger_recurring": (NOBODY, OPERATOR),
    "pause_recurring": (NOBODY, OPERATOR),
    "resume_recurring": (NOBODY, OPERATOR),
    # workflows
    "workflows": (VIEWER, VIEWER),
    "workflow": (VIEWER, VIEWER),
    "workflow_cancel": (OPERATOR, OPERATOR),
    "pause_workflow": (NOBODY, OPERATOR),
    "resume_workflow": (NOBODY, OPERATOR),
    "retry_workflow": (NOBODY, OPERATOR),
    "skip_job": (OPERATOR, OPERATOR),
    # sagas
    "sagas": (VIEWER, VIEWER),
    "saga": (VIEWER, VIEWER),
    "complete_saga": (OPERATOR, OPERATOR),
    "retry_in_saga": (NOBODY, OPERATOR),
    # users and groups
    **{
        f"auth_{model}_{page}": (ADMINISTRATOR, ADMINISTRATOR)
        for model in ("user", "group")
        for page in ("changelist", "add", "change", "delete", "history")
    },
    "auth_user_password_change": (ADMINISTRATOR, ADMINISTRATOR),
}
OPEN = {"language", "login", "logout"}  # for whoever comes
# Old addresses that lead on, the index of the engine, which each role has by app_list too, and every other one: 404.
UNNAMED = {"<path:object_id>/", "jobs/", "(?P<url>.*)$"}

# What a form sends where an empty one would say little; these must change something for those who may.
FORMS: dict[str, dict[str, Any]] = {
    "jobsite_jobs_jobrecord_changelist": {
        "action": "retry",
        "_selected_action": "{failed}",
        "expect": "{failed}:{token}",
    },
    "jobsite_jobs_jobrecord_retry": {"expect": "{failed}:{token}", "reason": "fixed"},
    "jobsite_jobs_jobrecord_delete": {"expect": "{failed}:{token}"},
    "jobsite_jobs_jobrecord_edit": {"arg-text": "other", "expect": "{token}"},
    "jobsite_jobs_jobrecord_requeue": {"expect": "{succeeded}:{succeeded_token}"},
    "jobsite_jobs_jobrecord_restore": {"expect": "{deleted}:{deleted_token}"},
    "jobsite_jobs_jobrecord_move": {"expect": "{failed}:{token}", "confirmed": "yes", "queue": "mail"},
    "jobsite_jobs_jobrecord_stack": {"expect": "{running}:{running_token}"},
    "jobsite_jobs_jobrecord_signal": {"expect": "{waiting}:{waiting_token}", "answer": "approve", "reason": "fine"},
    "jobs_export": {},
    "job_view_new": {"name": "mine", "query": "state=failed"},
    "job_view_delete": {},
    "account": {"single_keys": "off"},
    "jobs_columns": {"column": "queue", "back": "state=failed"},
    "pause_queue": {"span": "1h", "reason": "calm"},
    "resume_queue": {},
    "stop_worker": {"name": "host-1.1.0"},
    "enqueue_one": {"arg-text": "hello", "when": "now", "queue": "default"},
    "pause_type": {"reason": "calm"},
    "resume_type": {},
    "bulk_new": {"reason": "fixed"},
    "bulk_pause": {},
    "bulk_try": {},
    "bulk_resume": {},
    "bulk_stop": {},
    "retry_policy_new": {"name": "new", "do": "save", "version": "0"},
    "retry_policy": {"name": "slow", "do": "save", "version": "{version}"},
    "retry_policy_types": {"shown": "app.Note", "types": "app.Note"},
    "retry_policy_delete": {"version": "{version}"},
    "client_new": {"name": "new", "verbs": "read"},
    "client_revoke": {},
    "resolve_group": {"reason": "mended"},
    "ignore_group": {"for": "1d", "times": ""},
    "reopen_group": {"reason": "not mended"},
    "assign_group": {"user": "{assignee}"},
    "note_group": {"text": "the bank is down"},
    "limit": {"concurrency": "3", "rate": "", "version": "1", "do": "save", "seen": "concurrency: 3; rate: "},
    "limit_reset": {"version": "1"},
    "alert_new": {"name": "new", "hold_seconds": "0", "again_minutes": "0", "emails": "a@b.example"},
    "alert_rule": {
        "version": "{rule_version}",
        "name": "other",
        "hold_seconds": "0",
        "again_minutes": "0",
        "emails": "a@b.example",
    },
    "alert_delete": {},
    "alert_mute": {"hours": "4"},
    "alert_unmute": {},
    "alert_test": {},
    "recurring_new": {"name": "new", "version": ""},
    "recurring_edit": {"version": "{recurring_version}"},
    "recurring_delete": {"version": "{recurring_version}"},
    "recurring_backfill": {"start": "2026-03-01T00:30", "end": "2026-03-01T05:00", "do": "run"},
    "trigger_recurring": {"reason": "now"},
    "pause_recurring": {"span": "8h", "until": ""},
    "resume_recurring": {},
    "workflow_cancel": {"reason": "ordered twice"},
    "pause_workflow": {"reason": "calm"},
    "resume_workflow": {},
    "retry_workflow": {"reason": "fixed"},
    "skip_job": {"token": "{node_token}", "reason": "paid by hand"},
    "complete_saga": {"turns": "1", "reason": "paid by hand"},
    "retry_in_saga": {"token": "{token}", "reason": "the card is there"},
    "auth_user_add": {"username": "new", "password1": "Xk3-uu98!", "password2": "Xk3-uu98!", "usable_password": "true"},
    "auth_user_change": {"username": "renamed", "is_active": "on"},
    "auth_user_delete": {"post": "yes"},
    "auth_user_password_change": {"password1": "Xk3-uu98!", "password2": "Xk3-uu98!", "usable_password": "true"},
    "auth_group_add": {"name": "new"},
    "auth_group_change": {"name": "renamed"},
    "auth_group_delete": {"post": "yes"},
}
POLICY = {"max_attempts": 5, "backoff": "fixed", "delay_seconds": 5, "factor": 2, "jitter": 0, "on_exhausted": "fail"}
FORMS["retry_policy_new"] |= POLICY
FORMS["retry_policy"] |= POLICY
RECURRING = {
    "type": "app.Note", "arguments_of": "app.Note", "arg-text": "hello", "cron": "0 9 * * *", "every": "",
    "timezone": "Europe/Berlin", "start": "", "end": "", "misfire": "one", "catch_up": "100", "catch_up_within": "1 d",
    "overlap": "allow", "jitter": "", "queue": "", "pause_after": "0", "heartbeat_url": "", "do": "save",
}  # fmt: skip
FORMS["recurring_new"] |= RECURRING
FORMS["recurring_edit"] |= RECURRING
QUERIES = {
    "bulk_new": "verb=retry&state=failed",
    "jobs_ended": "since=2026-05-04T07:00Z&until=2026-05-04T07:15Z",
    "alert_new": "kind=bulk",
}


def patterns() -> Iterator[tuple[str, URLPattern]]:
    """Every pattern below /admin/: its name, empty where it has none, and the pattern."""
    for pattern in get_resolver().url_patterns:
        if isinstance(pattern, URLResolver) and pattern.app_name == "admin":
            yield from _walk(pattern)


def _walk(resolver: URLResolver) -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern)
        elif isinstance(pattern, URLPattern):
            yield pattern.name or "", pattern


@dataclass
class World:
    """Something of each kind, and who asks."""

    facts: dict[str, Any]

    def url(self, name: str, pattern: URLPattern) -> str:
        """An address that leads to something."""
        given = {
            argument: self._argument(name, argument)
            for argument in pattern.pattern.regex.groupindex
            if not (pattern.default_args and argument in pattern.default_args)
        }
        query = QUERIES.get(name, "")
        return f"{reverse(f'admin:{name}', kwargs=given)}{'?' if query else ''}{query}"

    def _argument(self, name: str, argument: str) -> Any:
        if argument == "name" and name.startswith("limit"):
            return "tills"
        if argument == "fingerprint":
            return "feed1" if name == "reopen_group" else "feed0"
        if argument == "name":
            return "app.Note" if "type" in name or name == "enqueue_one" else "default"
        if argument in ("object_id", "id"):
            return self.facts["failed" if name == "view_on_site" else name.removeprefix("jobsite_").split("_")[1]]
        if argument == "job_id":
            if name == "skip_job":
                return self.facts["node"]
            return self.facts[
                {"requeue": "succeeded", "restore": "deleted", "stack": "running", "signal": "waiting"}.get(
                    name.rpartition("_")[2], "failed"
                )
            ]
        return {"app_label": "jobsite_jobs", "content_type_id": ContentType.objects.get_for_model(JobRecord).pk,
                "policy_id": self.facts["policy"],
                "operation_id": self.facts["operation"], "entry_id": self.facts["recurring"],
                "workflow_id": self.facts["workflow"], "client_id": self.facts["client"],
                "saga_id": self.facts["saga"],
                "rule_id": self.facts["rule"], "view_id": self.facts["view"]}[argument]  # fmt: skip

    def form(self, name: str) -> dict[str, Any]:
        """What the page's form sends."""
        return {
            key: value.format(**self.facts) if isinstance(value, str) else value
            for key, value in FORMS.get(name, {}).items()
        }


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Django logs each refusal; there are thousands."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def world(db: None) -> World:
    states = (State.FAILED, State.SUCCEEDED, State.DELETED, State.PROCESSING, State.WAITING)
    failed, succeeded, deleted, running, waiting = (make_job(state) for state in states)
    now = timezone.now()
    WorkerProcess.objects.create(
        name="host-1.1.0", host="host-1", pid=1, kind="worker", started_at=now, heartbeat_at=now, queues=["default"]
    )
    policy = StoredPolicy.objects.create(name="slow", updated_at=now)
    LimitOverride.objects.create(name="tills", concurrency=9, updated_at=now)
    operation = BulkOperation.objects.create(
        verb="retry", selection={"states": ["failed"]}, upper_id=failed.pk, count=1, created_at=now, progressed_at=now
    )
    job_scheduler.add_or_update_recurring("hourly", Note("it"), "0 * * * *")
    recurring = RecurringJob.objects.get()
    workflow = Workflow.objects.create(title="Order 7", created_at=now, total=1, failed=1, paused_at=now)
    node = make_job()
    JobRecord.objects.filter(pk=node.pk).update(watched=True)
    WorkflowNode.objects.create(pk=node.pk, workflow_id=workflow.pk, job_type="app.Note", outcome="failed")
    fail_delivery(saga := make_saga(), failed)
    entry = AuditEntry.objects.create(at=now, username="x", verb="retry", target="job 1", count=1)
    target = User.objects.create_user("target", password="secret")
    rule = add_rule(Terms("runs", "bulk", emails=["ops@shop.example"]))
    mute_rule(rule.pk, now + timedelta(hours=1))
    colleague = User.objects.create_user("colleague", is_staff=True)
    for name, state in (("feed0", "open"), ("feed1", "resolved")):
        FailureGroup.objects.create(pk=name, first_at=now, last_at=now, state=state)
    view = SavedView.objects.create(
        person=str(target.pk), person_name="target", name="failed", query="state=failed", is_shared=True, saved_at=now
    )
    return World(
        {
            "failed": failed.pk, "token": failed.token, "jobrecord": failed.pk, "succeeded": succeeded.pk,
            "succeeded_token": succeeded.token, "deleted": deleted.pk, "deleted_token": deleted.token,
            "running": running.pk, "running_token": running.token, "waiting": waiting.pk,
            "waiting_token": waiting.token,
            "policy": policy.pk, "version": policy.version, "operation": operation.pk, "auditentry": entry.pk,
            "workflow": workflow.pk, "node": node.pk, "node_token": node.token, "saga": saga.pk,
            "recurring": recurring.pk, "recurring_version": recurring.version,
            "client": create_client("billing", verbs=["read"])[0].pk,
            "view": view.pk, "rule": rule.pk, "rule_version": rule.version,
            "user": target.pk, "assignee": colleague.pk, "group": Group.objects.create(name="empty").pk,
        }
    )  # fmt: skip


@pytest.fixture
def client_of(db: None) -> dict[int, Client]:
    """A client for each role; the groups are those that the migrations made."""
    found = {ANONYMOUS: Client(raise_request_exception=False)}
    for place, role in list(enumerate(ROLES))[1:]:
        user = User.objects.create_user(f"the-{role}", password="secret", is_staff=True)
        if VIEWER <= place <= ADMINISTRATOR:
            user.groups.add(Group.objects.get(name=role))
        elif place == SUPERUSER:
            User.objects.filter(pk=user.pk).update(is_superuser=True)
        found[place] = logged_in(User.objects.get(pk=user.pk))
        found[place].raise_request_exception = False
    return found


@contextmanager
def undone() -> Iterator[list[str]]:
    """What the database is told to write meanwhile; afterwards it is as it was."""
    written: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if any(word in sql for word in ("INSERT ", "UPDATE ", "DELETE ")) and "django_session" not in sql:
            written.extend([] if sql.rstrip().endswith(("FOR UPDATE", "FOR NO KEY UPDATE")) else [sql])
        return execute(sql, params, many, context)

    with transaction.atomic():
        with connection.execute_wrapper(watch):
            yield written
        transaction.set_rollback(True)


def _asked(client: Client, method: str, url: str, form: dict[str, Any]) -> tuple[Any, list[str]]:
    cookies: Any = client.cookies.copy()
    with undone() as written:
        response = getattr(client, method)(url, form) if method == "post" else getattr(client, method)(url)
        if response.streaming:
            list(response.streaming_content)
    client.cookies = cookies  # a session that was made anew is undone too
    return response, written


def _wrong(role: int, least: int, method: str, status: int, location: str, written: list[str]) -> str:
    """What is wrong with an answer; empty: nothing."""
    if status >= 500:
        return "an error"
    if role == ANONYMOUS:
        led = (status == 302 and "/login/" in location) or (status == 403 and method == "post")
        return "" if led and not written else "not led to the login"
    if role < least:
        return "" if status in REFUSED and not written else "not refused"
    if least == NOBODY:
        return "" if status in REFUSED and not written else "not refused to all"
    return "refused" if status in REFUSED and not (status == 405 and method in RARE) else ""


def test_every_address_has_a_line() -> None:
    found = list(patterns())
    assert {name for name, _ in found if name} == set(PAGES) | OPEN
    assert {str(pattern.pattern) for name, pattern in found if not name} == UNNAMED


@dataclass
class Drawing:
    """Draws the page of each look, and not once more for a method that is answered with the same one.

    Each kind of refusal is drawn once.
    """

    method: str  # of the request
    drawn: set[str]  # the templates of the looks at an address
    refusals: set[tuple[str, int]]  # templates and statuses
    is_off: bool = False  # nothing is drawn

    def of(self, response: Any, draw: Callable[[Any], str]) -> str:
        """The page as text; empty where it is one of these."""
        if self.is_off:
            return ""
        name = str(response.template_name._template.template.name)  # as dashboard.kit.rendering has it
        if (refusal := (name, response.status_code)) in self.refusals:
            return ""
        if response.status_code in REFUSED:
            self.refusals.add(refusal)
        elif name in self.drawn and self.method != "post":
            return ""
        elif self.method == "get":
            self.drawn.add(name)
        return draw(response)


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Drawing:
    made, draw = Drawing("", set(), set()), vars(SimpleTemplateResponse)["rendered_content"].fget
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", property(lambda response: made.of(response, draw)))
    return made


@pytest.mark.once
@pytest.mark.parametrize("role", range(len(ROLES)), ids=ROLES)
def test_matrix(world: World, client_of: dict[int, Client], drawing: Drawing, role: int) -> None:
    wrong = []
    for name, pattern in patterns():
        if name not in PAGES:
            continue
        url, (look, send) = world.url(name, pattern), PAGES[name]
        drawing.drawn.clear()
        for method in METHODS:
            if method in ("head", *RARE) and look <= role < SUPERUSER:
                continue  # a look, as for the superuser: to take so many for each role would take a minute
            drawing.method = method
            response, written = _asked(client_of[role], method, url, world.form(name))
            least = send if method == "post" else look
            location = response.headers.get("Location", "")
            if name == "autocomplete" and method == "options" and role != ANONYMOUS:
                continue  # the stock view says which methods it has
            problem = _wrong(role, least, method, response.status_code, location, written)
            if not problem and method != "post" and written and name != "jobs_export":
                problem = "looking wrote something"
            if not problem and method == "post" and name in FORMS and role >= send and not written:
                problem = "the form did nothing, so this test says nothing"
            if problem:
                wrong.append(f"{method} {url} ({name}): {response.status_code}: {problem} {location} {written[:1]}")
    assert not wrong, "\n".join(wrong)


# --- garbage

GARBAGE = (
    "\x00", "9" * 30, "-1", "0", "1e999", "NaN", "\u202e\u2066evil", "x" * 10_000, "'\"`;--", "<script>", "\U0001f600",
    "%", "a:b", "type:", "since:99999999d", "[]", "{}", "..", "//evil.example", "\ud800", "1.5", " ",
)  # fmt: skip
PARAMETERS = (
    "q", "state", "type", "queue", "worker", "since", "until", "before", "after", "span", "verb", "user", "page", "e",
    "o", "p", "all", "_changelist_filters", "back", "raw", "attempt", "format", "nonsense", "_popup", "_to_field",
    "day", "zone", "quarter", "origin", "box", "layer", "workflow",
)  # fmt: skip
LISTS = ("jobsite_jobs_jobrecord_changelist",)  # reads the most of them
# How many of the values each parameter, and each field, is given: on the stricter database more.
TURNS = {"postgresql": range(0, 22, 4), "sqlite": range(2, 22, 8)}
FORM_TURNS = {"postgresql": (0, 7, 15), "sqlite": (4,)}
READ = tuple(name for name, (look, _) in PAGES.items() if look != NOBODY)


def test_garbage_in_an_address_is_no_error(world: World, client_of: dict[int, Client]) -> None:
    wrong, urls = [], {name: world.url(name, pattern) for name, pattern in patterns() if name in READ}
    for name, url in urls.items():
        # Alone where most of them are read; and all at once, in turn.
        asked = [
            {other: GARBAGE[(place + shift) % len(GARBAGE)] for shift, other in enumerate(PARAMETERS)}
            for place in TURNS[connection.vendor]
        ]
        if name in LISTS:
            asked += [{other: value} for other in ("q", "state", "before", "since") for value in GARBAGE]
        for parameters in asked:
            query = urlencode(parameters, errors="surrogatepass")
            response, _ = _asked(client_of[SUPERUSER], "get", f"{url.partition('?')[0]}?{query}&{query}", {})
            if response.status_code >= 500:
                wrong.append(f"{name}: {response.status_code}: {ascii(parameters)[:150]}")
    assert urls.keys() == set(READ)
    assert not wrong, "\n".join(wrong[:20])


@pytest.fixture
def fields_read(monkeypatch: pytest.MonkeyPatch) -> dict[str, None]:
    """The names of the fields that pages look for in what they are sent, in the order in which they came to them."""
    names: dict[str, None] = {}
    for method in ("__getitem__", "__contains__", "getlist"):
        original = getattr(QueryDict, method)

        def note(sent: QueryDict, name: str, *rest: Any, _original: Any = original, **options: Any) -> Any:
            names.setdefault(name)
            return _original(sent, name, *rest, **options)

        monkeypatch.setattr(QueryDict, method, note)
    return names


def test_garbage_in_a_form_is_no_error(
    world: World, client_of: dict[int, Client], fields_read: dict[str, None], drawing: Drawing
) -> None:
    wrong, urls = [], {name: world.url(name, pattern) for name, pattern in patterns() if name in FORMS}
    drawing.method, turns = "post", FORM_TURNS[connection.vendor]
    for name, url in urls.items():
        good = world.form(name)
        fields = dict.fromkeys([*good, "nonsense"])  # one that nobody reads, and then each that turns out to be read
        for place, field in enumerate(growing(fields)):
            for turn in turns:
                drawing.is_off = turn != turns[place % len(turns)]  # that page is drawn with one of them
                value = GARBAGE[(place + turn) % len(GARBAGE)]
                fields_read.clear()
                sent = {**good, field: value.replace("\ud800", "\ufffd")}
                response, _ = _asked(client_of[SUPERUSER], "post", url, sent)
                fields.update(fields_read)
                if response.status_code >= 500:
                    wrong.append(f"{name}: {response.status_code}: {field}={ascii(value)[:60]}")
    assert urls.keys() == FORMS.keys()
    assert not wrong, "\n".join(wrong[:20])


def growing(fields: dict[str, None]) -> Iterator[str]:
    """Each of them once, those too that are added meanwhile."""
    done: set[str] = set()
    while left := [field for field in fields if field not in done]:
        done.add(left[0])
        yield left[0]
