"""How people change limits at run time: checked, never over a newer change, on the audit, and at once for who waits."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, connections, transaction

from handlers.admission.duties import admit_lines_of
from handlers.audit import By, audit
from handlers.exceptions import InvalidJob
from handlers.lifecycle import database
from handlers.limited import check_concurrency, parse_rate
from handlers.models import LimitOverride
from handlers.models.sql import database_now
from handlers.registry import registry
from handlers.wording import worded
from handlers.writing import writing

VERBS = ("change_limit", "reset_limit")


def check(name: str, concurrency: int | None, rate: str) -> None:
    """Raise InvalidJob unless these can be the values of the limit ``name``; it names ``concurrency`` or ``rate``."""
    if name not in registry.limits():
        raise InvalidJob(worded("name: no job type has a limit %(name)s", name=repr(name[:100])), field="name")
    field = "concurrency"
    try:
        if concurrency is not None:
            check_concurrency(concurrency)
        field = "rate"
        if rate:
            parse_rate(rate)
    except InvalidJob as error:
        raise InvalidJob(str(error).removeprefix("limits: "), field=field) from None


def set_limit(
    name: str,
    *,
    concurrency: int | None,
    rate: str = "",
    expect_version: int | None = None,
    by: By = None,
    reason: str = "",
) -> bool:
    """Let these values hold for the limit ``name`` instead of the code's, from now on, in every worker.

    ``concurrency`` None: any number at once; ``rate`` empty: any number in any time. Jobs that run are left alone; who
    waits is admitted at once where there is more room. Whether it was a change. Raises InvalidJob: for what does not
    fit, with the field, and with ``version`` when the limit is not at ``expect_version`` (0: the code's values).
    """
    check(name, concurrency, rate)
    alias = database()
    rows = LimitOverride.objects.using(alias)
    after = {"concurrency": concurrency, "rate": rate}
    try:
        with writing(alias):
            row = _at(name, expect_version)
            if row is not None and facts(row) == after:
                return False
            now = database_now(connections[alias])
            if row is None:
                rows.create(name=name, updated_at=now, **after)
            elif not rows.filter(pk=name, version=row.version).update(**after, updated_at=now, version=row.version + 1):
                raise _stale(name)
            _tell(name, "change_limit", facts(row) if row else code_facts(name), after, by, reason)
    except IntegrityError:  # somebody else was first, in this very moment
        raise _stale(name) from None
    return True


def reset_limit(name: str, *, expect_version: int | None = None, by: By = None, reason: str = "") -> bool:
    """Let the code's values hold again; whether others did. Raises InvalidJob (``version``) as above."""
    alias = database()
    with writing(alias):
        row = _at(name, expect_version)
        if row is None:
            return False
        if not LimitOverride.objects.using(alias).filter(pk=name, version=row.version).delete()[0]:
            raise _stale(name)
        _tell(name, "reset_limit", facts(row), code_facts(name), by, reason)
    return True


def facts(row: LimitOverride) -> dict[str, Any]:
    """The values that people edit, as the audit keeps them."""
    return {"concurrency": row.concurrency, "rate": row.rate}


def code_facts(name: str) -> dict[str, Any]:
    """The same of what the code says; of a limit that it does not know, nothing."""
    limit = registry.limits().get(name)
    return {"concurrency": limit.concurrency, "rate": limit.rate or ""} if limit else {}


def _tell(name: str, verb: str, before: dict[str, Any], after: dict[str, Any], by: By, reason: str) -> None:
    audit(by, verb, f"limit {name}", 1, reason, {"before": before, "after": after})
    transaction.on_commit(lambda: admit_lines_of(name), using=database(), robust=True)  # or a scheduler does


def _at(name: str, expect_version: int | None) -> LimitOverride | None:
    row = LimitOverride.objects.using(database()).filter(pk=name).first()
    if expect_version is not None and (row.version if row else 0) != expect_version:
        raise _stale(name)
    return row


def _stale(name: str) -> InvalidJob:
    return InvalidJob(
        worded(
            "version: someone changed the limit %(name)s since this page was made: look at what holds "
            "now, then change it again",
            name=repr(name),
        ),
        field="version",
    )
