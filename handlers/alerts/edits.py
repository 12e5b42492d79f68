"""How people make and change alert rules: checked whole, never over a newer change, and on the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, connections

from handlers.alerts import notices
from handlers.alerts.sending import new_secret
from handlers.audit import By, actor_name, audit
from handlers.conf import QUEUE_NAME
from handlers.exceptions import InvalidJob
from handlers.failures import clean
from handlers.lifecycle import database
from handlers.models import AlertKind, AlertRule
from handlers.models.sql import database_now
from handlers.outbound import check_url, without_path
from handlers.wording import Figures, worded
from handlers.writing import writing

VERBS = ("add_alert", "change_alert", "delete_alert", "mute_alert", "unmute_alert", "test_alert")
LONGEST_NAME, LONGEST_TYPE = 100, 200
MOST_RULES, MOST_EMAILS = 100, 20
MOST_MINUTES = 60  # of attempts that one look adds up
LONGEST_HOLD = 3_600
SHORTEST_AGAIN, LONGEST_AGAIN = 5, 7 * 24 * 60
LONGEST_MUTE = timedelta(days=30)
LONGEST_WAIT = 30 * 86_400


@dataclass(frozen=True)
class Terms:
    """What a rule is to be; durations name their unit. See ``AlertRule`` for what each means."""

    name: str
    kind: str
    job_type: str = ""
    queue: str = ""
    threshold: float = 0.0
    least: int = 20
    minutes: int = 15
    hold_seconds: int = 0
    again_minutes: int = 240
    emails: list[str] = field(default_factory=list)
    webhook_url: str = ""


def check(terms: Terms) -> None:
    """Raise InvalidJob, naming the field, unless a rule can be so."""
    name = terms.name
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise _wrong("name", worded("must be 1 to %(longest_name)s printable characters", longest_name=LONGEST_NAME))
    if terms.kind not in AlertKind.values:
        raise _wrong("kind", worded("must be one of %(values)s", values=", ".join(AlertKind.values)))
    if terms.queue and not QUEUE_NAME.fullmatch(terms.queue):
        raise _wrong("queue", worded("must be a queue's name: a-z, 0-9, hyphen and underscore"))
    if len(terms.job_type) > LONGEST_TYPE or not (terms.job_type == "" or terms.job_type.isprintable()):
        raise _wrong(
            "job_type",
            worded("must be a job type's name of at most %(longest_type)s characters", longest_type=LONGEST_TYPE),
        )
    _check_scope(terms)
    _check_numbers(terms)
    _check_places(terms)


def _check_scope(terms: Terms) -> None:
    kind = AlertKind(terms.kind)
    if terms.queue and kind not in (AlertKind.SHARE, AlertKind.WAIT, AlertKind.WORKER):
        raise _wrong("queue", worded("this kind of rule looks at all queues: leave it empty"))
    if terms.job_type and kind not in (AlertKind.GROUP, AlertKind.SHARE, AlertKind.RECURRING):
        raise _wrong("job_type", worded("this kind of rule looks at all job types: leave it empty"))


def _check_numbers(terms: Terms) -> None:
    kind = AlertKind(terms.kind)
    if kind is AlertKind.SHARE and not 0 < terms.threshold <= 1:
        raise _wrong("threshold", worded("must be a share above 0 %, up to 100 %"))
    if kind is AlertKind.WAIT and not 1 <= terms.threshold <= LONGEST_WAIT:
        raise _wrong(
            "threshold", worded("must be from 1 to %(longest_wait)s seconds", longest_wait=Figures(f"{LONGEST_WAIT:,}"))
        )
    if kind is AlertKind.SHARE:
        _within("least", terms.least, 1, 1_000_000)
        _within("minutes", terms.minutes, 1, MOST_MINUTES)
    _within("hold_seconds", terms.hold_seconds, 0, LONGEST_HOLD)
    if terms.again_minutes != 0:
        _within("again_minutes", terms.again_minutes, SHORTEST_AGAIN, LONGEST_AGAIN)


def _check_places(terms: Terms) -> None:
    if not terms.emails and not terms.webhook_url:
        raise _wrong("emails", worded("name an address for mail, or a webhook: else nobody is told"))
    if len(terms.emails) > MOST_EMAILS or len(set(terms.emails)) != len(terms.emails):
        raise _wrong("emails", worded("must be up to %(most_emails)s addresses, each once", most_emails=MOST_EMAILS))
    for address in terms.emails:
        try:
            validate_email(address)
        except ValidationError:
            raise _wrong("emails", worded("%(address)s is no address for mail", address=repr(address[:100]))) from None
    check_url("webhook_url", terms.webhook_url)


def add_rule(terms: Terms, *, by: By = None, reason: str = "") -> AlertRule:
    """Make a rule; a webhook gets a secret. Raises InvalidJob, also where there is a rule of this name already."""
    check(terms)
    alias = database()
    if AlertRule.objects.using(alias).count() >= MOST_RULES:
        raise _wrong(
            "name", worded("there are %(most_rules)s rules already: change or delete one", most_rules=MOST_RULES)
        )
    now = database_now(connections[alias])
    columns = {**asdict(terms), "name": terms.name.strip()}
    secret = new_secret() if terms.webhook_url else ""
    try:
        with writing(alias):
            rule = AlertRule.objects.using(alias).create(
                **columns, webhook_secret=secret, created_at=now, changed_at=now
            )
            _tell(rule, "add_alert", None, columns, by, reason)
    except IntegrityError:
        raise _wrong("name", worded("there is a rule of this name already")) from None
    return rule


def change_rule(rule_id: int, terms: Terms, *, version: str | None = None, by: By = None, reason: str = "") -> bool:
    """Let a rule be so from now on; whether it was otherwise. What it has found so far goes on.

    A webhook's new address gets a new secret. Raises InvalidJob: ``version``, when the rule is not at that one.
    """
    check(terms)
    alias = database()
    try:
        with writing(alias):
            rule = _locked(rule_id, alias, version)
            before = facts(rule)
            after = {**asdict(terms), "name": terms.name.strip()}
            if before == after:
                return False
            if after["webhook_url"] != before["webhook_url"]:
                rule.webhook_secret = new_secret() if after["webhook_url"] else ""
            for name, value in after.items():
                setattr(rule, name, value)
            rule.changed_at, rule.looked_at = database_now(connections[alias]), None
            if after["kind"] != before["kind"]:
                rule.incidents.using(alias).filter(ended_at__isnull=True).update(ended_at=rule.changed_at)
            rule.save(using=alias)
            _tell(rule, "change_alert", before, after, by, reason)
    except IntegrityError:
        raise _wrong("name", worded("there is a rule of this name already")) from None
    return True


def delete_rule(rule_id: int, *, by: By = None, reason: str = "") -> bool:
    """Delete a rule with what it has found. False: there was none."""
    alias = database()
    with writing(alias):
        rule = AlertRule.objects.using(alias).filter(pk=rule_id).first()
        if rule is None:
            return False
        _tell(rule, "delete_alert", facts(rule), None, by, reason)
        rule.delete(using=alias)
    return True


def mute_rule(rule_id: int, until: datetime, *, by: By = None, reason: str = "") -> None:
    """Tell nobody of what a rule finds, until then. What is still so is told then. Raises InvalidJob (``until``)."""
    alias = database()
    now = database_now(connections[alias])
    if until.utcoffset() is None or not now < until <= now + LONGEST_MUTE:
        raise _wrong("until", worded("must be a time within %(days)s days from now", days=LONGEST_MUTE.days))
    with writing(alias):
        rule = _locked(rule_id, alias)
        rule.muted_until, rule.muted_by = until, clean(actor_name(by), 150)
        rule.save(using=alias, update_fields=["muted_until", "muted_by"])
        audit(by, "mute_alert", f"alert rule {rule.name}", 1, reason, {"until": until.isoformat()})


def unmute_rule(rule_id: int, *, by: By = None, reason: str = "") -> bool:
    """Tell people again; whether it was muted."""
    alias = database()
    with writing(alias):
        rule = _locked(rule_id, alias)
        if rule.muted_until is None:
            return False
        rule.muted_until, rule.muted_by = None, ""
        rule.save(using=alias, update_fields=["muted_until", "muted_by"])
        audit(by, "unmute_alert", f"alert rule {rule.name}", 1, reason, None)
    return True


def send_test(rule_id: int, *, by: By = None) -> int:
    """Send a message that is a test to each of a rule's places; how many there are."""
    alias = database()
    with writing(alias):
        rule = _locked(rule_id, alias)
        now = database_now(connections[alias])
        event = {"rule": rule.name, "at": now.isoformat(), "test": True, "incidents": [], "more": 0}
        audit(by, "test_alert", f"alert rule {rule.name}", 1, "", None)
        return notices.send(rule, event, now, alias)


def facts(rule: AlertRule) -> dict[str, Any]:
    """What people set of it; without its secret."""
    return {name: getattr(rule, name) for name in Terms.__dataclass_fields__}


def _locked(rule_id: int, alias: str, version: str | None = None) -> AlertRule:
    rule = AlertRule.objects.using(alias).select_for_update().filter(pk=rule_id).first()
    if rule is None:
        raise _wrong("name", worded("there is no such rule any more"))
    if version is not None and rule.version != version:
        raise _wrong(
            "version",
            worded("someone changed this rule since this page was made: look at what holds now, then change it again"),
        )
    return rule


def _tell(
    rule: AlertRule, verb: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, by: By, reason: str
) -> None:
    def shown(columns: Mapping[str, Any] | None) -> dict[str, Any] | None:
        # A webhook's address may hold its key: the audit has the place alone.
        if columns is None:
            return None
        return {**columns, "webhook_url": without_path(columns["webhook_url"])}

    audit(by, verb, f"alert rule {rule.name}", 1, reason, {"before": shown(before), "after": shown(after)})


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _wrong(
            name,
            worded(
                "must be a whole number from %(least)s to %(most)s",
                least=Figures(f"{least:,}"),
                most=Figures(f"{most:,}"),
            ),
        )


def _wrong(name: str, why: str) -> InvalidJob:
    return InvalidJob(worded("%(field)s: %(message)s", field=name, message=why), field=name)
