"""Every verb of a person goes on record, with their name, in the verb's own transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers.failures import clean, reason_text
from handlers.lifecycle import Beside, database
from handlers.models import AuditEntry
from handlers.models.sql import database_now, is_postgresql, prepared, to_time

By = AbstractBaseUser | str | None
Row = dict[str, Any]

LONGEST_NAME, LONGEST_TARGET = 150, 200  # characters that the columns hold
TABLE = AuditEntry._meta.db_table
ENTRY = ("user_id", "username", "verb", "count", "reason", "source")  # as ``_entry`` has them
COLUMNS = ", ".join([*ENTRY, "target", "data", "at"])
CLOCK = "clock_timestamp()"  # PostgreSQL's
USER = "user:"  # how a user's name begins in histories

acting_from: ContextVar[str] = ContextVar("acting_from", default="")
_noted: ContextVar[list[int] | None] = ContextVar("noted", default=None)


@contextmanager
def acts_from(address: str) -> Iterator[None]:
    """What is audited in here was asked for at ``address``, a client's."""
    before = acting_from.set(address)
    try:
        yield
    finally:
        acting_from.reset(before)


@contextmanager
def noted() -> Iterator[list[int]]:
    """The ids of the entries that are written in here."""
    before, ids = _noted.get(), list[int]()
    _noted.set(ids)
    try:
        yield ids
    finally:
        _noted.set(before)


def user_name(user: AbstractBaseUser, limit: int = LONGEST_NAME) -> str:
    """The user's login as a column of ``limit`` characters keeps it: whole, or visibly cut, with the account's id."""
    login = clean(str(user.get_username()))
    if len(login) <= limit:
        return login
    end = f"\N{HORIZONTAL ELLIPSIS} (id {str(user.pk)[:40]})"
    return f"{login[: limit - len(end)]}{end}"


def actor_name(by: By) -> str:
    """``by`` as histories name it: ``user:NAME``, or a program's name, which cannot pass for a user's."""
    if by is None:
        return ""
    if isinstance(by, AbstractBaseUser):
        return f"{USER}{user_name(by, LONGEST_NAME - len(USER))}"
    return str(by).removeprefix(USER)


def target_column(target: str) -> str:
    """What a verb was done to as the audit keeps it: whole, or visibly cut."""
    return target if len(target) <= LONGEST_TARGET else f"{target[: LONGEST_TARGET - 1]}\N{HORIZONTAL ELLIPSIS}"


def audit(by: By, verb: str, target: str, count: int, reason: str = "", data: dict[str, Any] | None = None) -> None:
    """Write down that ``by`` did ``verb`` to ``target``, which moved ``count``; nothing when nobody is named."""
    if by is None:
        return
    connection = connections[database()]
    row = _entry(connection, by, verb, count, reason) | {
        "target": target_column(target),
        "data": AuditEntry._meta.get_field("data").get_db_prep_save(data, connection),
    }
    # By hand, since each verb comes here: planned once, and by the database's clock without asking for it first.
    clock, ids = CLOCK, _noted.get()
    if not is_postgresql(connection):
        clock, row["at"] = "%s", to_time(connection, database_now(connection))
    values = ", ".join([*["%s"] * 8, clock])
    told = "" if ids is None else " RETURNING id"
    with prepared(connection) as cursor:
        cursor.execute(f"INSERT INTO {TABLE} ({COLUMNS}) VALUES ({values}){told}", [*row.values()])
        if ids is not None:
            ids += [found for (found,) in cursor.fetchall()]


def of_new_job(by: By, verb: str, reason: str) -> Beside | None:
    """The entry of a job that ``by`` makes, as a part of making it; None where its id is wanted."""
    if by is None or _noted.get() is not None:
        return None
    connection = connections[database()]
    row = _entry(connection, by, verb, 1, reason)
    return Beside(_of_new_job_sql(is_postgresql(connection)), {f"audit_{name}": value for name, value in row.items()})


@cache
def _of_new_job_sql(postgresql: bool) -> str:
    values = ", ".join(f"%(audit_{name})s" for name in ENTRY)
    if postgresql:
        facts = "jsonb_build_object('asked', 1, 'job_ids', jsonb_build_array(id))"
        return f"INSERT INTO {TABLE} ({COLUMNS}) SELECT {values}, 'job ' || id, {facts}, {CLOCK} FROM made"
    facts = "json_object('asked', 1, 'job_ids', json_array(%(job_id)s))"
    return f"INSERT INTO {TABLE} ({COLUMNS}) VALUES ({values}, 'job ' || %(job_id)s, {facts}, %(at)s)"


def _entry(connection: BaseDatabaseWrapper, by: AbstractBaseUser | str, verb: str, count: int, reason: str) -> Row:
    """The columns of an entry, but for what it was done to, with which facts, and when."""
    user = by if isinstance(by, AbstractBaseUser) else None
    return {
        "user_id": AuditEntry._meta.get_field("user").get_db_prep_save(user.pk if user else None, connection),
        "username": user_name(user) if user else clean(str(by), LONGEST_NAME),
        "verb": verb,
        "count": count,
        "reason": reason_text(reason),
        "source": clean(acting_from.get(), 64),
    }
