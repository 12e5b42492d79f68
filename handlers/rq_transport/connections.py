"""Where Redis is, from the project's settings, and the client of this process."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django_rq.connection_utils import get_redis_connection
from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool
from rq.queue import Queue

from handlers import redis_urls
from handlers.conf import SYSTEM_QUEUE, jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.registry import registry
from handlers.rq_transport.clients import WholeRedis, whole
from handlers.rq_transport.names import rq_name

# A server that does not answer for this long is away: it is what the first caller waits in an outage. All that we ask
# of Redis takes it milliseconds; whoever blocks on purpose says how long.
ANSWER_SECONDS = 1.0
SENTINEL_SECONDS = 0.3  # the same for each Sentinel, which is asked before the server is
KEY_PREFIX = Queue.redis_queue_namespace_prefix.partition(":")[0]  # of all that RQ keeps, before 3.0 too
SERIALIZER = "json"  # rq's alias; pickle would let whoever can write to Redis run code when a message is merely read

LOOPBACK = ("localhost", "127.0.0.1", "::1")  # one server, for all that RQ_QUEUES say

# What says where a queue's Redis is, as opposed to how its jobs run.
_CONNECTION_KEYS = frozenset({
    *("URL", "DB", "HOST", "PORT", "USERNAME", "PASSWORD", "UNIX_SOCKET_PATH", "USE_REDIS_CACHE"),
    *("SSL", "SSL_CERT_REQS", "SENTINELS", "MASTER_NAME", "SOCKET_TIMEOUT", "SENTINEL_KWARGS"),
    *("CONNECTION_KWARGS", "REDIS_CLIENT_KWARGS"),
})  # fmt: skip
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")

_added: dict[str, dict[str, Any]] = {}  # the entries of RQ_QUEUES that ``configure_queues`` made
_client: tuple[int, WholeRedis] | None = None  # and whose: what a parent had stays its own


def configure_queues() -> None:
    """Give django-rq each queue that exists, so that ``rqworker``, ``rqstats`` and ``get_queue`` know it.

    A queue that the project declared in ``RQ_QUEUES`` stays as declared; ours is another one, beside it, where that
    reads pickles. Without ``JOBS["REDIS_URL"]`` the others take
    the place of ``RQ_QUEUES["default"]``, or else of its first queue: that is how Sentinel is set up.
    """
    declared: dict[str, dict[str, Any]] | None = getattr(settings, "RQ_QUEUES", None)
    if declared is None:
        declared = settings.RQ_QUEUES = {}
    place = _place(declared)
    for name in sorted({*registry.queues(), *jobs_settings().queues, SYSTEM_QUEUE}):
        ours = {**place, "SERIALIZER": SERIALIZER}
        for each in (name, rq_name(name)):
            if each not in declared:
                declared[each] = _added[each] = dict(ours)
    rq_name.cache_clear()


def site_queues() -> dict[str, dict[str, Any]]:
    """What RQ_QUEUES says of the queues that the site itself declares there."""
    declared: dict[str, dict[str, Any]] = getattr(settings, "RQ_QUEUES", None) or {}
    return {name: config for name, config in declared.items() if config is not _added.get(name)}


def _place(declared: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if url := jobs_settings().redis_url:
        return redis_urls.place(url)
    model = declared.get("default") or next(iter(declared.values()), {})
    return {key: value for key, value in model.items() if key in _CONNECTION_KEYS}


def configured_place() -> dict[str, Any]:
    """What of the settings says where jobs are published, as keys of an RQ_QUEUES entry; empty when nothing does."""
    return _place(getattr(settings, "RQ_QUEUES", None) or {})


def whereabouts(config: dict[str, Any]) -> tuple[Any, ...] | None:
    """Which server and database an RQ_QUEUES entry means, however it is spelled; None for one that cannot be read."""
    try:
        pool = get_redis_connection(config).connection_pool
        pool.connection_class(**pool.connection_kwargs)  # it does not connect, but knows what may stand in a URL
    except Exception:  # noqa: BLE001 - of redis-py, django-rq, or a cache's backend, and it may name a password
        return None
    kwargs = pool.connection_kwargs
    if isinstance(pool, SentinelConnectionPool):
        sentinels = (_address(client.connection_pool.connection_kwargs) for client in pool.sentinel_manager.sentinels)
        return pool.service_name, *sorted(sentinels), int(kwargs.get("db") or 0)
    return _address(kwargs), int(kwargs.get("db") or 0)


def _address(kwargs: dict[str, Any]) -> str:
    if path := kwargs.get("path"):
        return str(path)
    host = str(kwargs.get("host") or "localhost").lower()
    return f"{'localhost' if host in LOOPBACK else host}:{kwargs.get('port') or 6379}"


def redis_connection() -> WholeRedis:
    """This process's client: thread-safe, pooled, and never shared with a parent or child process.

    It connects with the first command. Raises TransportUnavailable when no Redis is configured.
    """
    global _client  # noqa: PLW0603
    pid = os.getpid()  # not a hook of Python's fork, which a server that forks in C (uWSGI) does not call
    if _client is None or _client[0] != pid:
        _client = (pid, connect())
    return _client[1]


def connect(at_most: float | None = None) -> WholeRedis:
    """A new client, which connects with its first command and waits for an answer as long as the project says.

    With ``at_most`` it waits for so many seconds and no longer, and tries once. Raises TransportUnavailable when no
    Redis is configured.
    """
    place = configured_place()
    if not place:
        raise TransportUnavailable('no Redis is configured: set REDIS_URL, or JOBS["REDIS_URL"]')
    # One quick second try mends a connection that went stale. redis-py's own ten would hold a web request for seconds,
    # and what was waited for already is not worth it.
    retry = Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), 0 if at_most else 1, (RedisConnectionError,))
    try:
        client = whole(_own_client(place))
        pool = client.connection_pool
        pool.connection_kwargs.update(_timeouts(place, pool.connection_kwargs, at_most))
    except (KeyError, TypeError, ValueError):  # of redis-py and django-rq; it may name a password
        raise TransportUnavailable("Redis is named in a way that cannot be read: see manage.py check") from None
    client.set_retry(retry)
    return client


def _own_client(place: dict[str, Any]) -> Redis:
    """A client with a pool of its own."""
    # django-rq gives Sentinels no timeouts, nor redis-py fewer than ten tries.
    limits: dict[str, Any] = dict.fromkeys(_TIMEOUTS, SENTINEL_SECONDS) | {"retry": Retry(NoBackoff(), 0)}
    client = get_redis_connection({**place, "SENTINEL_KWARGS": limits | (place.get("SENTINEL_KWARGS") or {})})
    if "USE_REDIS_CACHE" not in place:
        return client
    cache = client.connection_pool  # the site's: what follows is not for its other users
    return Redis.from_pool(
        ConnectionPool(
            connection_class=cache.connection_class, max_connections=cache.max_connections, **cache.connection_kwargs
        )
    )


def _timeouts(place: dict[str, Any], kwargs: dict[str, Any], at_most: float | None) -> dict[str, float]:
    if at_most:
        return dict.fromkeys(_TIMEOUTS, at_most)
    given = dict(kwargs) if "URL" in place else {"socket_timeout": place.get("SOCKET_TIMEOUT")}
    given |= {**(place.get("CONNECTION_KWARGS") or {}), **(place.get("REDIS_CLIENT_KWARGS") or {})}
    return {name: given.get(name) or ANSWER_SECONDS for name in _TIMEOUTS}


def reset_connections() -> None:
    """Close this process's connections, as before a fork. The next use connects again."""
    global _client  # noqa: PLW0603
    if _client is not None and _client[0] == os.getpid():
        _client[1].close()
    _client = None


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting in {"JOBS", "RQ_QUEUES"}:
        reset_connections()
