"""Deploys: the marks of versions on time, and which of two versions came first."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Min

from handlers.audit import By, actor_name, audit
from handlers.conf import version_problem
from handlers.exceptions import InvalidJob
from handlers.failures import clean
from handlers.lifecycle import database
from handlers.models import Deploy
from handlers.models.sql import database_now
from handlers.recurrence.times import check_moment
from handlers.writing import writing

KEEP = timedelta(days=400)  # as long as the counts of days, on whose curves they are
MOST = 10_000  # marks that are kept; a deploy in a loop must not fill the table
SHOWN = 100  # on one curve


def mark(version: str, at: datetime | None = None, *, by: By = None) -> Deploy:
    """Note that ``version`` came into use, now or at the aware time ``at``. Raises InvalidJob for no such name or time.

    The newest mark is answered again, and nothing written, where it is of the same version and no time is given: a
    fleet's hosts each say so.
    """
    if problem := version_problem(version) or ("must be named" if not version else ""):
        raise InvalidJob(f"version: {problem}", field="version")
    if at is not None:
        at = check_moment("at", at)
    alias = database()
    with writing(alias):
        now = database_now(connections[alias])
        if at is not None and at > now + timedelta(minutes=5):
            raise InvalidJob(f"at: {at:%Y-%m-%d %H:%M %Z} is to come; mark it once it is there", field="at")
        rows = Deploy.objects.using(alias)
        newest = rows.order_by("-at", "-pk").first()
        if at is None and newest is not None and newest.version == version:
            return newest
        made = rows.create(version=version, at=at or now, by=clean(actor_name(by), 150))
        audit(by, "mark_deploy", f"version {version}", 1, data={"version": version, "at": made.at.isoformat()})
    return made


def between(start: datetime, end: datetime) -> list[Deploy]:
    """The newest marks from ``start`` to ``end``, oldest first; at most SHOWN."""
    rows = Deploy.objects.using(database()).filter(at__gte=start, at__lte=end).order_by("-at", "-pk")
    return list(rows[:SHOWN])[::-1]


def newest(limit: int) -> list[Deploy]:
    """The newest marks, the newest first."""
    return list(Deploy.objects.using(database()).order_by("-at", "-pk")[:limit])


def in_use() -> bool:
    """Whether any deploy is marked."""
    return Deploy.objects.using(database()).exists()


def first_marks(versions: Collection[str]) -> dict[str, datetime]:
    """When each of ``versions`` came into use for the first time, as far as that is marked."""
    rows = Deploy.objects.using(database()).filter(version__in=versions).order_by()
    return dict(rows.values_list("version").annotate(first=Min("at")))


def forget(limit: int = 1_000) -> bool:
    """Erase up to ``limit`` marks that are past their time, or more than are kept; whether there may be more."""
    alias = database()
    rows = Deploy.objects.using(alias)
    before = database_now(connections[alias]) - KEEP
    ids = list(rows.filter(at__lt=before).order_by("at").values_list("pk", flat=True)[:limit])
    ids += list(rows.order_by("-at", "-pk").values_list("pk", flat=True)[MOST : MOST + limit])
    rows.filter(pk__in=ids).delete()
    return len(ids) >= limit
