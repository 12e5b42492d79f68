"""What is wrong at this moment, by the kind of a rule. Each look is bounded, whatever there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Case, F, IntegerField, Q, Sum, When
from django.utils.http import urlencode

from handlers import bounded, fleet, queues
from handlers.alerts.names import TYPE_NAME
from handlers.conf import SYSTEM_QUEUE
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.models import (
    AlertKind,
    AlertRule,
    BulkOperation,
    BulkState,
    FailureGroup,
    GroupState,
    How,
    JobCount,
    Occurrence,
    Outcome,
    Period,
    RecurringJob,
)
from handlers.models.failure_group import OPEN_STATES

MOST = 200  # things that one rule finds at once
CAP = 1_000  # jobs of a queue that are counted
RECENT = timedelta(hours=1)  # a group without a failure for so long is over, and a time that was missed is past
NEW = timedelta(days=1)  # a group is new so long
LATE = timedelta(minutes=2)  # a recurring job whose time was so long ago was not fired


class Finding(NamedTuple):
    """One thing that is wrong."""

    key: str
    words: str
    path: str  # of its page, below the console's address


def of_rule(rule: AlertRule, now: datetime) -> list[Finding]:
    """What ``rule`` finds at ``now``, by the database's clock; at most MOST."""
    found: dict[str, Finding] = {}
    for finding in LOOKS[AlertKind(rule.kind)](rule, now):
        found.setdefault(finding.key, finding)
        if len(found) == MOST:
            break
    return list(found.values())


def _groups(rule: AlertRule, now: datetime) -> Iterator[Finding]:
    since = max(now - NEW, rule.created_at)
    rows = FailureGroup.objects.using(database()).filter(last_at__gte=now - RECENT, state__in=OPEN_STATES)
    rows = rows.exclude(job_type=TYPE_NAME)  # alerts that cannot be sent: to send one more helps nobody
    rows = rows.filter(Q(first_at__gte=since) | Q(state=GroupState.REGRESSED, regressed_at__gte=since))
    if rule.job_type:
        counts = JobCount.objects.using(database()).filter(period=Period.DAY, at__gte=now - NEW - timedelta(days=1))
        counts = counts.filter(queue="").exclude(fingerprint="")
        rows = rows.filter(pk__in=counts.filter(job_type=rule.job_type).values("fingerprint"))
    for group in rows.order_by("-last_at", "-fingerprint")[:MOST]:
        what = group.exception.rpartition(".")[2] or "Failure"
        where = group.frame or group.job_type
        how = "Came back" if group.state == GroupState.REGRESSED else "New failure"
        words = f"{how}: {what}{f' at {where}' if where else ''}"
        yield Finding(group.pk, words, f"failures/{group.pk}/")


def _shares(rule: AlertRule, now: datetime) -> Iterator[Finding]:
    rows = JobCount.objects.using(database()).filter(
        period=Period.MINUTE, at__gte=now - timedelta(minutes=rule.minutes), fingerprint="",
        outcome__in=(Outcome.SUCCEEDED, Outcome.FAILED, Outcome.RETRIED),
    )  # fmt: skip
    rows = rows.exclude(queue="").exclude(job_type="")
    rows = rows.filter(**{name: value for name, value in _scope(rule).items() if value})
    failed = Case(When(~Q(outcome=Outcome.SUCCEEDED), then=F("count")), default=0, output_field=IntegerField())
    by_type = rows.values("job_type").annotate(ended=Sum("count"), failed=Sum(failed)).filter(ended__gte=rule.least)
    for job_type, ended, number in by_type.order_by("job_type").values_list("job_type", "ended", "failed"):
        if ended and number / ended >= rule.threshold:
            words = f"{job_type}: {number:,} of {ended:,} attempts failed in {_minutes(rule.minutes)}"
            yield Finding(job_type, words, f"jobs/jobrecord/?{urlencode({'type': job_type, 'state': 'failed'})}")


def _depths(rule: AlertRule) -> Iterator[tuple[bounded.Depth, int]]:
    """What waits on the rule's queue, or on each; and up to how many were counted."""
    names = {rule.queue} if rule.queue else queues.known_queues()
    most = bounded.most_of_each(CAP, len(names))
    for depth in bounded.depths(names, most, only=bool(rule.queue)):
        yield depth, most


def _waits(rule: AlertRule, now: datetime) -> Iterator[Finding]:
    paused = set(job_scheduler.paused_queues())
    for depth, most in _depths(rule):
        if depth.since is None or depth.queue in paused:
            continue
        seconds = (now - depth.since).total_seconds()
        if seconds >= rule.threshold:
            number = f"{most:,}+" if depth.number > most else f"{depth.number:,}"
            words = f"{depth.queue}: {number} waiting, the oldest for {_span(seconds)}"
            yield Finding(
                depth.queue, words, f"jobs/jobrecord/?{urlencode({'queue': depth.queue, 'state': 'enqueued'})}"
            )


def _workers(rule: AlertRule, now: datetime) -> Iterator[Finding]:
    workers = fleet.live_workers()
    if not workers and not rule.queue:
        yield Finding("", "No worker is running", "workers/")
        return
    served = {SYSTEM_QUEUE, *(name for worker in workers for name in worker.queues)}
    paused = set(job_scheduler.paused_queues())
    for depth, _most in _depths(rule):
        if depth.number and depth.queue not in served | paused:
            yield Finding(depth.queue, f"No worker serves {depth.queue}, where jobs wait", "workers/")


def _recurring(rule: AlertRule, now: datetime) -> Iterator[Finding]:
    alias = database()
    jobs = RecurringJob.objects.using(alias)
    if rule.job_type:
        jobs = jobs.filter(job_type=rule.job_type)
    late = jobs.filter(next_at__lt=now - LATE).order_by("next_at")
    for pk, name in late.values_list("pk", "name")[:MOST]:
        yield Finding(name, f"{name} was not started in time", f"recurring/{pk}/")
    missed = Occurrence.objects.using(alias).filter(fired_at__gte=now - RECENT, how=How.MISSED)
    missed = missed.filter(recurring__in=jobs).order_by("-fired_at")
    for pk, name in missed.values_list("recurring_id", "recurring__name")[:MOST]:
        yield Finding(name, f"{name} missed its time", f"recurring/{pk}/")


def _bulk(rule: AlertRule, now: datetime) -> Iterator[Finding]:
    rows = BulkOperation.objects.using(database()).filter(state=BulkState.PAUSED).order_by("-pk")
    rows = rows.exclude(note__startswith="Paused")  # by a person, who knows
    for row in rows[:MOST]:
        yield Finding(str(row.pk), f"Bulk operation {row.pk} waits: {row.note}"[:500], f"bulk/{row.pk}/")


LOOKS: dict[AlertKind, Callable[[AlertRule, datetime], Iterator[Finding]]] = {
    AlertKind.GROUP: _groups,
    AlertKind.SHARE: _shares,
    AlertKind.WAIT: _waits,
    AlertKind.WORKER: _workers,
    AlertKind.RECURRING: _recurring,
    AlertKind.BULK: _bulk,
}


def _scope(rule: AlertRule) -> dict[str, str]:
    return {"job_type": rule.job_type, "queue": rule.queue}


def _minutes(number: int) -> str:
    return "a minute" if number == 1 else f"{number:,} minutes"


def _span(seconds: float) -> str:
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:,.0f} {word}"
    return f"{seconds:,.0f} s"
