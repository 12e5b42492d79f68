"""The audit's page: every verb, by whom, from where, why, with before and after; and nothing that text can break."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import AuditEntry
from handlers.policy_edits import assign, save_policy
from handlers.states import State
from tests.app.jobs import Note
from tests.console.factories import make_job
from tests.console.reading import as_read

URL = "/admin/jobs/auditentry/"

pytestmark = pytest.mark.django_db


def entry(**fields: Any) -> AuditEntry:
    """An entry as the engine would write it."""
    made = {"at": timezone.now(), "username": "olga", "verb": "retry", "target": "job 1", "count": 1}
    return AuditEntry.objects.create(**(made | fields))


def test_entry_says_from_where_and_why(operator: Client) -> None:
    operator.post("/admin/queues/default/pause/", {"reason": "the mail server is down"}, REMOTE_ADDR="203.0.113.9")
    html = operator.get(URL).content.decode()
    assert "203.0.113.9" in html
    assert "the mail server is down" in html
    assert 'href="/admin/queues/"' in html


def test_policy_entry_shows_before_and_after(operator: Client) -> None:
    policy = save_policy(None, {"name": "slow", "max_attempts": 3}, by="ann")
    save_policy(policy.pk, {"max_attempts": 8}, by="ann")
    assign("app.Fail", policy, by="ann")
    html = operator.get(URL).content.decode()
    assert "Attempts: 3 → <strong>8</strong>" in html
    assert "Policy: the code → <strong>slow</strong>" in html
    assert f'href="/admin/retry-policies/{policy.pk}/"' in html


@pytest.mark.parametrize(
    "verb",
    [
        "enqueue",
        "pause_type",
        "stop_worker",
        "start_bulk",
        "export",
        "exported",
        "save_policy",
        "change_user",
        "set_password",
        "disable_password",
        "edit_and_retry",
        "show_stack",
    ],
)
def test_verb_is_offered_and_filters(operator: Client, verb: str) -> None:
    entry(verb=verb, reason="this one")
    entry(verb="requeue", reason="the other one")
    html = operator.get(URL, {"verb": verb}).content.decode()
    assert f'<option value="{verb}" selected>' in html
    assert "this one" in html
    assert "the other one" not in html


def test_time_and_user_filter(operator: Client) -> None:
    entry(reason="fresh")
    entry(at=timezone.now() - timedelta(days=2), reason="stale")
    entry(username="ann", reason="another hand")
    html = operator.get(URL, {"since": "24h", "user": "olga"}).content.decode()
    assert "fresh" in html
    assert "stale" not in html
    assert "another hand" not in html


@pytest.mark.parametrize("name", ["verb", "user", "since"])
@pytest.mark.parametrize("value", ["<script>alert(1)</script>", "x" * 3_000, "\u202e", "-1"])
def test_filter_with_garbage_is_a_page(operator: Client, name: str, value: str) -> None:
    response = operator.get(URL, {name: value})
    assert response.status_code in (200, 400)
    assert "<script>alert" not in response.content.decode()


@pytest.mark.parametrize(
    "data",
    [
        [],
        "text",
        {"before": 3},
        {"before": ["x"], "after": {"max_attempts": {"a": 1}}},
        {"policies": "x"},
        {"policies": [None]},
        {"policies": [-5]},
        {"job_ids": [True]},
        {"asked": "many", "other": {"deep": ["<script>alert(1)</script>"]}},
    ],
)
def test_entry_with_strange_data_is_shown(operator: Client, data: Any) -> None:
    entry(verb="save_policy", target="policy <b>x</b>", username="<i>mallory</i>", data=data)
    response = operator.get(URL)
    assert response.status_code == 200
    for text in ("<script>alert", "<b>x</b>", "<i>mallory"):
        assert text not in response.content.decode()


def test_program_is_on_record_by_its_name(operator: Client) -> None:
    job_scheduler.pause_queue("default", by="deploy")
    assert "deploy" in operator.get(URL).content.decode()


@pytest.mark.parametrize(
    ("verb", "states", "words"),
    [
        ("retry", [State.SCHEDULED], "had run now"),
        ("retry", [State.FAILED], "retried"),
        ("retry", [State.FAILED, State.SCHEDULED], "retried"),
        ("delete", [State.PROCESSING], "stopped and deleted"),
        ("delete", [State.ENQUEUED], "deleted"),
    ],
)
def test_entry_says_what_the_button_said(operator: Client, verb: str, states: list[State], words: str) -> None:
    ids = [make_job(state).pk for state in states]
    getattr(job_scheduler, f"{verb}_many")(ids, by="ann")
    html = operator.get(URL).content.decode()
    assert f'<td class="field-what">{words}</td>' in html
    assert "<summary>" not in html.split('id="result_list"')[1]


def test_edit_and_retry_shows_each_changed_argument_and_no_secret_to_anybody(superuser: Client) -> None:
    before = {
        "order_id": 7,
        "token": "tok-secret-1",
        "card": {"number": "1", "holder": "Ann"},
        "pins": [],
        "note": None,
    }
    job = make_job(job_type="app.Pay", payload=before)
    after = {**before, "order_id": 8, "token": "tok-secret-2"}
    assert job_scheduler.retry(job.pk, payload=after, by="ann")
    kept = AuditEntry.objects.get()
    assert kept.data is not None
    assert kept.data["before"].keys() == {"order_id", "token"}
    html = superuser.get(URL).content.decode()
    assert '<td class="field-what">retried with edited arguments</td>' in html
    assert f"job {job.pk}</a>" in html
    assert "<li>order_id: 7 → <strong>8</strong></li>" in html
    assert re.search(r"<li>token: (•+) → <strong>\1</strong></li>", html)
    assert "tok-secret" not in f"{html}{kept.data}"


def test_changed_recurring_job_shows_its_rule_its_arguments_and_of_an_address_the_host(superuser: Client) -> None:
    def save(text: str, **options: Any) -> None:
        job_scheduler.add_or_update_recurring("nightly", Note(text), "0 2 * * *", by="ann", **options)

    save("a")
    save("b", timezone="Europe/Berlin", heartbeat_url="https://up.example/secret-path")
    html = superuser.get(URL).content.decode()
    for line in (
        "Time zone: UTC → <strong>Europe/Berlin</strong>",
        "text: &quot;a&quot; → <strong>&quot;b&quot;</strong>",
        "Heartbeat to: none → <strong>up.example</strong>",
    ):
        assert f"<li>{line}</li>" in html
    assert "secret-path" not in html


def test_password_is_told_as_reset_or_as_ones_own_and_pauses_tell_their_end(operator: Client) -> None:
    entry(verb="set_password", username="olga", target="user otto")
    entry(verb="set_password", username="olga", target="user olga")
    entry(verb="pause_queue", target="queue mail", data={"until": "2031-05-01T12:00:00+00:00"})
    html = operator.get(URL).content.decode()
    assert '<td class="field-what">reset the password of</td>' in html
    assert '<td class="field-what">changed their own password:</td>' in html
    assert "until 2031-05-01 12:00:00 UTC" in as_read(html)


def test_audit_is_read_in_the_readers_language_and_kept_in_english(operator: Client) -> None:
    job = make_job()
    job_scheduler.retry(job.pk, payload={"text": "mended"}, by="ann", reason="typo")
    entry(verb="set_password", username="ann", target="user otto")
    html = operator.get(URL, headers={"accept-language": "fr"}).content.decode()
    assert '<td class="field-what">a relancé avec des arguments modifiés</td>' in html
    assert f">tâche {job.pk}</a>" in html
    assert '<td class="field-what">a réinitialisé le mot de passe de</td>' in html
    assert "utilisateur otto" in html
    assert set(AuditEntry.objects.values_list("verb", "target")) == {
        ("edit_and_retry", f"job {job.pk}"), ("set_password", "user otto"),
    }  # fmt: skip
