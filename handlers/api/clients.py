"""Clients of the API and their tokens: made, found, revoked.

A token is 256 random bits, so a plain SHA-256 keeps it: there is nothing to guess, and a slow hash would only slow each
request. It is shown once, when it is made.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import IntegrityError, connections, transaction

from handlers.api.scopes import VERBS, Scope
from handlers.audit import By, actor_name, audit
from handlers.exceptions import InvalidJob
from handlers.failures import clean
from handlers.job_types import TYPE_NAME
from handlers.lifecycle import database
from handlers.models import ApiClient
from handlers.models.sql import database_now
from handlers.queues import check_stored
from handlers.selection.reach import present
from handlers.wording import Figures, worded
from handlers.writing import writing

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
TOKEN = re.compile(r"jobs_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
RATE_PER_MINUTE = 600  # of a client that nobody gave another one
MOST_RATE = 1_000_000
MOST_NAMED = 100  # queues or types of one scope
USED_EVERY = timedelta(hours=1)  # that a client was used is written no more often
READ_SECONDS = 1.0  # for which a process relies on what it has read of a client
MOST_READ = 1_000
BY = "api:"  # how a client's name begins in histories and on the audit


# key -> when its client was read, monotonic, and the client. Only of keys that there are.
_read: dict[str, tuple[float, ApiClient]] = {}


def create_client(
    name: str,
    *,
    verbs: Collection[str],
    queues: Collection[str] = (),
    types: Collection[str] = (),
    rate_per_minute: int | None = RATE_PER_MINUTE,
    expires_at: datetime | None = None,
    by: By = None,
    reason: str = "",
) -> tuple[ApiClient, str]:
    """A client named ``name``, and its token, which nobody can ask for again.

    ``verbs``: of ``scopes.VERBS``. ``queues`` and ``types``: none means all. ``rate_per_minute``: requests; None: any
    number. Raises InvalidJob, naming the argument; nothing is written then.
    """
    _check(name, verbs, queues, types, rate_per_minute)
    if expires_at is not None and expires_at.utcoffset() is None:
        raise InvalidJob(worded("expires_at: must be an aware datetime"), field="expires_at")
    alias, key = database(), secrets.token_hex(6)
    token = f"jobs_{key}_{secrets.token_urlsafe(32)}"
    with writing(alias):
        now = database_now(connections[alias])
        if expires_at is not None and expires_at <= now:
            raise InvalidJob(worded("expires_at: that has passed: name a later time, or none"), field="expires_at")
        try:
            with writing(alias):
                client = ApiClient.objects.using(alias).create(
                    name=name,
                    key=key,
                    digest=digest_of(token),
                    verbs=[verb for verb in VERBS if verb in verbs],
                    queues=sorted(queues),
                    types=sorted({present(job_type) for job_type in types}),
                    rate_per_minute=rate_per_minute,
                    expires_at=expires_at,
                    created_at=now,
                    created_by=clean(actor_name(by), 150),
                )
        except IntegrityError:
            raise InvalidJob(
                worded(
                    "name: there is a client %(name)s already, or was one: the audit tells them apart by their names",
                    name=repr(name),
                ),
                field="name",
            ) from None
        facts = {name: getattr(client, name) for name in ("verbs", "queues", "types", "rate_per_minute")}
        facts["expires_at"] = expires_at.isoformat() if expires_at else None
        audit(by, "create_client", f"client {name}", 1, reason, facts)
    return client, token


def revoke_client(client_id: int, *, by: By = None, reason: str = "") -> bool:
    """Let its token open nothing from now on; whether it did before."""
    alias = database()
    with writing(alias):
        now = database_now(connections[alias])
        client = ApiClient.objects.using(alias).filter(pk=client_id).first()
        if client is None:
            return False
        rows = ApiClient.objects.using(alias).filter(pk=client_id, revoked_at=None)
        revoked = rows.update(revoked_at=now, revoked_by=clean(actor_name(by), 150))
        transaction.on_commit(_read.clear, using=alias, robust=True)  # the other processes: within READ_SECONDS
        audit(by, "revoke_client", f"client {client.name}", revoked, reason)
    return revoked == 1


def find_client(token: str) -> ApiClient | None:
    """The client of this token, revoked or expired or not; None: nobody's."""
    match = TOKEN.fullmatch(token)
    if match is None:
        return None
    now, known = time.monotonic(), _read.get(match[1])
    if known is None or now - known[0] > READ_SECONDS:
        client = ApiClient.objects.using(database()).filter(key=match[1]).order_by().first()
        if client is None:
            return None
        if len(_read) >= MOST_READ:
            _read.clear()
        known = _read[match[1]] = now, client
    return known[1] if hmac.compare_digest(known[1].digest, digest_of(token)) else None


def note_use(client: ApiClient, now: datetime) -> None:
    """Write down that it was used, where that was not written for an hour."""
    if client.used_at is None or now - client.used_at > USED_EVERY:
        alias = database()
        client.used_at = database_now(connections[alias])
        ApiClient.objects.using(alias).filter(pk=client.pk).update(used_at=client.used_at)


def scope_of(client: ApiClient) -> Scope:
    """What it may do, to jobs of the names that its types have today."""
    return Scope.of(client.verbs, client.queues, [present(name) for name in client.types])


def acting_as(client: ApiClient) -> str:
    """How histories and the audit name it."""
    return f"{BY}{client.name}"


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def forget() -> None:
    """Know nothing of any client, as after a start."""
    _read.clear()


def _check(
    name: object, verbs: Collection[str], queues: Collection[str], types: Collection[str], rate: int | None
) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidJob(worded("name: use 1 to 60 of a-z, 0-9, dot, hyphen and underscore"), field="name")
    if unknown := sorted({*verbs} - {*VERBS}):
        raise InvalidJob(
            worded(
                "verbs: %(unknown)s is none; there are %(verbs)s", unknown=repr(unknown[0][:40]), verbs=", ".join(VERBS)
            ),
            field="verbs",
        )
    if not verbs:
        raise InvalidJob(worded("verbs: choose at least one: a token without any is of no use"), field="verbs")
    for field, names in (("queues", queues), ("types", types)):
        if len(names) > MOST_NAMED:
            raise InvalidJob(
                worded("%(field)s: at most %(most_named)s; name none for all", field=field, most_named=MOST_NAMED),
                field=field,
            )
    for queue in queues:
        _check_queue(queue)
    for job_type in types:
        if not TYPE_NAME.fullmatch(job_type):
            raise InvalidJob(
                worded("types: %(job_type)s is no type's name", job_type=repr(job_type[:100])), field="types"
            )
    if rate is not None and not 1 <= rate <= MOST_RATE:
        raise InvalidJob(
            worded("rate_per_minute: must be from 1 to %(most_rate)s", most_rate=Figures(f"{MOST_RATE:,}")),
            field="rate_per_minute",
        )


def _check_queue(name: str) -> None:
    try:
        check_stored(name)
    except InvalidJob as error:
        raise InvalidJob(str(error).replace("queue:", "queues:", 1), field="queues") from None
