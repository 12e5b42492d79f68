"""Where Redis is, from django-rq's own settings: a client per process, one error for every kind of outage."""

from __future__ import annotations

import os
import time
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django_rq.connection_utils import get_redis_connection
from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from handlers.conf import SYSTEM_QUEUE, jobs_settings
from handlers.exceptions import TransportUnavailable
from handlers.registry import registry

# A server that does not answer for this long is away. Whoever blocks on purpose must block for less.
SOCKET_TIMEOUT_SECONDS = 5.0
HEALTH_TIMEOUT_SECONDS = 0.5  # a page that asks whether Redis answers waits no longer
HEALTH_SECONDS = 3.0  # how long the answer is kept
SERIALIZER = "json"  # rq's alias; pickle would let whoever can write to Redis run code when a message is merely read

LOOPBACK = ("localhost", "127.0.0.1", "::1")  # one server, for all that RQ_QUEUES say

# What says where a queue's Redis is, as opposed to how its jobs run.
_CONNECTION_KEYS = frozenset({
    *("URL", "DB", "HOST", "PORT", "USERNAME", "PASSWORD", "UNIX_SOCKET_PATH", "USE_REDIS_CACHE"),
    *("SSL", "SSL_CERT_REQS", "SENTINELS", "MASTER_NAME", "SOCKET_TIMEOUT", "SENTINEL_KWARGS"),
    *("CONNECTION_KWARGS", "REDIS_CLIENT_KWARGS"),
})  # fmt: skip
_AWAY = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, MasterDownError, OutOfMemoryError)
_AWAY_CODES = ("MISCONF ", "NOREPLICAS ", "BUSY ")  # answers that redis-py has no class for

_client: tuple[int, Redis] | None = None  # and whose: what a parent had stays its own
_health: tuple[int, float, bool] | None = None  # PID, monotonic time, and what was found


def configure_queues() -> None:
    """Give django-rq each queue that exists, so that ``rqworker``, ``rqstats`` and ``get_queue`` know it.

    A queue that the project declared in ``RQ_QUEUES`` stays as declared. Without ``JOBS["REDIS_URL"]`` the others take
    the place of ``RQ_QUEUES["default"]``, or else of its first queue: that is how Sentinel is set up.
    """
    declared: dict[str, dict[str, Any]] | None = getattr(settings, "RQ_QUEUES", None)
    if declared is None:
        declared = settings.RQ_QUEUES = {}
    place = _place(declared)
    for name in sorted({*registry.queues(), *jobs_settings().queues, SYSTEM_QUEUE}):
        declared.setdefault(name, {**place, "SERIALIZER": SERIALIZER})


def _place(declared: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if url := jobs_settings().redis_url:
        return {"URL": url}
    model = declared.get("default") or next(iter(declared.values()), {})
    return {key: value for key, value in model.items() if key in _CONNECTION_KEYS}


def configured_place() -> dict[str, Any]:
    """What of the settings says where jobs are published, as keys of an RQ_QUEUES entry; empty when nothing does."""
    return _place(getattr(settings, "RQ_QUEUES", None) or {})


def whereabouts(config: dict[str, Any]) -> tuple[Any, ...] | None:
    """Which server and database an RQ_QUEUES entry means, however it is spelled; None for one that cannot be read."""
    try:
        pool = get_redis_connection(config).connection_pool
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


def redis_connection() -> Redis:
    """This process's client: thread-safe, pooled, and never shared with a parent or child process.

    It connects with the first command. Raises TransportUnavailable when no Redis is configured.
    """
    global _client  # noqa: PLW0603
    pid = os.getpid()  # not a hook of Python's fork, which a server that forks in C (uWSGI) does not call
    if _client is None or _client[0] != pid:
        _client = (pid, _connect())
    return _client[1]


def _connect() -> Redis:
    place = configured_place()
    if not place:
        raise TransportUnavailable('no Redis is configured: set REDIS_URL, or JOBS["REDIS_URL"]')
    # django-rq passes Sentinel no timeout at all, which would wait for ever on a server that hangs.
    client = get_redis_connection({"SOCKET_TIMEOUT": SOCKET_TIMEOUT_SECONDS, **place})
    # One quick second try mends a connection that went stale. redis-py's own ten would hold a web request for seconds.
    client.set_retry(Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), 1))
    return client


def reset_connections() -> None:
    """Close this process's connections, as before a fork. The next use connects again."""
    global _client  # noqa: PLW0603
    if _client is not None and _client[0] == os.getpid():
        _client[1].close()
        _client[1].connection_pool.disconnect()
    _client = None


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    global _health  # noqa: PLW0603
    if setting in {"JOBS", "RQ_QUEUES"}:
        _health = None
        reset_connections()


def is_away(error: BaseException | None) -> bool:
    """Whether the error means that Redis cannot serve now."""
    return isinstance(error, _AWAY) or (isinstance(error, ResponseError) and str(error).startswith(_AWAY_CODES))


class _Translation:
    """Not made with ``contextmanager``: a generator for each command costs as much as half of an enqueue's checks."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if is_away(error):
            says = "is away" if isinstance(error, _AWAY) else "refuses work"
            raise TransportUnavailable(f"Redis {says}: {error}") from error


_TRANSLATION = _Translation()


def transport_errors() -> _Translation:
    """Raise TransportUnavailable for whatever means that Redis cannot serve now. Other errors pass: they are bugs."""
    return _TRANSLATION


def redis_answers_soon() -> bool:
    """Whether Redis answers within half a second; what was found is kept for three. Never raises."""
    global _health  # noqa: PLW0603
    now = time.monotonic()
    if _health is None or _health[0] != os.getpid() or now - _health[1] > HEALTH_SECONDS:
        _health = (os.getpid(), now, _ping())
    return _health[2]


def _ping() -> bool:
    try:
        client = _connect()
        limits = {"socket_timeout": HEALTH_TIMEOUT_SECONDS, "socket_connect_timeout": HEALTH_TIMEOUT_SECONDS}
        client.connection_pool.connection_kwargs.update(limits)
        client.set_retry(Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), 0))
        try:
            return bool(client.ping())
        finally:
            client.close()
            client.connection_pool.disconnect()
    except (RedisError, TransportUnavailable):
        return False


def redis_answers() -> bool:
    """Whether Redis answers now. Never raises."""
    try:
        return bool(redis_connection().ping())
    except (RedisError, TransportUnavailable):
        return False
