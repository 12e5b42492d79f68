"""The pages of alerts: what is wrong now, making and changing rules, muting them, and who may."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from handlers.alerts import add_rule
from handlers.alerts.edits import Terms
from handlers.models import AlertIncident, AlertNotice, AlertRule, AuditEntry
from tests.console.conftest import MakeUser, logged_in

pytestmark = pytest.mark.django_db

LIST, NEW = "/admin/alerts/", "/admin/alerts/new/"
HOOK = "https://hooks.example/services/T0/secret-key"


@pytest.fixture
def viewer(make_user: MakeUser) -> Client:
    return logged_in(make_user("vi", "view_jobrecord", "view_alertrule"))


@pytest.fixture
def rule() -> AlertRule:
    return add_rule(Terms(name="waits", kind="wait", threshold=600, emails=["ops@shop.example"], webhook_url=HOOK))


def incident(rule: AlertRule, **columns: Any) -> AlertIncident:
    now = timezone.now()
    facts = {"key": "mail", "words": "mail: 2 waiting", "path": "queues/", "began_at": now, "seen_at": now} | columns
    return AlertIncident.objects.create(rule=rule, **facts)


def form(**values: Any) -> dict[str, Any]:
    base = {"name": "waits", "queue": "", "wait_minutes": "10", "hold_seconds": "0", "again_minutes": "240",
            "emails": "ops@shop.example", "webhook_url": ""}  # fmt: skip
    return base | values


def test_an_empty_page_says_what_rules_are_for(superuser: Client) -> None:
    html = superuser.get(LIST).content.decode()
    assert "Nobody is told of anything." in html
    assert f'href="{NEW}"' in html
    assert "DEAD_MAN_URL" in html


def test_what_is_wrong_now_leads_to_its_page_and_its_rule(viewer: Client, rule: AlertRule) -> None:
    incident(rule)
    incident(rule, key="slow", words="slow: <b>9</b> waiting", ended_at=timezone.now())
    html = viewer.get(LIST).content.decode()
    assert '<a href="/admin/queues/">mail: 2 waiting</a>' in html
    assert f'<a href="/admin/alerts/{rule.pk}/">waits</a>' in html
    assert "slow" not in html
    assert "firing" in html
    assert NEW not in html
    page = viewer.get(f"{LIST}{rule.pk}/").content.decode()
    assert "slow: &lt;b&gt;9&lt;/b&gt; waiting" in page
    assert "longer than 10 min" in page


def test_a_rule_is_made_from_its_kind(superuser: Client) -> None:
    assert f'href="{"?kind=wait"}"' in superuser.get(NEW).content.decode()
    page = superuser.get(f"{NEW}?kind=wait").content.decode()
    assert 'name="wait_minutes"' in page
    assert 'name="percent"' not in page
    sent = form(name="Mail waits", queue="mail", wait_minutes="2.5", emails="a@b.example\nc@d.example", reason="T-1")
    html = superuser.post(f"{NEW}?kind=wait", sent, follow=True).content.decode()
    assert "The rule Mail waits holds from now on." in html
    made = AlertRule.objects.get()
    assert (made.threshold, made.queue, made.emails) == (150, "mail", ["a@b.example", "c@d.example"])
    entry = AuditEntry.objects.get(verb="add_alert")
    assert (entry.username, entry.target, entry.reason) == ("admin", "alert rule Mail waits", "T-1")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"wait_minutes": "0"}, "Must be from 1 to"),
        ({"wait_minutes": "soon"}, "Enter a number."),
        ({"emails": "ops"}, "is no address for mail"),
        ({"emails": ""}, "else nobody is told"),
        ({"webhook_url": "http://127.0.0.1/"}, "own network"),
        ({"again_minutes": "1"}, "whole number from 5"),
        ({"name": ""}, "This field is required."),
    ],
)
def test_what_does_not_fit_is_said_beside_its_field(superuser: Client, values: dict[str, str], told: str) -> None:
    answer = superuser.post(f"{NEW}?kind=wait", form(**values))
    assert answer.status_code == 400
    assert told in answer.content.decode()
    assert not AlertRule.objects.exists()


def test_a_share_is_typed_in_percent(superuser: Client) -> None:
    sent = {"name": "s", "percent": "12.5", "least": "20", "minutes": "15", "hold_seconds": "0", "again_minutes": "0",
            "emails": "a@b.example", "webhook_url": "", "job_type": "app.Note", "queue": ""}  # fmt: skip
    superuser.post(f"{NEW}?kind=share", sent)
    made = AlertRule.objects.get()
    assert (made.threshold, made.job_type) == (0.125, "app.Note")
    assert 'value="12.5"' in superuser.get(f"{LIST}{made.pk}/").content.decode()


def test_whole_minutes_are_shown_without_a_fraction(superuser: Client, rule: AlertRule) -> None:
    html = superuser.get(f"{LIST}{rule.pk}/").content.decode()
    assert re.search(r'<input[^>]* name="wait_minutes"[^>]* value="10"', html)


def test_a_change_expects_the_rule_that_was_shown(superuser: Client, rule: AlertRule) -> None:
    path = f"{LIST}{rule.pk}/"
    sent = form(wait_minutes="30", webhook_url=HOOK, version=rule.version)
    assert "The rule is so from now on." in superuser.post(path, sent, follow=True).content.decode()
    assert AlertRule.objects.get().threshold == 1800
    answer = superuser.post(path, form(wait_minutes="40", version=rule.version))
    assert answer.status_code == 400
    assert "Someone changed this rule" in answer.content.decode()
    assert AlertRule.objects.get().threshold == 1800


def test_whoever_may_only_look_sees_neither_secret_nor_the_whole_webhook(viewer: Client, rule: AlertRule) -> None:
    html = viewer.get(f"{LIST}{rule.pk}/").content.decode()
    assert "https://hooks.example/…" in html
    assert "secret-key" not in html
    assert rule.webhook_secret not in html
    assert "<form" not in html.split('id="content-main"')[1].split("</main>")[0]
    assert "secret-key" not in viewer.get(LIST).content.decode()


def test_muting_ends_and_is_on_the_audit(superuser: Client, rule: AlertRule) -> None:
    path = f"{LIST}{rule.pk}/"
    html = superuser.post(f"{path}mute/", {"hours": "4", "reason": "night"}, follow=True).content.decode()
    assert "Nobody is told for 4 hours." in html
    until = AlertRule.objects.get().muted_until
    assert until is not None
    assert abs(until - timezone.now() - timedelta(hours=4)) < timedelta(minutes=1)
    assert "It is told again." in superuser.post(f"{path}unmute/", follow=True).content.decode()
    assert "It was not muted." in superuser.post(f"{path}unmute/", follow=True).content.decode()
    assert list(AuditEntry.objects.order_by("pk").values_list("verb", "reason")) == [
        ("mute_alert", "night"), ("unmute_alert", ""),
    ]  # fmt: skip


def test_a_test_is_sent_to_each_place(superuser: Client, rule: AlertRule) -> None:
    html = superuser.post(f"{LIST}{rule.pk}/test/", follow=True).content.decode()
    assert "A test goes out to 2 places; see below." in html
    assert sorted(AlertNotice.objects.values_list("channel", flat=True)) == ["email", "webhook"]
    assert "under way" in html


def test_a_rule_is_deleted_once_that_was_asked(superuser: Client, rule: AlertRule) -> None:
    incident(rule)
    path = f"{LIST}{rule.pk}/delete/"
    assert "To be told of nothing for a time, mute it." in superuser.get(path).content.decode()
    assert "Deleted the alert rule waits." in superuser.post(path, follow=True).content.decode()
    assert (AlertRule.objects.count(), AlertIncident.objects.count()) == (0, 0)
    assert "There is no such alert rule any more." in superuser.get(path, follow=True).content.decode()


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        ("mute/", "mute_alertrule"),
        ("unmute/", "mute_alertrule"),
        ("test/", "change_alertrule"),
        ("delete/", "delete_alertrule"),
        ("", "change_alertrule"),
    ],
)
def test_each_act_asks_for_its_permission(make_user: MakeUser, rule: AlertRule, path: str, permission: str) -> None:
    every = {
        "view_jobrecord",
        "view_alertrule",
        "add_alertrule",
        "change_alertrule",
        "delete_alertrule",
        "mute_alertrule",
    }
    without = logged_in(make_user("w", *(every - {permission})))
    assert without.post(f"{LIST}{rule.pk}/{path}", form(version=rule.version)).status_code == 403
    assert logged_in(make_user("n", "view_jobrecord")).get(LIST).status_code == 403
    assert not AuditEntry.objects.exists()


def test_the_navigation_counts_what_is_wrong_now(viewer: Client, rule: AlertRule) -> None:
    incident(rule)
    incident(rule, key="slow", ended_at=timezone.now())
    html = viewer.get(LIST).content.decode()
    assert "1 thing is wrong now" in html
