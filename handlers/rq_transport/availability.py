"""Whether Redis takes messages, as far as this process knows, and one error for every kind of outage.

The first caller that meets an outage waits for Redis, for a second at most. From then on nobody does: what callers
publish is left to recovery, while a thread of this process tries until Redis takes something again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    MasterDownError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from handlers.conf import is_started_by_run
from handlers.exceptions import TransportRefuses, TransportUnavailable
from handlers.rq_transport.clients import WholeRedis
from handlers.rq_transport.connections import KEY_PREFIX, connect, redis_connection
from handlers.rq_transport.lua import script

logger = logging.getLogger(__name__)

OnError = Callable[[RedisError], object]

TRY_SECONDS = 0.25  # between two tries of the thread
TRY_TIMEOUT_SECONDS = 2.0  # of one try; who thaws meanwhile answers at once
STALLED_SECONDS = 5.0  # a thread that has not tried for so long does not run, and one caller tries in its place
HEALTH_TIMEOUT_SECONDS = 0.5  # a page that asks how Redis is waits no longer
HEALTH_SECONDS = 3.0  # how long the answer is kept

_AWAY = (RedisConnectionError, RedisTimeoutError, MasterDownError, NoPermissionError)
_AWAY_CODES = ("BUSY ", "UNBLOCKED ")  # answers that redis-py has no class for; a master that becomes a replica says so
_REFUSES = (OutOfMemoryError, ReadOnlyError)  # what is written
_REFUSES_CODES = ("MISCONF ", "NOREPLICAS ")
_UNKNOWN_TO_IT = (AuthenticationError, AuthorizationError, NoPermissionError)

# A write, because a full server and a replica answer to everything else; it leaves nothing. KEYS: what is written.
_TAKES_WRITES = script("redis.call('HSET', KEYS[1], 'tried', 1)\nredis.call('UNLINK', KEYS[1])\n")
_TRIED_KEY = f"{KEY_PREFIX}:jobs:tried"


def is_away(error: BaseException | None) -> bool:
    """Whether the error means that Redis cannot serve now."""
    return unavailable(error) is not None


def unavailable(error: BaseException | None) -> type[TransportUnavailable] | None:
    """Which of our errors it is, if it means that Redis cannot serve now."""
    for kind, classes, codes in (
        (TransportRefuses, _REFUSES, _REFUSES_CODES),
        (TransportUnavailable, _AWAY, _AWAY_CODES),
    ):
        if isinstance(error, classes) or (isinstance(error, ResponseError) and str(error).startswith(codes)):
            return kind
    return None


def reason(error: BaseException) -> str:
    """Why Redis cannot serve, in one line: what is the matter and, where that is not plain, what to do about it."""
    said = " ".join(str(error).split())
    if isinstance(error, _UNKNOWN_TO_IT):
        return f'Redis refuses the user or password in REDIS_URL (JOBS["REDIS_URL"]): {said}'
    if isinstance(error, OutOfMemoryError):
        return "Redis is full: it takes messages again once workers have made room, or with more maxmemory"
    if isinstance(error, ReadOnlyError):
        return f"Redis is a replica, which takes no messages: {said}"
    if isinstance(error, BusyLoadingError):
        return "Redis is still loading its data"
    if isinstance(error, RedisTimeoutError):
        return f"Redis does not answer: {said}"
    if isinstance(error, RedisConnectionError):
        mend = (
            " (manage.py run starts this one: start that, or name another in REDIS_URL)" if is_started_by_run() else ""
        )
        return f"Redis is away: {said}{mend}"
    return f"Redis refuses work: {said}"


class _Translation:
    """Not made with ``contextmanager``: a generator for each command costs as much as half of an enqueue's checks."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, error_class: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and (kind := unavailable(error)):
            note(error)
            raise kind(reason(error)) from error


_TRANSLATION = _Translation()


def transport_errors() -> _Translation:
    """Raise TransportUnavailable for whatever means that Redis cannot serve now. Other errors pass: they are bugs."""
    return _TRANSLATION


# --- what is known of an outage ---


class _Outage:
    """One outage, as this process met it."""

    def __init__(self, error: BaseException) -> None:
        self.pid = os.getpid()
        self.since = self.tried_at = time.monotonic()
        self.spared = 0  # callers
        self.learn(error)

    def learn(self, error: BaseException) -> None:
        """What is the matter may change: a full server can freeze."""
        self.why, self.kind = reason(error), unavailable(error) or TransportUnavailable

    def try_on(self) -> None:
        """The thread: tries until Redis takes something."""
        while _outage is self:
            time.sleep(TRY_SECONDS)
            self.tried_at = time.monotonic()
            if not _try(TRY_TIMEOUT_SECONDS, on_error=self.learn):
                self.end()
                return

    def end(self) -> None:
        """It is over."""
        global _outage  # noqa: PLW0603
        if _outage is self:
            _outage = None
            if self.spared:
                lasted = time.monotonic() - self.since
                text = "Redis takes messages again after %.1f s; %d that were not published are recovery's"
                logger.warning(text, lasted, self.spared)


_outage: _Outage | None = None
_noted = 0
_threadless: int | None = None  # the process that must stay without threads
_health: tuple[int, float, str] | None = None  # PID, monotonic time, and what was found


def outages_noted() -> int:
    """How many outages this process has met. Connections from before the last one may lead to a dead end."""
    return _noted


def note(error: BaseException) -> None:
    """Remember that Redis cannot serve, unless the error is about a client's own limit, and try from now on."""
    global _outage, _noted  # noqa: PLW0603
    if isinstance(error, MaxConnectionsError):
        return
    known = _known()
    if known is not None:
        known.learn(error)
        return
    _noted += 1
    _outage = outage = _Outage(error)
    with contextlib.suppress(RedisError, TransportUnavailable):
        redis_connection().connection_pool.disconnect(inuse_connections=False)
    if _threadless != outage.pid:
        with contextlib.suppress(RuntimeError):  # at the interpreter's end no thread starts any more
            threading.Thread(target=outage.try_on, name="redis-outage", daemon=True).start()


def spare_caller(*, reads: bool = False) -> None:
    """Raise TransportUnavailable, at once, during an outage that is known already.

    Not for who only ``reads`` while the server refuses what is written.
    """
    if _outage is None or (known := _known()) is None or (reads and known.kind is TransportRefuses):
        return
    now = time.monotonic()
    if now - known.tried_at < STALLED_SECONDS:
        known.spared += 1
        raise known.kind(known.why, is_news=False)
    known.tried_at = now
    if not _try(HEALTH_TIMEOUT_SECONDS, on_error=known.learn):
        known.end()


def met() -> None:
    """Redis has just answered a call that was tried all the same: so it is no more away. Full it may still be."""
    if (known := _known()) is not None and known.kind is not TransportRefuses:
        known.end()


def stay_without_threads() -> None:
    """Start no thread in this process, which forks: now and then a caller tries instead."""
    global _threadless  # noqa: PLW0603
    _threadless = os.getpid()


def trouble() -> str:
    """Why Redis takes no messages, in one line; empty when it does, or did seconds ago.

    Takes half a second at most, and during an outage that is known no time. Never raises.
    """
    global _health  # noqa: PLW0603
    if (known := _known()) is not None:
        return known.why
    now = time.monotonic()
    if _health is None or _health[0] != os.getpid() or now - _health[1] > HEALTH_SECONDS:
        # So that the other threads need not wait for it too.
        _health = (os.getpid(), now, _health[2] if _health else "")
        _health = (os.getpid(), now, _try(HEALTH_TIMEOUT_SECONDS, on_error=note))
    return _health[2]


def silence() -> str:
    """Why Redis does not answer now, in one line; empty when it does. Never raises."""
    return _try(TRY_TIMEOUT_SECONDS, WholeRedis.ping)


def _known() -> _Outage | None:
    global _outage  # noqa: PLW0603
    if _outage is not None and _outage.pid != os.getpid():  # the parent's, before a fork
        _outage = None
    return _outage


def _write(client: WholeRedis) -> object:
    return _TAKES_WRITES(client, [_TRIED_KEY], [])


def _try(seconds: float, what: Callable[[WholeRedis], object] = _write, on_error: OnError = lambda _: None) -> str:
    """Why Redis does not do it, over a new connection; empty when it does."""
    try:
        with contextlib.closing(connect(at_most=seconds)) as client:
            what(client)
    except TransportUnavailable as error:
        return str(error)
    except RedisError as error:
        on_error(error)
        return reason(error)
    return ""


def forget() -> None:
    """Know nothing of Redis any more, as after a start."""
    global _outage, _health  # noqa: PLW0603
    _outage = _health = None


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting in {"JOBS", "RQ_QUEUES"}:
        forget()
