"""Who asks: the client of a request's token, and what that may do."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from handlers.api import clients, rates
from handlers.api.problems import Problem
from handlers.api.scopes import Scope
from handlers.models import ApiClient
from handlers.selection.reach import present

RATE = "_jobs_api_rate"  # on the request: where its client stands


class Asker(NamedTuple):
    """A client, and its scope."""

    client: ApiClient
    scope: Scope

    @property
    def by(self) -> str:
        """How it is named on the audit."""
        return clients.acting_as(self.client)

    @property
    def sees_sensitive(self) -> bool:
        """Whether it sees sensitive arguments."""
        return "sensitive" in self.scope.verbs

    def need(self, verb: str) -> None:
        """Raise Problem (403) unless it has this verb."""
        if verb not in self.scope.verbs:
            raise Problem(
                403,
                f"The scope of this token does not have the verb {verb!r}",
                mend=f"Use a token that has {verb!r}: whoever may make tokens makes one in the console.",
            )

    def need_all(self, what: str) -> None:
        """Raise Problem (403) where it is limited to some jobs, and ``what`` is about all."""
        if not self.scope.is_whole:
            raise Problem(
                403,
                f"This token is limited to some queues or types, and {what} tell of all",
                mend="Use a token without such limits.",
            )

    def need_job(self, job_type: str, queue: str, *, field: str = "") -> None:
        """Raise Problem (403, of ``field``) unless it may start and change jobs of this type on this queue."""
        if not self.scope.covers(present(job_type), queue):
            raise Problem(
                403,
                f"This token is not for jobs of type {job_type[:100]!r} on queue {queue!r}",
                field=field,
                mend="Use a token whose types and queues have them.",
            )


META = "HTTP_AUTHORIZATION"  # where Django has the header: to look up one there does not make all of them


class Token(HttpBearer):
    """``Authorization: Bearer jobs_...``. No session and no cookie counts, so that no browser can be made to ask."""

    openapi_bearerFormat = "jobs_KEY_SECRET"  # noqa: N815 - the name of OpenAPI

    def __call__(self, request: HttpRequest) -> Asker | None:
        """Who asks; None: the request has no such header. (Django-ninja's own would log what it does not expect.)"""
        scheme, _, token = request.META.get(META, "").partition(" ")
        return self.authenticate(request, token) if scheme.lower() == self.openapi_scheme else None

    def authenticate(self, request: HttpRequest, token: str) -> Asker:
        """The client. Raises Problem: there is none (401), or it asks too often (429)."""
        client, now = clients.find_client(token.strip()), timezone.now()
        if client is None:
            raise refused("There is no such token")
        if client.revoked_at is not None:
            raise refused(f"The token of client {client.name!r} was revoked")
        if client.expires_at is not None and client.expires_at <= now:
            raise refused(f"The token of client {client.name!r} expired at {client.expires_at.isoformat()}")
        if client.rate_per_minute is not None:
            rate = rates.count_request(client.pk, client.rate_per_minute)
            setattr(request, RATE, rate)
            if rate.is_over:
                wait = rate.headers["RateLimit-Reset"]
                raise Problem(
                    429,
                    f"Client {client.name!r} may ask {rate.limit:,} times a minute",
                    mend=f"Wait {wait} s. Many jobs are enqueued by fewer requests with jobs/batch.",
                    headers={"Retry-After": wait},
                )
        clients.note_use(client, now)
        return Asker(client, clients.scope_of(client))


def refused(why: str) -> Problem:
    """No valid token (401)."""
    return Problem(401, why, headers={"WWW-Authenticate": 'Bearer realm="jobs"'})


def asker(request: HttpRequest, verb: str, *known: str) -> Asker:
    """Who asks with ``request``, and may do ``verb``; ``known``: the query's parameters. Raises Problem."""
    found = cast("Asker", cast("Any", request).auth)
    found.need(verb)
    if unknown := sorted(set(request.GET) - set(known)):
        there_are = f"There are {', '.join(known)}." if known else "There are none here."
        raise Problem(422, f"{unknown[0][:60]!r} is no parameter here", field=unknown[0][:60], mend=there_are)
    return found
