"""How people change retry policies: checked, never over a newer change, and on the audit with before and after."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from django.db import IntegrityError, connections

from handlers.audit import By, audit
from handlers.exceptions import InvalidJob
from handlers.lifecycle import database
from handlers.models import PolicyAssignment, StoredPolicy
from handlers.models.policy import BACKOFFS
from handlers.models.sql import database_now
from handlers.policies import as_policy
from handlers.registry import registry
from handlers.retries import LONGEST_DELAY, OnExhausted, RetryPolicy
from handlers.wording import Figures, worded
from handlers.writing import writing

FIELDS = (
    "name",
    "max_attempts",
    "backoff",
    "delay_seconds",
    "factor",
    "max_delay_seconds",
    "jitter",
    "on_exhausted",
)
VERBS = ("save_policy", "delete_policy", "assign_policy")
NAME = re.compile(r"[\w .-]{1,60}")
MAX_ATTEMPTS = 10_000
MAX_SECONDS = LONGEST_DELAY.total_seconds()
MAX_FACTOR = 1_000


def draft(fields: Mapping[str, Any], *, over: StoredPolicy | None = None) -> StoredPolicy:
    """An unsaved policy of ``fields``, on top of ``over``'s or the defaults. Raises InvalidJob naming the field."""
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise InvalidJob(
            worded(
                "%(unknown)s: a retry policy has no such field; it has %(fields)s",
                unknown=unknown[0],
                fields=", ".join(FIELDS),
            ),
            field=unknown[0],
        )
    values = {**(facts(over) if over else {}), **fields}
    policy = StoredPolicy(**values)
    _check(policy)
    as_policy(policy, RetryPolicy())  # its own checks too
    return policy


def facts(policy: StoredPolicy) -> dict[str, Any]:
    """The fields that people edit, as the audit keeps them."""
    return {name: getattr(policy, name) for name in FIELDS}


def save_policy(
    policy_id: int | None,
    fields: Mapping[str, Any],
    *,
    expect_version: int | None = None,
    by: By = None,
    reason: str = "",
) -> StoredPolicy:
    """Create a policy (``policy_id`` None) or change one; it holds from the next failure on, in every worker.

    Raises InvalidJob: with the field that does not fit, or with ``version`` when it is not at ``expect_version`` any
    more or is gone. A change that changes nothing is not written.
    """
    alias = database()
    rows = StoredPolicy.objects.using(alias)
    try:
        with writing(alias):
            before = _current(policy_id, expect_version) if policy_id is not None else None
            policy = draft(fields, over=before)
            if before is not None and facts(before) == facts(policy):
                return before
            if rows.filter(name=policy.name).exclude(pk=policy_id or 0).exists():
                raise _taken(policy.name)
            policy.updated_at = database_now(connections[alias])
            if before is None:
                policy.save(using=alias, force_insert=True)
            else:
                policy.pk, policy.version = before.pk, before.version + 1
                values = {**facts(policy), "updated_at": policy.updated_at, "version": policy.version}
                if not rows.filter(pk=before.pk, version=before.version).update(**values):
                    raise _stale(before.name)
            changes = {"before": facts(before) if before else None, "after": facts(policy), "policies": [policy.pk]}
            audit(by, "save_policy", f"policy {policy.name}", 1, reason, changes)
    except IntegrityError:  # someone else took the name in this very moment
        raise _taken(str(fields.get("name", ""))) from None
    return policy


def delete_policy(policy_id: int, *, expect_version: int | None = None, by: By = None, reason: str = "") -> list[str]:
    """Delete a policy; the types that had it, which follow the code again. Raises InvalidJob (``version``) as above."""
    alias = database()
    with writing(alias):
        policy = _current(policy_id, expect_version)
        types = sorted(policy.assignments.using(alias).values_list("job_type", flat=True))
        deleted, _ = StoredPolicy.objects.using(alias).filter(pk=policy.pk, version=policy.version).delete()
        if not deleted:
            raise _stale(policy.name)
        changes = {"before": {**facts(policy), "types": types}, "after": None, "policies": [policy_id]}
        audit(by, "delete_policy", f"policy {policy.name}", 1, reason, changes)
    return types


def assign(job_type: str, policy: StoredPolicy | None, *, by: By = None, reason: str = "") -> bool:
    """Let ``job_type`` (a name or alias) follow ``policy``, or the code's (None); whether that is a change.

    Raises InvalidJob for a type that is not registered, or with ``version`` when the policy is gone.
    """
    alias = database()
    known = {name: entry.name for entry in registry.all() for name in (entry.name, *entry.aliases)}
    name = known.get(job_type, job_type)
    if policy is not None and name not in known:
        raise InvalidJob(
            worded("job_type: no type %(name)s is registered here: choose one from Job types", name=repr(name[:200])),
            field="job_type",
        )
    rows = PolicyAssignment.objects.using(alias)
    with writing(alias):
        old = rows.filter(pk=name).select_related("policy").first()
        if (old.policy_id if old else None) == (policy.pk if policy else None):
            return False
        if policy is None:
            rows.filter(pk=name).delete()
        else:
            _current(policy.pk, None)  # on SQLite a broken reference would show only at the commit
            rows.update_or_create(job_type=name, defaults={"policy": policy})
        involved = [known_policy.pk for known_policy in (old and old.policy, policy) if known_policy]
        changes = {"before": old.policy.name if old else None, "after": policy.name if policy else None}
        audit(by, "assign_policy", f"type {name}", 1, reason, {**changes, "policies": involved})
    return True


def assign_types(policy: StoredPolicy, job_types: Iterable[str], *, by: By = None, reason: str = "") -> int:
    """Let exactly ``job_types`` follow ``policy``; how many assignments changed. All or none."""
    alias = database()
    wanted = set(job_types)
    with writing(alias):
        held = set(PolicyAssignment.objects.using(alias).filter(policy=policy).values_list("job_type", flat=True))
        changed = [assign(name, None, by=by, reason=reason) for name in sorted(held - wanted)]
        changed += [assign(name, policy, by=by, reason=reason) for name in sorted(wanted - held)]
    return sum(changed)


def _current(policy_id: int, expect_version: int | None) -> StoredPolicy:
    policy = StoredPolicy.objects.using(database()).filter(pk=policy_id).first()
    if policy is None:
        raise InvalidJob(
            worded("version: this policy has been deleted meanwhile: create it anew if it is needed"), field="version"
        )
    if expect_version is not None and policy.version != expect_version:
        raise _stale(policy.name)
    return policy


def _stale(name: str) -> InvalidJob:
    return InvalidJob(
        worded(
            "version: someone changed %(name)s since this page was made: look at the new values, then change it again",
            name=repr(name),
        ),
        field="version",
    )


def _taken(name: str) -> InvalidJob:
    return InvalidJob(
        worded("name: there is a policy %(name)s already: choose another name, or edit that one", name=repr(name)),
        field="name",
    )


def _check(policy: StoredPolicy) -> None:
    """Bounds narrower than RetryPolicy's own: a form is not reviewed as code is."""
    if not isinstance(policy.name, str) or not NAME.fullmatch(policy.name) or policy.name != policy.name.strip():
        raise InvalidJob(
            worded("name: must be 1 to 60 letters, digits, spaces, or any of . _ - and not begin or end with a space"),
            field="name",
        )
    attempts = policy.max_attempts
    if not isinstance(attempts, int) or isinstance(attempts, bool) or not 1 <= attempts <= MAX_ATTEMPTS:
        raise InvalidJob(
            worded(
                "max_attempts: must be a whole number, 1 (no retry) to %(max_attempts)s",
                max_attempts=Figures(f"{MAX_ATTEMPTS:,}"),
            ),
            field="max_attempts",
        )
    if policy.backoff not in dict(BACKOFFS):
        raise InvalidJob(
            worded("backoff: must be one of %(backoffs)s", backoffs=", ".join(dict(BACKOFFS))), field="backoff"
        )
    year = worded(
        "must be a number of seconds, 0 to %(max_seconds)s (a year)", max_seconds=Figures(f"{MAX_SECONDS:,.0f}")
    )
    _check_number("delay_seconds", policy.delay_seconds, 0, MAX_SECONDS, year)
    if policy.max_delay_seconds is not None:
        _check_number(
            "max_delay_seconds",
            policy.max_delay_seconds,
            0,
            MAX_SECONDS,
            worded("%(year)s, or nothing for a year", year=year),
        )
    _check_number(
        "factor",
        policy.factor,
        1,
        MAX_FACTOR,
        worded("must be a number, 1 to %(max_factor)s", max_factor=Figures(f"{MAX_FACTOR:,}")),
    )
    _check_number("jitter", policy.jitter, 0, 1, worded("must be a share of the delay, 0 to 1, such as 0.2"))
    if policy.on_exhausted not in get_args(OnExhausted):
        raise InvalidJob(worded('on_exhausted: must be "fail" or "delete"'), field="on_exhausted")


def _check_number(field: str, value: object, low: float, high: float, why: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise InvalidJob(worded("%(field)s: %(message)s", field=field, message=why), field=field)
