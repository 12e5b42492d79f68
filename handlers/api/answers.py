"""A request with an ``Idempotency-Key`` has its effect once, however often it is sent.

Its answer is written in the transaction of the effect, so there is never the one without the other. Requests that did
nothing keep no answer: sent again, they are looked at anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from handlers.api.problems import Problem
from handlers.lifecycle import database
from handlers.models import ApiAnswer
from handlers.models.sql import is_postgresql, take_lock
from handlers.once import KEEP

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
REPLAYED = "Idempotency-Replayed"


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
    alias, key = database(), request.headers.get(HEADER)
    if key is None:
        with transaction.atomic(using=alias):
            return act().response()
    if not 1 <= len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Problem(
            422,
            f"{HEADER}: must be 1 to {LONGEST_KEY} printable ASCII characters",
            field=HEADER,
            mend="Send a new UUID with each new request, and the same one when you send it again.",
        )
    place, asked = _sha256(str(client_id), key), _request_digest(request)
    with transaction.atomic(using=alias):
        _hold(connections[alias], place)
        kept = ApiAnswer.objects.using(alias).filter(pk=place).first()
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
        row = ApiAnswer(key=place, request=asked, at=Now(), body=answer.body)
        row.status, row.headers = answer.status, answer.headers
        row.save(using=alias, force_insert=kept is None, force_update=kept is not None)
    return answer.response()


def _hold(connection: BaseDatabaseWrapper, place: str) -> None:
    """Be the one request with this key until the transaction ends. SQLite has one writer at a time anyway."""
    if not is_postgresql(connection):
        take_lock(connection)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int(place[:16], 16) - 2**63])
        (held,) = cursor.fetchone()
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
