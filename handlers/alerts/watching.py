"""A scheduler's look at every rule: what began, what is over, and who is to be told.

One of several schedulers does it at a time, under the rule's row. What people are told is gathered: one message of a
rule a minute, however many things went wrong.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Q

from handlers.alerts import notices
from handlers.alerts.findings import Finding, of_rule
from handlers.alerts.notices import Status
from handlers.lifecycle import database
from handlers.limits import TookTooLong, time_limit
from handlers.models import AlertIncident, AlertNotice, AlertRule
from handlers.models.sql import database_now, is_postgresql
from handlers.writing import writing

logger = logging.getLogger(__name__)

EVERY = timedelta(seconds=8)  # no rule is looked at more often, however many schedulers there are
CLEAR = timedelta(minutes=1)  # what was not so for so long is over: what comes and goes is one incident
SHORTEST = timedelta(minutes=1)  # between two messages of a rule
SECONDS = 3.0  # for the statements of one rule
KEPT, NOTICES_KEPT = timedelta(days=90), timedelta(days=30)
CHUNK = 1_000


def watch() -> int:
    """Look at each rule whose time has come; how many incidents began or ended. Raises the database's errors."""
    alias = database()
    now = database_now(connections[alias])
    rules = AlertRule.objects.using(alias).filter(_due(now)).order_by("pk")
    return sum(_look(pk, alias) for pk in list(rules.values_list("pk", flat=True)))


def age_out() -> bool:
    """Erase a chunk of what is old; whether there may be more."""
    alias = database()
    now = database_now(connections[alias])
    ended = AlertIncident.objects.using(alias).filter(ended_at__lt=now - KEPT)
    sent = AlertNotice.objects.using(alias).filter(at__lt=now - NOTICES_KEPT)
    erased = 0
    for model, rows in ((AlertIncident, ended), (AlertNotice, sent)):
        some = list(rows.values_list("pk", flat=True)[:CHUNK])
        model._default_manager.using(alias).filter(pk__in=some).delete()
        erased = max(erased, len(some))
    return erased == CHUNK


def _due(now: datetime) -> Q:
    return Q(looked_at__isnull=True) | Q(looked_at__lte=now - EVERY)


def _look(rule_id: int, alias: str) -> int:
    try:
        with writing(alias), time_limit(SECONDS, alias):
            connection = connections[alias]
            now = database_now(connection)
            rows = AlertRule.objects.using(alias).filter(_due(now), pk=rule_id)
            if is_postgresql(connection):  # what is locked another scheduler looks at
                rows = rows.select_for_update(skip_locked=True)
            if (rule := rows.first()) is None:
                return 0
            return _Look(rule, now, alias).do()
    except TookTooLong:
        # Its time comes again, like everybody's: one that is slow must not be the only one that is looked at.
        AlertRule.objects.using(alias).filter(pk=rule_id).update(looked_at=database_now(connections[alias]))
        logger.warning("the alert rule %d took longer than %.0f s to look at", rule_id, SECONDS)
        return 0


class _Look:
    """At one rule, whose row is locked."""

    def __init__(self, rule: AlertRule, now: datetime, alias: str) -> None:
        self._rule, self._now, self._alias = rule, now, alias
        self._rows = AlertIncident.objects.using(alias).filter(rule=rule)

    def do(self) -> int:
        found = {finding.key[:200]: finding for finding in of_rule(self._rule, self._now)}
        there = {incident.key: incident for incident in self._rows.filter(ended_at__isnull=True)}
        self._go_on([(there[key], finding) for key, finding in found.items() if key in there])
        began = self._begin([finding for key, finding in found.items() if key not in there])
        ended = self._rows.filter(ended_at__isnull=True, seen_at__lte=self._now - CLEAR).update(ended_at=self._now)
        changes = {"looked_at": self._now}
        if self._may_tell() and self._tell():
            changes["told_at"] = self._now
        AlertRule.objects.using(self._alias).filter(pk=self._rule.pk).update(**changes)
        return began + ended

    def _go_on(self, found: list[tuple[AlertIncident, Finding]]) -> None:
        for incident, finding in found:
            incident.words, incident.path, incident.seen_at = finding.words[:500], finding.path[:300], self._now
        AlertIncident.objects.using(self._alias).bulk_update(
            [incident for incident, _ in found], ["words", "path", "seen_at"]
        )

    def _begin(self, found: list[Finding]) -> int:
        AlertIncident.objects.using(self._alias).bulk_create(
            AlertIncident(
                rule=self._rule, key=finding.key[:200], words=finding.words[:500], path=finding.path[:300],
                began_at=self._now, seen_at=self._now,
            )
            for finding in found
        )  # fmt: skip
        return len(found)

    def _may_tell(self) -> bool:
        rule = self._rule
        is_muted = rule.muted_until is not None and rule.muted_until > self._now
        return not is_muted and (rule.told_at is None or rule.told_at <= self._now - SHORTEST)

    def _tell(self) -> bool:
        rule, now = self._rule, self._now
        open_ones = self._rows.filter(ended_at__isnull=True)
        young = now - timedelta(seconds=rule.hold_seconds)
        told = [(Status.OPENED, each) for each in open_ones.filter(told_at__isnull=True, began_at__lte=young)]
        if rule.again_minutes:
            again = open_ones.filter(told_at__lte=now - timedelta(minutes=rule.again_minutes))
            told += [(Status.STILL_OPEN, each) for each in again]
        over = self._rows.filter(ended_at__isnull=False, told_at__isnull=False, told_end=False)
        told += [(Status.RESOLVED, each) for each in over]
        if not told:
            return False
        notices.tell(rule, told, now, self._alias)
        pks = [each.pk for status, each in told if status is not Status.RESOLVED]
        self._rows.filter(pk__in=pks).update(told_at=now)
        self._rows.filter(pk__in=[each.pk for status, each in told if status is Status.RESOLVED]).update(told_end=True)
        return True
