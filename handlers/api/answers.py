"""A request with an ``Idempotency-Key`` has its effect once, however often it is sent.

Its answer is written in the transaction of the effect, so there is never the one without the other. Requests that did
nothing keep no answer: sent again, they are looked at anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from handlers.api.problems import Problem
from handlers.lifecycle import database
from handlers.models import ApiAnswer
from handlers.models.sql import fetch, from_time, is_postgresql, prepared, to_time
from handlers.once import KEEP
from handlers.writing import writing

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
META = "HTTP_IDEMPOTENCY_KEY"  # where Django has it: to look up one header there does not make all of them
TABLE = ApiAnswer._meta.db_table
REPLAYED = "Idempotency-Replayed"


class _Kept(NamedTuple):
    """An answer of before."""

    request: str
    at: datetime
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Answer:
    """What an effect is answered with: a JSON value, without anything that is secret."""

    body: dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> JsonResponse:
        """The answer."""
        return JsonResponse(self.body, status=self.status, headers=self.headers)


def once(request: HttpRequest, client_id: int, act: Callable[[], Answer]) -> JsonResponse:
    """Do ``act`` in a transaction, unless that was done under the request's key: then, what it was answered.

    Raises Problem: the key is none, another request's, or that of one that is under way.
    """
    alias, key = database(), request.META.get(META)
    if key is None:
        with writing(alias):
            return act().response()
    if not 1 <= len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Problem(
            422,
            f"{HEADER}: must be 1 to {LONGEST_KEY} printable ASCII characters",
            field=HEADER,
            mend="Send a new UUID with each new request, and the same one when you send it again.",
        )
    place, asked = _sha256(str(client_id), key), _request_digest(request)
    connection = connections[alias]
    with writing(alias):
        _hold(connection, place)
        kept = _read(connection, place)
        if kept is not None and timezone.now() - kept.at < KEEP:
            if kept.request != asked:
                raise Problem(
                    422,
                    f"{HEADER}: another request was sent with this key",
                    field=HEADER,
                    mend="Send this one with a key of its own.",
                )
            return Answer(kept.body, kept.status, {**kept.headers, REPLAYED: "true"}).response()
        answer = act()
        write(connection, place, asked, answer)
    return answer.response()


def write(connection: BaseDatabaseWrapper, place: str, asked: str, answer: Answer) -> None:
    """Keep the answer; in the place of one that is past its time."""
    row: tuple[Any, ...] = (place, asked, answer.status, json.dumps(answer.headers), json.dumps(answer.body))
    at = "clock_timestamp()"
    if not is_postgresql(connection):
        at, row = "%s", (*row, to_time(connection, timezone.now()))
    with prepared(connection) as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (key, request, status, headers, body, at) VALUES (%s, %s, %s, %s, %s, {at})"
            " ON CONFLICT (key) DO UPDATE SET request = excluded.request, status = excluded.status,"
            " headers = excluded.headers, body = excluded.body, at = excluded.at",
            row,
        )


def _read(connection: BaseDatabaseWrapper, place: str) -> _Kept | None:
    sql = f"SELECT request, at, status, headers, body FROM {TABLE} WHERE key = %s"
    for request, at, status, headers, body in fetch(connection, sql, [place]):
        values = (json.loads(value) if isinstance(value, str) else value for value in (headers, body))
        return _Kept(request, cast("datetime", from_time(at)), status, *values)
    return None


def _hold(connection: BaseDatabaseWrapper, place: str) -> None:
    """Be the one request with this key until the transaction ends. SQLite has one writer at a time anyway."""
    if not is_postgresql(connection):
        return
    [(held,)] = fetch(connection, "SELECT pg_try_advisory_xact_lock(%s::bigint)", [int(place[:16], 16) - 2**63])
    if not held:
        raise Problem(
            409,
            f"{HEADER}: the request with this key is still under way",
            field=HEADER,
            mend="Wait as long as Retry-After says, and send it again for its answer.",
            headers={"Retry-After": "1"},
        )


def _request_digest(request: HttpRequest) -> str:
    match = request.headers.get("If-Match", "")
    return _sha256(request.method or "", request.get_full_path(), match, hashlib.sha256(request.body).hexdigest())


def _sha256(*parts: str) -> str:
    # Each with its length, or two of them could be divided in another way.
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
